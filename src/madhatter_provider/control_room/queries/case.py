"""One fraud case: what is known, its alerts, and what was done."""

from __future__ import annotations

from typing import Any, Final

Statement = tuple[str, list[Any]]

LISTED: Final = 200


def facts(case_id: str) -> Statement:
    """The case; no row if there is none of this id."""
    return "SELECT * FROM MARTS.FRAUD_CASES WHERE CASE_ID = ?", [case_id]


def alerts(case_id: str) -> Statement:
    """Its alerts, the newest first."""
    return (
        "SELECT * FROM MARTS.FRAUD_CASE_ALERTS WHERE CASE_ID = ? "
        f"ORDER BY ALERT_TIME DESC, ALERT_ID LIMIT {LISTED}",
        [case_id],
    )


def steps(case_id: str) -> Statement:
    """What was done, the oldest first."""
    return (
        f"SELECT * FROM MARTS.FRAUD_CASE_STEPS WHERE CASE_ID = ? ORDER BY DONE_AT, STEP LIMIT {LISTED}",
        [case_id],
    )
