"""Compares what broker, positions, ledger, files and tables say of a stream, and mends it."""
