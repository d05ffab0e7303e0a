"""Data contracts: what a stream's messages hold."""
