"""The page *Streams*: one row per stream of the ledger, worst first; paged, searched and sorted in SQL."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.core.warehouse import ledger

Statement = tuple[str, list[Any]]

PAGE_ROWS: Final = 50
LATE_MINUTES: Final = 10
"""After this long a claimed range that is not loaded needs a look."""

_REPLAY: Final = "replay"
_SEVERITY: Final = "CASE WHEN LOST + GAPS + FAILED_GATES > 0 THEN 2 WHEN LATE > 0 THEN 1 ELSE 0 END"
SORTS: Final = {
    "state": "SEVERITY DESC, LOST + GAPS + FAILED_GATES + LATE DESC, STREAM",
    "stream": "STREAM",
    "rows": "ROWS_10M DESC NULLS LAST, STREAM",
    "freshness": "LAST_LOAD DESC NULLS LAST, STREAM",
    "quarantined": "ROWS_QUARANTINED DESC NULLS LAST, STREAM",
}
TOTALS: Final = {
    "ALL_STREAMS": "COUNT(*)",
    "ALL_PROBLEM": "SUM(IFF(SEVERITY = 2, 1, 0))",
    "ALL_LATE": "SUM(IFF(SEVERITY = 1, 1, 0))",
    "ALL_ROWS_10M": "SUM(ROWS_10M)",
    "ALL_ROWS_LOADED": "SUM(ROWS_LOADED)",
    "ALL_ROWS_QUARANTINED": "SUM(ROWS_QUARANTINED)",
}
STATES: Final = {"problem": 2, "late": 1, "ok": 0}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person looks for.

    :param dag_ids: the DAGs that they may read; ``None``: all.
    :param search: part of the stream's name.
    :param state: ``problem``, ``late`` or ``ok``; empty: any.
    """

    dag_ids: Sequence[str] | None = None
    search: str = ""
    state: str = ""

    def __post_init__(self) -> None:
        if self.state and self.state not in STATES:
            raise ConfigurationError(f"State {self.state!r}", remedy=f"Use one of {', '.join(STATES)}.")

    def condition(self) -> Statement:
        """On the columns of :func:`_overview`."""
        parts, bindings = ["TRUE"], list[Any]()
        if self.dag_ids is not None:
            parts.append("DAG_ID IN (SELECT VALUE::VARCHAR FROM TABLE(FLATTEN(INPUT => PARSE_JSON(?))))")
            bindings.append(json.dumps(list(self.dag_ids)))
        if self.search:
            parts.append("CONTAINS(LOWER(STREAM), LOWER(?))")
            bindings.append(self.search)
        if self.state:
            parts.append(f"{_SEVERITY} = {STATES[self.state]}")
        return " AND ".join(parts), bindings


def _overview(where: str = "TRUE") -> str:
    """One row per stream. A gap is a range that begins behind the furthest end before it."""
    return f"""
SELECT
  STREAM,
  MAX_BY(TOPIC, CLAIMED_AT) AS TOPIC,
  MAX_BY(TOPIC_ID, CLAIMED_AT) AS TOPIC_ID,
  MAX_BY(DAG_ID, IFF(DAG_ID = '{_REPLAY}', NULL, CLAIMED_AT)) AS DAG_ID,
  COUNT(DISTINCT PARTITION_ID) AS PARTITIONS,
  COUNT(*) AS RANGES,
  MAX(MAX_EVENT_TIME) AS NEWEST_EVENT,
  MAX(LOADED_AT) AS LAST_LOAD,
  SUM(ROWS_LOADED) AS ROWS_LOADED,
  SUM(ROWS_QUARANTINED) AS ROWS_QUARANTINED,
  SUM(IFF(LOADED_AT >= DATEADD('minute', -10, CURRENT_TIMESTAMP()), ROWS_LOADED, 0)) AS ROWS_10M,
  COUNT_IF(STATE IN ('claimed', 'landed')) AS UNFINISHED,
  COUNT_IF(STATE IN ('claimed', 'landed')
    AND CLAIMED_AT < DATEADD('minute', -{LATE_MINUTES}, CURRENT_TIMESTAMP())) AS LATE,
  COUNT_IF(STATE = 'lost' AND ACKNOWLEDGED_AT IS NULL) AS LOST,
  COUNT_IF(GATE = 'fail' OR DEEP_GATE = 'fail') AS FAILED_GATES,
  COUNT_IF(START_OFFSET > PREVIOUS_END) AS GAPS
FROM (
  SELECT *, MAX(END_OFFSET) OVER (
    PARTITION BY STREAM, TOPIC_ID, PARTITION_ID ORDER BY START_OFFSET, END_OFFSET
    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS PREVIOUS_END
  FROM {ledger.TABLE} WHERE {where}
) AS ranges
GROUP BY STREAM"""


def page(wanted: Wanted, sort: str = "state", number: int = 0, rows: int = PAGE_ROWS) -> Statement:
    """One page of streams. The columns ALL_… are over all streams that match, on whichever page.

    :raises ConfigurationError: no such order.
    """
    if sort not in SORTS:
        raise ConfigurationError(f"Order {sort!r}", remedy=f"Use one of {', '.join(SORTS)}.")
    condition, bindings = wanted.condition()
    sums = ", ".join(f"{text} OVER () AS {name}" for name, text in TOTALS.items())
    return (
        f"SELECT *, {sums} FROM (SELECT *, {_SEVERITY} AS SEVERITY FROM ({_overview()}) AS streams "
        f"WHERE {condition}) AS found ORDER BY {SORTS[sort]} "
        f"LIMIT {int(rows)} OFFSET {int(number) * int(rows)}",
        bindings,
    )


def one(stream: str, dag_ids: Sequence[str] | None) -> Statement:
    """The row of one stream; none if it is not there, or not for this person."""
    condition, bindings = Wanted(dag_ids).condition()
    return (
        f"SELECT *, {_SEVERITY} AS SEVERITY FROM ({_overview('STREAM = ?')}) AS streams WHERE {condition}",
        [stream, *bindings],
    )


def throughput(streams: Sequence[str], minutes: int = 30) -> Statement:
    """Rows loaded per minute of these streams: STREAM, MINUTES_AGO, LOADED."""
    return (
        "SELECT STREAM, DATEDIFF('minute', LOADED_AT, CURRENT_TIMESTAMP()) AS MINUTES_AGO, "
        f"SUM(ROWS_LOADED) AS LOADED FROM {ledger.TABLE} "
        f"WHERE LOADED_AT >= DATEADD('minute', -{int(minutes)}, CURRENT_TIMESTAMP()) "
        "AND STREAM IN (SELECT VALUE::VARCHAR FROM TABLE(FLATTEN(INPUT => PARSE_JSON(?)))) "
        "GROUP BY STREAM, MINUTES_AGO",
        [json.dumps(list(streams))],
    )


def claimed_ends(epochs: Sequence[tuple[str, str]]) -> Statement:
    """The furthest claimed offset of these streams' epochs: STREAM, PARTITION_ID, LAST_OFFSET."""
    return (
        f"SELECT STREAM, PARTITION_ID, MAX(END_OFFSET) AS LAST_OFFSET FROM {ledger.TABLE} "
        "WHERE STREAM || ' ' || TOPIC_ID IN "
        "(SELECT VALUE::VARCHAR FROM TABLE(FLATTEN(INPUT => PARSE_JSON(?)))) "
        "GROUP BY STREAM, PARTITION_ID",
        [json.dumps([f"{stream} {topic_id}" for stream, topic_id in epochs])],
    )
