"""From messages to typed Arrow columns, or to quarantine."""
