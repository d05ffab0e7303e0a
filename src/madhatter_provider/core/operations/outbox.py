"""The outbox of notifications, ``OPS.HEALTH_CHANGES``: a change of state is sent, however often that fails.

Pure SQL text and bindings. The protocol of a sender:

1. :func:`take`: mark unsent changes as this sender's. Two senders never take the same one, since a statement
   that changes a table has it to itself; what a sender took and neither sent nor gave back within
   ``TAKEN_SECONDS`` may be taken by another.
2. :func:`taken`: read them, the oldest first; what has failed before comes after what has not.
3. Send each, then :func:`sent` or :func:`failed`. A sender that dies between the two leaves a change that is
   sent twice; it carries :func:`change_id`, by which a receiver knows it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from madhatter_provider.core.operations.evaluation import CHANGES
from madhatter_provider.core.warehouse.ledger import Statement

TAKEN_SECONDS: Final = 300
_KEY: Final = ("CHECK_NAME", "SUBJECT", "CHANGE_NUMBER")
_THIS: Final = " AND ".join(f"{name} = ?" for name in _KEY)

Change = Mapping[str, Any]


def take(sender: str) -> Statement:
    """Step 1.

    :param sender: unique to this try of this sender.
    """
    return (
        f"UPDATE {CHANGES} SET TAKEN_BY = ?, TAKEN_AT = CURRENT_TIMESTAMP() WHERE SENT_AT IS NULL "
        f"AND (TAKEN_AT IS NULL OR TAKEN_AT < DATEADD('second', -{TAKEN_SECONDS}, CURRENT_TIMESTAMP()))",
        [sender],
    )


def taken(sender: str, limit: int) -> Statement:
    """Step 2; all columns."""
    return (
        f"SELECT * FROM {CHANGES} WHERE SENT_AT IS NULL AND TAKEN_BY = ? "
        f"ORDER BY ATTEMPTS, RECORDED_AT, CHANGED_AT, CHECK_NAME, SUBJECT, CHANGE_NUMBER LIMIT {int(limit)}",
        [sender],
    )


def sent(change: Change) -> Statement:
    """Step 3, done."""
    return (
        f"UPDATE {CHANGES} SET SENT_AT = CURRENT_TIMESTAMP(), ATTEMPTS = ATTEMPTS + 1, LAST_ERROR = NULL "
        f"WHERE {_THIS}",
        _key(change),
    )


def failed(change: Change, error: str) -> Statement:
    """Step 3, not done: the next sender may take it at once."""
    return (
        f"UPDATE {CHANGES} SET TAKEN_AT = NULL, ATTEMPTS = ATTEMPTS + 1, LAST_ERROR = ? WHERE {_THIS}",
        [error[:1000], *_key(change)],
    )


def give_back(sender: str) -> Statement:
    """What this sender took and did not try."""
    return f"UPDATE {CHANGES} SET TAKEN_AT = NULL WHERE SENT_AT IS NULL AND TAKEN_BY = ?", [sender]


def change_id(change: Change) -> str:
    """Name of a change, the same however often it is sent."""
    return "/".join(str(change[name]) for name in _KEY)


def message(change: Change, guide: str) -> dict[str, Any]:
    """What is sent: ``text`` for people (chat systems show it), the rest for programs.

    :param guide: address of the guide for people on call; the check's name is added as its anchor.
    """
    check, subject, state = change["CHECK_NAME"], change["SUBJECT"], change["TO_STATE"]
    help_at = f"{guide}#{check}" if guide else ""
    text = f"{state.upper()}: {check} of {subject} (was {change['FROM_STATE']}). {change['DETAIL'] or ''}"
    return {
        "id": change_id(change),
        "text": f"{text.strip()} {help_at}".strip(),
        "check": check,
        "subject": subject,
        "state": state,
        "before": change["FROM_STATE"],
        "measured": change["MEASURED"],
        "limit": change["LIMIT_VALUE"],
        "detail": change["DETAIL"],
        "changed_at": change["CHANGED_AT"].isoformat(),
        "guide": help_at,
    }


def _key(change: Change) -> list[Any]:
    return [change[name] for name in _KEY]
