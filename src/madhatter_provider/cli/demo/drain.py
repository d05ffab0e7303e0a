"""Wait until nothing is under way any more: every message read, acted on, loaded."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from madhatter_provider.cli.demo.alert_leg import FunctionRecord
from madhatter_provider.cli.demo.broker import Broker
from madhatter_provider.core.contracts.contract import Contract
from madhatter_provider.core.warehouse.sql_client import Sql

STREAMING_GROUP = "madhatter-streaming-fraud"
QUIET_SECONDS = 5.0
_LOOK_SECONDS = 0.5

Ends = Mapping[str, Mapping[int, int]]


@dataclass(frozen=True, slots=True)
class Drained:
    """What lay in the topics when the alerts were quiet (offset by stream and partition), and the streams of
    which something before these ends was not loaded in time.
    """

    ends: Ends
    behind: tuple[str, ...]


def drain(
    sql: Sql,
    contracts: Mapping[str, Contract],
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
    while (behind := not_loaded(sql, contracts, ends)) and time.monotonic() < deadline:
        time.sleep(1.0)
    return Drained(ends, tuple(behind))


def _wait_for_quiet(broker: Broker, record: FunctionRecord | None, deadline: float) -> None:
    quiet_since, before = time.monotonic(), None
    while time.monotonic() - quiet_since < QUIET_SECONDS and time.monotonic() < deadline:
        now = (len(record.executed()) if record else 0, broker.ends()["fraud_alerts"])
        if now != before or broker.unread(STREAMING_GROUP) or (record and record.waiting()):
            quiet_since, before = time.monotonic(), now
        time.sleep(_LOOK_SECONDS)


def not_loaded(sql: Sql, contracts: Mapping[str, Contract], ends: Ends) -> list[str]:
    """Streams of which something before ``ends`` is not in the ledger as loaded."""
    rows = sql.execute(
        "SELECT STREAM, PARTITION_ID, SUM(END_OFFSET - START_OFFSET) AS N, MAX(END_OFFSET) AS REACHED "
        "FROM OPS.SLICES WHERE STATE = 'loaded' GROUP BY STREAM, PARTITION_ID"
    )
    done = {(r["STREAM"], int(r["PARTITION_ID"])): (int(r["N"]), int(r["REACHED"])) for r in rows}
    return [
        name
        for name in contracts
        if any(end > 0 and min(done.get((name, p), (0, 0))) < end for p, end in ends[name].items())
    ]
