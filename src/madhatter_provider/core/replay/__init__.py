"""Ranges and quarantined rows, landed again in place."""
