"""The ledger ``OPS.SLICES``: one row per offset range, and what became of it.

Pure SQL text and bindings; whoever has a connection runs them. The protocol of a row:

1. ``claimed``: a run owns the range. Nothing else is known.
2. ``lost``: retention overran the range before it was read. Ends here.
3. ``landed``: the landing file exists; counts and event times are known. Who loads at once leaves this out.
4. ``loaded``: the rows are in Snowflake and counted there.

A replay (:mod:`madhatter_provider.core.replay.run`) leaves the state, takes the counts anew from the tables
and writes its id: what the landing files hold may then differ from what is loaded.

The order above is also the rank. A replayed earlier step never moves a row's state backwards and never
overwrites what a later step recorded; it may only fill in what is still unknown. Gates are judgements, not
states: the newest judgement stands.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final, Self

from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.core.slices.offsets import OffsetRange, Slice
from madhatter_provider.core.warehouse.column_comments import LEDGER

TABLE: Final = "OPS.SLICES"
STATES: Final = ("claimed", "lost", "landed", "loaded")
GATES: Final = ("pass", "warn", "fail")

KEY: Final = {
    "STREAM": "VARCHAR(128)",
    "TOPIC_ID": "VARCHAR(64)",
    "PARTITION_ID": "NUMBER(10,0)",
    "START_OFFSET": "NUMBER(38,0)",
    "END_OFFSET": "NUMBER(38,0)",
}
_FACTS: Final = {
    "TOPIC": "VARCHAR(256)",
    "DAG_ID": "VARCHAR(256)",
    "RUN_ID": "VARCHAR(256)",
    "ROWS_READ": "NUMBER(38,0)",
    "ROWS_LANDED": "NUMBER(38,0)",
    "ROWS_LOADED": "NUMBER(38,0)",
    "ROWS_QUARANTINED": "NUMBER(38,0)",
    "ROWS_FILTERED": "NUMBER(38,0)",
    "BYTES": "NUMBER(38,0)",
    "MIN_EVENT_TIME": "TIMESTAMP_TZ(6)",
    "MAX_EVENT_TIME": "TIMESTAMP_TZ(6)",
    "FILE_PATH": "VARCHAR(1024)",
    "MANIFEST_PATH": "VARCHAR(1024)",
    "REPLAY_ID": "VARCHAR(64)",
}
_GATES: Final = {"GATE": "VARCHAR(8)", "DEEP_GATE": "VARCHAR(8)"}
_TIMES: Final = dict.fromkeys(
    ("CLAIMED_AT", "LANDED_AT", "LOADED_AT", "GATED_AT", "DEEP_GATED_AT"), "TIMESTAMP_TZ(6)"
)
_ACKNOWLEDGED: Final = {
    "ACKNOWLEDGED_AT": "TIMESTAMP_TZ(6)",
    "ACKNOWLEDGED_BY": "VARCHAR(256)",
    "ACKNOWLEDGED_REASON": "VARCHAR(1024)",
}
_RECORDED: Final = {**KEY, "STATE": "VARCHAR(16)", **_FACTS, **_GATES, **_TIMES}
COLUMNS: Final = {**_RECORDED, **_ACKNOWLEDGED}

Statement = tuple[str, list[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRow:
    """One offset range ``[start_offset, end_offset)`` of one partition.

    ``None`` means unknown: it never overwrites what the ledger knows. Times that are left out are set by
    Snowflake's clock when the row first reaches the state concerned.

    :raises ConfigurationError: the state or a gate is not one of the vocabulary, or the range is backwards.
    """

    stream: str
    topic_id: str
    partition_id: int
    start_offset: int
    end_offset: int
    state: str
    topic: str | None = None
    dag_id: str | None = None
    run_id: str | None = None
    rows_read: int | None = None
    rows_landed: int | None = None
    rows_loaded: int | None = None
    rows_quarantined: int | None = None
    rows_filtered: int | None = None
    bytes: int | None = None
    min_event_time: datetime | None = None
    max_event_time: datetime | None = None
    file_path: str | None = None
    manifest_path: str | None = None
    replay_id: str | None = None
    gate: str | None = None
    deep_gate: str | None = None
    claimed_at: datetime | None = None
    landed_at: datetime | None = None
    loaded_at: datetime | None = None
    gated_at: datetime | None = None
    deep_gated_at: datetime | None = None
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None
    acknowledged_reason: str | None = None

    @classmethod
    def of_range(cls, stream: str, owned: Slice, part: OffsetRange, state: str, **facts: Any) -> Self:
        """The row of one range of a slice; ``facts``: other columns."""
        return cls(
            stream=stream,
            topic_id=owned.topic_id,
            partition_id=part.partition,
            start_offset=part.start,
            end_offset=part.end,
            state=state,
            topic=owned.topic,
            **facts,
        )

    def __post_init__(self) -> None:
        if self.state not in STATES:
            raise self._wrong(f"state {self.state!r}", f"Use one of {', '.join(STATES)}.")
        for gate in (self.gate, self.deep_gate):
            if gate is not None and gate not in GATES:
                raise self._wrong(f"gate {gate!r}", f"Use one of {', '.join(GATES)}.")
        if not 0 <= self.start_offset <= self.end_offset:
            raise self._wrong(
                "a range that runs backwards", "A range is [start, end) with 0 <= start <= end."
            )

    def _wrong(self, what: str, remedy: str) -> ConfigurationError:
        where = f"{self.stream}/{self.partition_id} [{self.start_offset}, {self.end_offset})"
        return ConfigurationError(f"Ledger row with {what}", where=where, remedy=remedy)

    @property
    def key(self) -> tuple[str, str, int, int, int]:
        """What identifies the row."""
        return (self.stream, self.topic_id, self.partition_id, self.start_offset, self.end_offset)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> LedgerRow:
        """Build a row from a query's result (upper-case column names; columns that are not the ledger's are
        ignored).
        """
        names = {f.name for f in fields(cls)}
        return cls(**{k.lower(): v for k, v in row.items() if k.lower() in names})


def create_table(table: str = TABLE) -> str:
    """DDL of the ledger."""
    required = {*KEY, "STATE"}
    lines = [
        f"  {name} {kind}{' NOT NULL' if name in required else ''} COMMENT '{LEDGER[name]}'"
        for name, kind in COLUMNS.items()
    ]
    lines.append(f"  PRIMARY KEY ({', '.join(KEY)})")
    body = ",\n".join(lines)
    return (
        f"CREATE TABLE IF NOT EXISTS {table} (\n{body}\n) COMMENT = 'Offset ranges and what became of them'"
    )


def add_missing_columns(existing: Iterable[str], table: str = TABLE) -> list[str]:
    """Statements that give a ledger of an earlier version the columns that it lacks."""
    known = {name.upper() for name in existing}
    return [f"ALTER TABLE {table} ADD COLUMN {c} {kind}" for c, kind in COLUMNS.items() if c not in known]


def record(rows: Sequence[LedgerRow], table: str = TABLE, *, only_known: bool = False) -> Statement:
    """One MERGE that records all rows; running it again, or late, changes nothing that is further on.
    Acknowledgements are not recorded here (core/warehouse/ledger_changes.py).

    :param only_known: leave out ranges that the ledger does not have yet.
    :raises ConfigurationError: no row, or two rows of the same range (a MERGE could not tell which is meant).
    """
    if not rows:
        raise ConfigurationError("Nothing to record in the ledger", remedy="Pass at least one row.")
    if len({r.key for r in rows}) != len(rows):
        raise ConfigurationError(
            "Two ledger rows of one range", where=rows[0].stream, remedy="Record each range once."
        )
    return _merge_sql(table, only_known), [json.dumps([_as_json(r) for r in rows], separators=(",", ":"))]


def _as_json(row: LedgerRow) -> dict[str, Any]:
    values = ((f.name.upper(), getattr(row, f.name)) for f in fields(row))
    return {k: v.isoformat() if isinstance(v, datetime) else v for k, v in values if v is not None}


def _rank(alias: str) -> str:
    whens = " ".join(f"WHEN '{state}' THEN {rank}" for rank, state in enumerate(STATES, 1))
    return f"CASE {alias}.STATE {whens} ELSE 0 END"


def _merge_sql(table: str, only_known: bool) -> str:
    newer = f"{_rank('s')} >= {_rank('t')}"
    sets = [f"STATE = IFF({newer}, s.STATE, t.STATE)"]
    sets += [f"{c} = IFF({newer}, COALESCE(s.{c}, t.{c}), COALESCE(t.{c}, s.{c}))" for c in _FACTS]
    sets += [f"{c} = COALESCE(s.{c}, t.{c})" for c in _GATES]
    sets += [f"{c} = COALESCE(t.{c}, {_time(c)})" for c in ("CLAIMED_AT", "LANDED_AT", "LOADED_AT")]
    sets += [f"{c} = COALESCE({_time(c)}, t.{c})" for c in ("GATED_AT", "DEEP_GATED_AT")]
    picks = ", ".join(f"r.VALUE:{c}::{kind} AS {c}" for c, kind in _RECORDED.items())
    values = ", ".join(_time(c) if c in _TIMES else f"s.{c}" for c in _RECORDED)
    insert = f"\nWHEN NOT MATCHED THEN INSERT ({', '.join(_RECORDED)}) VALUES ({values})"
    return (
        f"MERGE INTO {table} AS t USING (\n"
        f"  SELECT {picks}\n"
        f"  FROM TABLE(FLATTEN(INPUT => PARSE_JSON(?))) AS r\n"
        f") AS s ON {' AND '.join(f't.{c} = s.{c}' for c in KEY)}\n"
        f"WHEN MATCHED THEN UPDATE SET\n  " + ",\n  ".join(sets) + ("" if only_known else insert)
    )


def _time(column: str) -> str:
    """The time given, else now if the source row has come as far as this column speaks of."""
    reached = {
        "CLAIMED_AT": "s.STATE IN ('claimed', 'lost', 'landed', 'loaded')",
        "LANDED_AT": "s.STATE IN ('landed', 'loaded')",
        "LOADED_AT": "s.STATE = 'loaded'",
        "GATED_AT": "s.GATE IS NOT NULL",
        "DEEP_GATED_AT": "s.DEEP_GATE IS NOT NULL",
    }[column]
    return f"COALESCE(s.{column}, IFF({reached}, CURRENT_TIMESTAMP(), NULL))"


def _with_previous(where: str) -> str:
    """Every range beside the furthest end of the ranges before it in its partition."""
    return (
        "SELECT STREAM, TOPIC_ID, PARTITION_ID, START_OFFSET, END_OFFSET, STATE, RUN_ID, "
        "MAX(END_OFFSET) OVER (PARTITION BY STREAM, TOPIC_ID, PARTITION_ID ORDER BY START_OFFSET, END_OFFSET "
        f"ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS PREVIOUS_END FROM {TABLE}{where}"
    )


def _of(stream: str | None) -> tuple[str, list[Any]]:
    return ("TRUE", []) if stream is None else ("STREAM = ?", [stream])


def recent(stream: str, states: Sequence[str], since: datetime | None, limit: int) -> Statement:
    """A stream's rows, the newest claim first; all ledger columns.

    :param states: only these; all if empty.
    :raises ConfigurationError: a state is not one of the vocabulary.
    """
    if unknown := [s for s in states if s not in STATES]:
        raise ConfigurationError(
            f"State {unknown[0]!r}", where="the ledger", remedy=f"Use one of {', '.join(STATES)}."
        )
    condition, bindings = _of(stream)
    if states:
        condition += f" AND STATE IN ({', '.join('?' * len(states))})"
        bindings += states
    if since is not None:
        condition += " AND CLAIMED_AT >= ?"
        bindings.append(since)
    return (
        f"SELECT {', '.join(COLUMNS)} FROM {TABLE} WHERE {condition} "
        f"ORDER BY CLAIMED_AT DESC, PARTITION_ID, START_OFFSET DESC LIMIT {int(limit)}",
        bindings,
    )


def gaps(stream: str | None = None) -> Statement:
    """Offsets that no row covers: STREAM, TOPIC_ID, PARTITION_ID, GAP_START, GAP_END. Empty when the ledger
    tiles its topics.

    :param stream: only of this one.
    """
    condition, bindings = _of(stream)
    return (
        "SELECT STREAM, TOPIC_ID, PARTITION_ID, PREVIOUS_END AS GAP_START, START_OFFSET AS GAP_END "
        f"FROM ({_with_previous(f' WHERE {condition}')}) AS r WHERE START_OFFSET > PREVIOUS_END "
        "ORDER BY STREAM, TOPIC_ID, PARTITION_ID, GAP_START",
        bindings,
    )


def overlaps(stream: str | None = None) -> Statement:
    """Ranges that begin before an earlier one ends: STREAM, TOPIC_ID, PARTITION_ID, START_OFFSET, END_OFFSET,
    PREVIOUS_END, RUN_ID.

    Lost rows are left out: they say which part of a claim could not be read, and hold no data.

    :param stream: only of this one.
    """
    condition, bindings = _of(stream)
    kept = _with_previous(f" WHERE {condition} AND STATE <> 'lost'")
    return (
        "SELECT STREAM, TOPIC_ID, PARTITION_ID, START_OFFSET, END_OFFSET, PREVIOUS_END, RUN_ID "
        f"FROM ({kept}) AS r WHERE START_OFFSET < PREVIOUS_END "
        "ORDER BY STREAM, TOPIC_ID, PARTITION_ID, START_OFFSET",
        bindings,
    )


def not_deep_gated(streams: Sequence[str], limit: int = 10_000) -> Statement:
    """Loaded ranges of these streams that the deep gate has not judged, oldest first; all ledger columns."""
    if not streams:
        raise ConfigurationError("No stream to look for in the ledger", remedy="Name at least one stream.")
    return (
        f"SELECT {', '.join(COLUMNS)} FROM {TABLE} WHERE STATE = 'loaded' AND DEEP_GATE IS NULL "
        f"AND STREAM IN ({', '.join('?' * len(streams))}) "
        f"ORDER BY LOADED_AT, STREAM, PARTITION_ID, START_OFFSET LIMIT {int(limit)}",
        list(streams),
    )
