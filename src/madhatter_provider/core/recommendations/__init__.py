"""Recommendations: what a refresh does, in SQL, and what is published of it."""
