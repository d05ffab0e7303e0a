"""What is asked of Snowflake, as SQL: ledger, gates, ingest, roll-ups."""
