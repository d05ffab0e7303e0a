"""The list of streams: who may see which, what is searched for, and in which order.

Settled here and not in SQL: a thousand rows are nothing, and so every page, search and order is answered from
one kept answer; the lag, which Snowflake does not know, is a column like the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from madhatter_provider.control_room.broker import TopicEnds
from madhatter_provider.core.errors import ConfigurationError, MadHatterError, TopicError

Row = Mapping[str, Any]
Lags = Mapping[str, int | None]

STATES: Final = {"problem": 2, "late": 1, "ok": 0}
DIRECTIONS: Final = ("", "asc", "desc")
_ASCENDING: Final = ("stream",)
"""Orders that begin with the least; the others begin with the worst, or the most."""
_KEYS: Final[Mapping[str, Callable[[Row, Lags], Any]]] = {
    "state": lambda r, _: (r["SEVERITY"], sum(int(r[c]) for c in ("LOST", "GAPS", "FAILED_GATES", "LATE"))),
    "stream": lambda r, _: str(r["STREAM"]).casefold(),
    "lag": lambda r, lags: lags.get(r["STREAM"]),
    "freshness": lambda r, _: r["LAST_LOAD"] and -r["LAST_LOAD"].timestamp(),
    "throughput": lambda r, _: r["ROWS_10M"],
    "quarantine": lambda r, _: r["ROWS_QUARANTINED"],
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person looks for.

    :param dag_ids: the DAGs that they may read; ``None``: all.
    :param search: part of the stream's name.
    :param state: ``problem``, ``late`` or ``ok``; empty: any.
    :param sort: what the list is ordered by; freshness is the age of the last load.
    :param direction: ``asc``, ``desc``; empty: the worst, or the most, first, names from A to Z.
    :raises ConfigurationError: no such state, order or direction.
    """

    dag_ids: Sequence[str] | None = None
    search: str = ""
    state: str = ""
    sort: str = "state"
    direction: str = ""

    def __post_init__(self) -> None:
        for what, given, known in (
            ("State", self.state, ("", *STATES)),
            ("Order", self.sort, _KEYS),
            ("Direction", self.direction, DIRECTIONS),
        ):
            if given not in known:
                raise ConfigurationError(
                    f"{what} {given!r}", remedy=f"Use one of {', '.join(filter(None, known))}."
                )

    @property
    def descending(self) -> bool:
        """Whether the list begins with the most."""
        return self.direction == "desc" if self.direction else self.sort not in _ASCENDING

    def among(self, rows: Sequence[Row]) -> list[Row]:
        """The rows that match, in no order."""
        seen = rows if self.dag_ids is None else [r for r in rows if r["DAG_ID"] in set(self.dag_ids)]
        part = self.search.casefold()
        return [
            r
            for r in seen
            if part in str(r["STREAM"]).casefold() and (not self.state or r["SEVERITY"] == STATES[self.state])
        ]

    def ordered(self, rows: Sequence[Row], lags: Lags) -> list[Row]:
        """The same rows in order; those without a value come last, equals by name."""
        by_name = sorted(rows, key=lambda r: str(r["STREAM"]))
        keys = {r["STREAM"]: _KEYS[self.sort](r, lags) for r in by_name}
        known = [r for r in by_name if keys[r["STREAM"]] is not None]
        known.sort(key=lambda r: keys[r["STREAM"]], reverse=self.descending)
        return [*known, *(r for r in by_name if keys[r["STREAM"]] is None)]


def lag_of(row: Row, ends: TopicEnds | None) -> tuple[int | None, MadHatterError | None]:
    """Messages that the broker has and no run has claimed; or why that is not known, if it is known why."""
    if ends is None or ends.bounds is None:
        return None, ends.fault if ends else None
    bounds = ends.bounds
    if bounds.topic_id != row["TOPIC_ID"]:
        return None, TopicError(
            "The topic was created again; no run has claimed any of it yet",
            where=f"topic {bounds.topic}",
            remedy="The next run of its landing DAG claims it.",
        )
    claimed = pairs_of(row["CLAIMED"])
    return sum(
        max(0, end - max(claimed.get(p, 0), bounds.starts.get(p, 0))) for p, end in bounds.ends.items()
    ), None


def pairs_of(text: str | None) -> dict[int, int]:
    """The numbers of ``1:20,2:30``."""
    parts = (pair.partition(":") for pair in (text or "").split(",") if pair)
    return {int(left): int(right) for left, _, right in parts}
