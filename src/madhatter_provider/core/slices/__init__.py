"""Offset ranges, claims and when they are announced. Pure."""
