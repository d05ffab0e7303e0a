"""The quarantine of a stream: which rules hold how many rows, the rows, and their messages again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from madhatter_provider.core.landing.land import Batch
from madhatter_provider.core.replay.quarantine_rows import batch_of
from madhatter_provider.core.replay.request import parse_time
from madhatter_provider.core.slices.offsets import OffsetRange, Slice
from madhatter_provider.core.warehouse import ledger
from madhatter_provider.core.warehouse.sql import literal
from madhatter_provider.core.warehouse.sql_client import Sql

TABLE: Final = "RAW.QUARANTINE"
_PAGE_ROWS: Final = 2_000
_PAGE_BYTES: Final = 16 << 20
"""Raw bytes of a page, unless a single message is larger."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which quarantined rows of a stream are meant.

    :param rules: rules that sent them there; empty: any.
    :param since: only messages that Kafka got at or after this time.
    """

    stream: str
    rules: tuple[str, ...] = ()
    since: datetime | None = None

    @classmethod
    def of(cls, stream: str, rules: Sequence[str] = (), since: str | None = None) -> Selection:
        """From what people write.

        :raises ConfigurationError: ``since`` is no time, or has no zone.
        """
        return cls(stream, tuple(sorted(set(rules))), parse_time(since) if since else None)

    @property
    def condition(self) -> str:
        """A condition on quarantine rows."""
        parts = [f"STREAM = {literal(self.stream)}"]
        if self.rules:
            parts.append(f"RULE IN ({', '.join(map(literal, self.rules))})")
        if self.since:
            parts.append(f"_TIMESTAMP >= {literal(self.since.isoformat())}::TIMESTAMP_TZ")
        return " AND ".join(parts)

    def to_json(self) -> str:
        """For the record."""
        return json.dumps({"rules": self.rules, "since": self.since.isoformat() if self.since else None})


@dataclass(frozen=True, slots=True)
class HeldByRule:
    """How many rows one rule holds back, and an example of why."""

    rule: str
    column: str | None
    contract_version: str
    rows: int
    first: datetime | None
    last: datetime | None
    example: str


@dataclass(frozen=True, slots=True)
class HeldRow:
    """One quarantined message."""

    topic_id: str
    partition: int
    offset: int
    timestamp: datetime | None
    key: str | None
    rule: str
    reason: str
    contract_version: str
    run_id: str
    raw: bytes | None

    @property
    def text(self) -> str:
        """The raw bytes, readable: bytes that are no UTF-8 as ``\\xff``, a tombstone as words."""
        return "(no value)" if self.raw is None else self.raw.decode("utf-8", "backslashreplace")


def count_by_rule(sql: Sql, chosen: Selection) -> list[HeldByRule]:
    """Numbers of rows, the greatest first."""
    found = sql.execute(
        'SELECT RULE, "COLUMN" AS COL, CONTRACT_VERSION, COUNT(*) AS N, MIN(_TIMESTAMP) AS FIRST_AT, '
        f"MAX(_TIMESTAMP) AS LAST_AT, MIN(REASON) AS EXAMPLE FROM {TABLE} WHERE {chosen.condition} "
        "GROUP BY 1, 2, 3 ORDER BY N DESC, 1, 2, 3"
    )
    return [
        HeldByRule(
            str(r["RULE"]), r["COL"], str(r["CONTRACT_VERSION"]), int(r["N"]),
            r["FIRST_AT"], r["LAST_AT"], str(r["EXAMPLE"]),
        )
        for r in found
    ]  # fmt: skip


def show(sql: Sql, chosen: Selection, limit: int) -> list[HeldRow]:
    """The newest rows, at most ``limit``."""
    found = sql.execute(
        "SELECT _TOPIC_ID, _PARTITION, _OFFSET, _TIMESTAMP, _KEY, RULE, REASON, CONTRACT_VERSION, RUN_ID, "
        f"RAW FROM {TABLE} WHERE {chosen.condition} "
        f"ORDER BY _TIMESTAMP DESC, _PARTITION, _OFFSET LIMIT {int(limit)}"
    )
    return [_held(r) for r in found]


def _held(r: Mapping[str, Any]) -> HeldRow:
    return HeldRow(
        topic_id=r["_TOPIC_ID"],
        partition=int(r["_PARTITION"]),
        offset=int(r["_OFFSET"]),
        timestamp=r["_TIMESTAMP"],
        key=r["_KEY"],
        rule=str(r["RULE"]),
        reason=str(r["REASON"]),
        contract_version=str(r["CONTRACT_VERSION"]),
        run_id=str(r["RUN_ID"]),
        raw=r["RAW"],
    )


def settled_ranges(sql: Sql, stream: str) -> list[Mapping[str, Any]]:
    """Ranges that are loaded, neighbours joined: rows of the ledger. The quarantined rows of others still
    belong to a run that counts them.
    """
    ranges = "PARTITION BY TOPIC_ID, PARTITION_ID ORDER BY START_OFFSET, END_OFFSET ROWS BETWEEN"
    starts = (
        "SELECT TOPIC, TOPIC_ID, PARTITION_ID, START_OFFSET, END_OFFSET, IFF(START_OFFSET <= MAX(END_OFFSET) "
        f"OVER ({ranges} UNBOUNDED PRECEDING AND 1 PRECEDING), 0, 1) AS BEGINS "
        f"FROM {ledger.TABLE} WHERE STREAM = ? AND STATE = 'loaded'"
    )
    islands = (
        f"SELECT *, SUM(BEGINS) OVER ({ranges} UNBOUNDED PRECEDING AND CURRENT ROW) AS ISLAND "
        f"FROM ({starts}) AS s"
    )
    found: list[Mapping[str, Any]] = list(
        sql.execute(
            "SELECT MAX(TOPIC) AS TOPIC, TOPIC_ID, PARTITION_ID, MIN(START_OFFSET) AS START_OFFSET, "
            f"MAX(END_OFFSET) AS END_OFFSET FROM ({islands}) AS i GROUP BY TOPIC_ID, PARTITION_ID, ISLAND",
            [stream],
        )
    )
    return found


def messages(sql: Sql, chosen: Selection, owned: Slice) -> Iterator[Batch]:
    """The chosen rows of a slice as messages, in order, in pages of bounded size; each message once."""
    for r in owned:
        after = r.start - 1
        while page := _page(sql, chosen, owned.topic_id, r, after):
            after = int(page[-1]["_OFFSET"])
            once = {int(row["_OFFSET"]): row for row in page}.values()
            yield batch_of(
                r.partition,
                ((p["_OFFSET"], _milliseconds(p), p["_KEY"], p["_HEADERS"], p["RAW"]) for p in once),
            )


def _page(sql: Sql, chosen: Selection, topic_id: str, r: OffsetRange, after: int) -> list[dict[str, Any]]:
    rows = (
        f"SELECT _OFFSET, _TIMESTAMP, _KEY, _HEADERS, RAW FROM {TABLE} WHERE {chosen.condition} "
        f"AND _TOPIC_ID = ? AND _PARTITION = {r.partition} AND _OFFSET > {after} AND _OFFSET < {r.end} "
        f"ORDER BY _OFFSET LIMIT {_PAGE_ROWS}"
    )
    return sql.execute(
        f"SELECT * FROM ({rows}) AS r QUALIFY COALESCE(SUM(COALESCE(OCTET_LENGTH(RAW), 0)) OVER (ORDER BY "
        f"_OFFSET ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) < {_PAGE_BYTES} ORDER BY _OFFSET",
        [topic_id],
    )


def _milliseconds(row: Mapping[str, Any]) -> int | None:
    if row["_TIMESTAMP"] is None:
        return None
    return int((row["_TIMESTAMP"] - _EPOCH) // timedelta(milliseconds=1))
