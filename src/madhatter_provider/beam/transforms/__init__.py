"""The streaming job's transforms; the same in streaming and in batch, on every runner."""
