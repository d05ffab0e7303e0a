"""The table ``OPS.REPLAYS``: what was replayed, why, by whom, and how far it came.

States: ``begun`` (files may be read and staged, no reader sees anything yet), ``swapped`` (the rows are in
place), ``done`` (judged by the fast gate, tidied up).
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, fields
from typing import Final

from madhatter_provider.core.contracts.contract import Contract
from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.core.slices.offsets import OffsetRange
from madhatter_provider.core.warehouse.sql_client import Sql

TABLE: Final = "OPS.REPLAYS"
_ID = re.compile(r"[A-Z0-9_]{1,48}")
_ID_OF_TASK = re.compile(r"R[0-9A-F]{20}")


def root_of(replay_id: str) -> str:
    """Where a replay's files are, below the landing root."""
    return f"replay/{replay_id}"


def id_of_task(dag_id: str, run_id: str, task_id: str, map_index: int | None) -> str:
    """The id of an Airflow task's replay: the same for every try."""
    text = "|".join([dag_id, run_id, task_id, str(map_index)])
    return f"R{hashlib.sha256(text.encode()).hexdigest()[:20].upper()}"


def is_of_task(replay_id: str) -> bool:
    """Whether :func:`id_of_task` made it: ids of the command line tell their time."""
    return _ID_OF_TASK.fullmatch(replay_id) is not None


def check_id(replay_id: str) -> str:
    """The id, if tables and files may be named after it.

    :raises ConfigurationError: they may not.
    """
    if not _ID.fullmatch(replay_id):
        raise ConfigurationError(
            f"{replay_id!r} is not a replay id",
            remedy="Use up to 48 capital letters, digits and underscores.",
        )
    return replay_id


@dataclass(frozen=True, slots=True)
class Requested:
    """What makes two requests of one id the same: a replay that is taken up again must be the same one."""

    id: str
    kind: str
    stream: str
    topic: str | None
    topic_id: str | None
    selection: str


@dataclass(frozen=True, slots=True)
class Recorded:
    """A row of the table. ``sources`` is JSON: the ranges that came from each source."""

    id: str
    stream: str
    topic: str | None
    topic_id: str | None
    selection: str
    state: str
    sources: str | None
    rows_before: int
    quarantined_before: int
    rows_after: int
    quarantined_after: int

    def refuse_unless(self, wanted: Requested) -> None:
        """Stop if the row is of another request.

        :raises ConfigurationError: it is.
        """
        mine = (self.stream, self.selection, self.topic_id or wanted.topic_id)
        if mine != (wanted.stream, wanted.selection, wanted.topic_id or self.topic_id):
            raise ConfigurationError(
                f"Replay {self.id} is another one: stream {self.stream}, {self.selection}",
                where=f"stream {wanted.stream}, {wanted.selection}",
                remedy="Give the same request to take it up again, or another id (or none) for a new one.",
            )


@dataclass(frozen=True, slots=True)
class FinishedRange:
    """A replay that is over, and what it read from Kafka."""

    id: str
    kafka: tuple[OffsetRange, ...]


def begin(sql: Sql, contract: Contract, wanted: Requested, reason: str, who: str) -> Recorded:
    """Record that a replay begins, once; the row, which may be of an earlier try.

    :raises ConfigurationError: the id belongs to another replay.
    """
    values = {
        "ID": wanted.id,
        "KIND": wanted.kind,
        "STREAM": wanted.stream,
        "TOPIC": wanted.topic,
        "TOPIC_ID": wanted.topic_id,
        "SELECTION": wanted.selection,
        "REASON": reason,
        "REQUESTED_BY": who,
        "CONTRACT_VERSION": contract.version,
        "STATE": "begun",
    }
    picks = ", ".join(f"? AS {c}" for c in values)
    sql.execute(
        f"MERGE INTO {TABLE} AS t USING (SELECT {picks}) AS s ON t.ID = s.ID WHEN NOT MATCHED THEN "
        f"INSERT ({', '.join(values)}, BEGUN_AT) "
        f"VALUES ({', '.join(f's.{c}' for c in values)}, CURRENT_TIMESTAMP())",
        list(values.values()),
    )
    found = find(sql, wanted.id)
    assert found is not None, "a row that was merged is there"
    found.refuse_unless(wanted)
    return found


def find(sql: Sql, replay_id: str) -> Recorded | None:
    """A replay by id."""
    names = [f.name.upper() for f in fields(Recorded)]
    found = sql.execute(f"SELECT {', '.join(names)} FROM {TABLE} WHERE ID = ?", [replay_id])
    if not found:
        return None
    counts = {n: int(found[0][n] or 0) for n in names if n.endswith(("_BEFORE", "_AFTER"))}
    return Recorded(**{n.lower(): v for n, v in {**found[0], **counts}.items()})


def record_sources(sql: Sql, replay_id: str, sources: str) -> None:
    """What each part of the range is read from, as JSON."""
    sql.execute(f"UPDATE {TABLE} SET SOURCES = ? WHERE ID = ? AND STATE = 'begun'", [sources, replay_id])


def finish(sql: Sql, replay_id: str) -> None:
    """Record that a replay is over."""
    sql.execute(
        f"UPDATE {TABLE} SET STATE = 'done', DONE_AT = COALESCE(DONE_AT, CURRENT_TIMESTAMP()) "
        "WHERE ID = ? AND STATE <> 'begun'",
        [replay_id],
    )


def finished_ranges(sql: Sql, stream: str, topic_id: str) -> list[FinishedRange]:
    """Replays of ranges of an epoch whose rows are in place, the newest first."""
    found = sql.execute(
        f"SELECT ID, SOURCES FROM {TABLE} WHERE STREAM = ? AND TOPIC_ID = ? AND KIND = 'range' "
        "AND STATE IN ('swapped', 'done') ORDER BY SWAPPED_AT DESC, ID",
        [stream, topic_id],
    )
    return [
        FinishedRange(r["ID"], tuple(OffsetRange(*part) for part in json.loads(r["SOURCES"])["kafka"]))
        for r in found
    ]
