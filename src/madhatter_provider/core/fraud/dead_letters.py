"""Dead letters of the alert function: what to give back to it, what to keep, and the record of both.

A letter with the attribute ``reason`` was buried by the function itself: it is no alert and never will be.
Any other was given up by Pub/Sub after its last delivery attempt: it is given back to the function, with a
count of how often, until that count says that a day of trying did not help.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

MOST_REDRIVES = 144
"""Once in ten minutes for a day."""

_COUNT = "redriven"
_KEPT = ("ce-id", "ce-type", "ce-source", "ce-specversion", "severity", "rule")
_LONGEST_DATA = 100_000

Statement = tuple[str, list[Any]]
State = Literal["sent_again", "given_up", "poison"]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One message of the dead-letter subscription."""

    message_id: str
    data: bytes
    attributes: Mapping[str, str]

    @property
    def redrives(self) -> int:
        """How often it was given back to the function before; a count that is none is taken for never."""
        text = self.attributes.get(_COUNT, "0")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0

    @property
    def state(self) -> State:
        """What becomes of it."""
        if "reason" in self.attributes:
            return "poison"
        return "given_up" if self.redrives >= MOST_REDRIVES else "sent_again"

    @property
    def letter_id(self) -> str:
        """Id of the alert; else of the message that was buried; else of this one."""
        try:
            found = json.loads(self.data)["alert_id"]
        except (ValueError, RecursionError, TypeError, KeyError):
            found = None
        name = found if isinstance(found, str) and found else self.attributes.get("message_id")
        return (name or self.message_id)[:128]

    def again(self) -> dict[str, Any]:
        """The message to publish, as the official hook takes it: only attributes that an alert has."""
        attributes = {name: self.attributes[name] for name in _KEPT if name in self.attributes}
        return {"data": self.data, "attributes": {**attributes, _COUNT: str(self.redrives + 1)}}


def record_letters(letters: Iterable[DeadLetter], run_id: str) -> Statement:
    """Every letter once; one that comes again updates its row."""
    rows = {
        letter.letter_id: {
            "letter_id": letter.letter_id,
            "state": letter.state,
            "reason": letter.attributes.get("reason", "not delivered")[:1024],
            "data": letter.data.decode("utf-8", "backslashreplace")[:_LONGEST_DATA],
            "redrives": letter.redrives + (letter.state == "sent_again"),
        }
        for letter in letters
    }
    return (
        "MERGE INTO FRAUD.DEAD_LETTERS AS t USING (SELECT r.VALUE:letter_id::VARCHAR(128) AS LETTER_ID, "
        "r.VALUE:state::VARCHAR(16) AS STATE, r.VALUE:reason::VARCHAR(1024) AS REASON, "
        "r.VALUE:data::VARCHAR AS DATA, r.VALUE:redrives::NUMBER(10,0) AS REDRIVES, ? AS RUN "
        "FROM TABLE(FLATTEN(INPUT => PARSE_JSON(?))) AS r) AS s ON t.LETTER_ID = s.LETTER_ID "
        "WHEN MATCHED THEN UPDATE SET STATE = s.STATE, REASON = s.REASON, REDRIVES = s.REDRIVES, "
        "LAST_SEEN_AT = CURRENT_TIMESTAMP(), RUN_ID = s.RUN WHEN NOT MATCHED THEN INSERT (LETTER_ID, STATE, "
        "REASON, DATA, REDRIVES, FIRST_SEEN_AT, LAST_SEEN_AT, RUN_ID) VALUES (s.LETTER_ID, s.STATE, "
        "s.REASON, s.DATA, s.REDRIVES, CURRENT_TIMESTAMP(), CURRENT_TIMESTAMP(), s.RUN)",
        [run_id, json.dumps(list(rows.values()))],
    )
