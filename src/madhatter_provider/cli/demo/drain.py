"""Wait until nothing is under way any more: every message read, acted on, loaded."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from madhatter_provider.cli.demo.alert_leg import FunctionRecord
from madhatter_provider.cli.demo.broker import Broker
from madhatter_provider.core.slices.offsets import OffsetRange, Slice
from madhatter_provider.core.warehouse.sql_client import Sql

STREAMING_GROUP = "madhatter-streaming-fraud"
QUIET_SECONDS = 5.0
_LOOK_SECONDS = 0.5

Ends = Mapping[str, Mapping[int, int]]


@dataclass(frozen=True, slots=True)
class Drained:
    """What lay in the topics when the alerts were quiet (offset by stream and partition), and how many
    messages before these ends were not loaded in time, by stream.
    """

    ends: Ends
    behind: Mapping[str, int]


def drain(
    sql: Sql,
    broker: Broker,
    record: FunctionRecord | None,
    *,
    seconds: float,
) -> Drained:
    """Wait until the streaming job has read everything, its alerts were quiet for a while and no digest of
    them is due; then until everything in the topics at that moment is in the ledger as loaded.

    :param record: what the function did; ``None`` if the alert leg does not run.
    :param seconds: longest wait for both together.
    """
    deadline = time.monotonic() + seconds
    _wait_for_quiet(broker, record, deadline)
    ends = broker.ends()
    while (behind := not_loaded(sql, ends)) and time.monotonic() < deadline:
        time.sleep(1.0)
    return Drained(ends, behind)


def _wait_for_quiet(broker: Broker, record: FunctionRecord | None, deadline: float) -> None:
    quiet_since, before = time.monotonic(), None
    while time.monotonic() - quiet_since < QUIET_SECONDS and time.monotonic() < deadline:
        now = (len(record.executed()) if record else 0, broker.ends()["fraud_alerts"])
        if now != before or broker.unread(STREAMING_GROUP) or (record and record.waiting()):
            quiet_since, before = time.monotonic(), now
        time.sleep(_LOOK_SECONDS)


def not_loaded(sql: Sql, ends: Ends) -> dict[str, int]:
    """Messages before ``ends`` that the ledger does not show as loaded, by stream; streams with none are left
    out.
    """
    rows = sql.execute(
        "SELECT STREAM, PARTITION_ID, START_OFFSET, END_OFFSET FROM OPS.SLICES WHERE STATE = 'loaded'"
    )
    loaded: dict[str, list[OffsetRange]] = {}
    for row in rows:
        found = OffsetRange(int(row["PARTITION_ID"]), int(row["START_OFFSET"]), int(row["END_OFFSET"]))
        loaded.setdefault(str(row["STREAM"]), []).append(found)
    left = {
        stream: len(
            Slice(stream, "", tuple(OffsetRange(p, 0, end) for p, end in partitions.items()))
            - Slice(stream, "", tuple(loaded.get(stream, ())))
        )
        for stream, partitions in ends.items()
    }
    return {stream: count for stream, count in left.items() if count}
