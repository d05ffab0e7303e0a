"""The outbox of notifications, ``OPS.HEALTH_CHANGES``: a change of state is sent, however often that fails.

Pure SQL text and bindings. The protocol of a sender:

1. :func:`take`: mark unsent changes as this sender's. Two senders never take the same one, since a statement
   that changes a table has it to itself; what a sender took and neither sent nor gave back within
   ``TAKEN_SECONDS`` may be taken by another.
2. :func:`taken`: read them, the oldest first; what has failed before comes after what has not.
3. Send them, then :func:`sent` or :func:`failed`. A sender that dies between the two leaves a change that is
   sent twice; it carries :func:`change_id`, by which a receiver knows it again.

Many changes of one check to one state have one cause (a site without network silences all its sensors) and
are one message: see :func:`messages`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from madhatter_provider.core.operations.evaluation import CHANGES
from madhatter_provider.core.warehouse.ledger import Statement

TAKEN_SECONDS: Final = 300
_KEY: Final = {"CHECK_NAME": "VARCHAR(64)", "SUBJECT": "VARCHAR(256)", "CHANGE_NUMBER": "NUMBER(18,0)"}
_NAMED: Final = 5

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


def sent(changes: Sequence[Change]) -> Statement:
    """Step 3, done."""
    return _update("SENT_AT = CURRENT_TIMESTAMP(), ATTEMPTS = ATTEMPTS + 1, LAST_ERROR = NULL", changes)


def failed(changes: Sequence[Change], error: str) -> Statement:
    """Step 3, not done: the next sender may take them at once."""
    statement, bindings = _update("TAKEN_AT = NULL, ATTEMPTS = ATTEMPTS + 1, LAST_ERROR = ?", changes)
    return statement, [error[:1000], *bindings]


def _update(sets: str, changes: Sequence[Change]) -> Statement:
    picks = ", ".join(f"r.VALUE:{c}::{kind}" for c, kind in _KEY.items())
    keys = [{name: change[name] for name in _KEY} for change in changes]
    return (
        f"UPDATE {CHANGES} SET {sets} WHERE ({', '.join(_KEY)}) IN "
        f"(SELECT {picks} FROM TABLE(FLATTEN(INPUT => PARSE_JSON(?))) AS r)",
        [json.dumps(keys, default=int)],
    )


def give_back(sender: str) -> Statement:
    """What this sender took and did not try."""
    return f"UPDATE {CHANGES} SET TAKEN_AT = NULL WHERE SENT_AT IS NULL AND TAKEN_BY = ?", [sender]


def change_id(change: Change) -> str:
    """Name of a change, the same however often it is sent."""
    return "/".join(str(change[name]) for name in _KEY)


def messages(
    changes: Sequence[Change], guide: str, digest_from: int
) -> Iterator[tuple[list[Change], dict[str, Any]]]:
    """Bodies to send, each with the changes that it tells, in the order of the changes.

    :param guide: address of the guide for people on call; the check's name is added as its anchor.
    :param digest_from: so many changes of one check to one state are one message.
    """
    alike: dict[tuple[str, str], list[Change]] = {}
    for change in changes:
        alike.setdefault((change["CHECK_NAME"], change["TO_STATE"]), []).append(change)
    for change in changes:
        of_kind = alike[change["CHECK_NAME"], change["TO_STATE"]]
        if len(of_kind) < digest_from:
            yield [change], _message(change, guide)
        elif change is of_kind[0]:
            yield of_kind, _digest(of_kind, guide)


def _message(change: Change, guide: str) -> dict[str, Any]:
    """``text`` for people (chat systems show it), the rest for programs."""
    check, subject, state = change["CHECK_NAME"], change["SUBJECT"], change["TO_STATE"]
    help_at = _help_at(change, guide)
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


def _digest(changes: Sequence[Change], guide: str) -> dict[str, Any]:
    first = changes[0]
    subjects = sorted({str(c["SUBJECT"]) for c in changes})
    named = ", ".join(subjects[:_NAMED]) + (", …" if len(subjects) > _NAMED else "")
    text = f"{first['TO_STATE'].upper()}: {first['CHECK_NAME']} of {len(subjects)} subjects: {named}"
    help_at = _help_at(first, guide)
    return {
        "id": change_id(first),
        "text": f"{text} {help_at}".strip(),
        "check": first["CHECK_NAME"],
        "state": first["TO_STATE"],
        "subjects": subjects,
        "ids": [change_id(c) for c in changes],
        "guide": help_at,
    }


def _help_at(change: Change, guide: str) -> str:
    return f"{guide}#{change['CHECK_NAME']}" if guide else ""
