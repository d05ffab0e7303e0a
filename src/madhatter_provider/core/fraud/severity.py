"""How grave a finding is: a word for its score."""

from __future__ import annotations

SEVERITIES = ("low", "medium", "high", "critical")

# Lowest score of each severity above low.
_BOUNDS = (("critical", 0.93), ("high", 0.8), ("medium", 0.7))


def severity_of(score: float) -> str:
    """Severity of a score in [0, 1]."""
    return next((name for name, low in _BOUNDS if score >= low), "low")


def severity_rank(severity: str) -> int:
    """0 for low to 3 for critical."""
    return SEVERITIES.index(severity)
