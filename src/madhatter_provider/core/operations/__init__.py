"""What is wrong, since when, and who was told: states of checks with hysteresis, and an outbox of changes."""
