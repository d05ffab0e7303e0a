"""One stream: its partitions as strips of slices, what is wrong with them, how fast it goes, its runs.

A strip may stand for any number of slices: they are grouped by where they begin and by what became of them,
so that a page never holds more than some hundred marks a partition. What is wrong is never grouped away: gaps
and losses are listed one by one too.
"""

from __future__ import annotations

from typing import Any, Final

from madhatter_provider.core.dashboards.periods import Period, bucket_of
from madhatter_provider.core.warehouse import ledger

Statement = tuple[str, list[Any]]

MARKS: Final = 240
PARTITIONS: Final = 24
"""On one page."""
LISTED: Final = 200

KIND: Final = """CASE
    WHEN STATE = 'lost' THEN IFF(ACKNOWLEDGED_AT IS NULL, 'lost', 'acknowledged')
    WHEN STATE IN ('claimed', 'landed') THEN STATE
    WHEN GATE = 'fail' OR DEEP_GATE = 'fail' THEN 'failed'
    WHEN ROWS_QUARANTINED > 0 THEN 'quarantined'
    ELSE 'loaded' END"""


def marks(stream: str, topic_id: str, first: int, last: int) -> Statement:
    """The strips of partitions ``first`` to ``last``; slices of several DAGs that are one mark name none."""
    return (
        f"""
WITH ranges AS (
  SELECT *, {KIND} AS KIND,
    MIN(START_OFFSET) OVER (PARTITION BY PARTITION_ID) AS LOW,
    MAX(END_OFFSET) OVER (PARTITION BY PARTITION_ID) AS HIGH
  FROM {ledger.TABLE}
  WHERE STREAM = ? AND TOPIC_ID = ? AND PARTITION_ID BETWEEN ? AND ?
)
SELECT
  PARTITION_ID, KIND, MIN(START_OFFSET) AS START_OFFSET, MAX(END_OFFSET) AS END_OFFSET, COUNT(*) AS RANGES,
  SUM(ROWS_LOADED) AS ROWS_LOADED, SUM(ROWS_QUARANTINED) AS ROWS_QUARANTINED,
  IFF(MIN(DAG_ID) = MAX(DAG_ID), MIN(DAG_ID), NULL) AS DAG_ID, MIN(RUN_ID) AS RUN_ID,
  MAX(LOADED_AT) AS LOADED_AT,
  SUM(IFF(LOADED_AT >= DATEADD('minute', -10, CURRENT_TIMESTAMP()), ROWS_LOADED, 0)) AS ROWS_10M
FROM ranges
GROUP BY PARTITION_ID, KIND, FLOOR((START_OFFSET - LOW) * {MARKS} / GREATEST(HIGH - LOW, 1))
ORDER BY PARTITION_ID, START_OFFSET""",
        [stream, topic_id, first, last],
    )


def slices(stream: str, topic_id: str, limit: int) -> Statement:
    """The newest slices, one by one."""
    return (
        f"SELECT *, {KIND} AS KIND FROM {ledger.TABLE} WHERE STREAM = ? AND TOPIC_ID = ? "
        f"ORDER BY CLAIMED_AT DESC, PARTITION_ID, START_OFFSET DESC LIMIT {int(limit)}",
        [stream, topic_id],
    )


def gaps(stream: str, topic_id: str) -> Statement:
    """Offsets that no range covers, by partition: GAP_START, GAP_END."""
    statement, bindings = ledger.gaps(stream)
    return f"SELECT * FROM ({statement}) AS gaps WHERE TOPIC_ID = ? LIMIT {LISTED}", [*bindings, topic_id]


def troubles(stream: str, topic_id: str) -> Statement:
    """Ranges that need a look: lost, not loaded, or with a failed gate; the newest first."""
    return (
        f"SELECT PARTITION_ID, START_OFFSET, END_OFFSET, {KIND} AS KIND, GATE, DEEP_GATE, DAG_ID, "
        f"RUN_ID, CLAIMED_AT, ROWS_QUARANTINED FROM {ledger.TABLE} WHERE STREAM = ? AND TOPIC_ID = ? "
        "AND (STATE IN ('claimed', 'landed') OR (STATE = 'lost' AND ACKNOWLEDGED_AT IS NULL) "
        f"OR GATE = 'fail' OR DEEP_GATE = 'fail') ORDER BY CLAIMED_AT DESC LIMIT {LISTED}",
        [stream, topic_id],
    )


def loads(stream: str, period: Period) -> Statement:
    """Rows loaded and quarantined, and seconds from oldest event to loaded, by bucket of the load's time."""
    return (
        f"SELECT {bucket_of('LOADED_AT', period.bucket)} AS LOADED_FROM, SUM(ROWS_LOADED) AS ROWS_LOADED, "
        "SUM(ROWS_QUARANTINED) AS ROWS_QUARANTINED, "
        "MAX(DATEDIFF('millisecond', MIN_EVENT_TIME, LOADED_AT)) / 1000.0 AS SECONDS_TO_LOAD "
        f"FROM {ledger.TABLE} WHERE STREAM = ? "
        f"AND LOADED_AT >= DATEADD('hour', -{int(period.hours)}, CURRENT_TIMESTAMP()) "
        "GROUP BY LOADED_FROM ORDER BY LOADED_FROM",
        [stream],
    )


def runs(stream: str, wanted: str = "", newest: int = 20) -> Statement:
    """The newest runs that own ranges of the stream, and those of a run id that is wanted."""
    return (
        "SELECT DAG_ID, RUN_ID, MIN(CLAIMED_AT) AS CLAIMED_AT, MAX(LOADED_AT) AS LOADED_AT, "
        "COUNT(*) AS RANGES, SUM(END_OFFSET - START_OFFSET) AS OFFSETS, SUM(ROWS_LOADED) AS ROWS_LOADED, "
        "SUM(ROWS_QUARANTINED) AS ROWS_QUARANTINED, COUNT_IF(STATE IN ('claimed', 'landed')) AS UNFINISHED, "
        "COUNT_IF(STATE = 'lost') AS LOST, COUNT_IF(GATE = 'fail' OR DEEP_GATE = 'fail') AS FAILED_GATES "
        f"FROM {ledger.TABLE} WHERE STREAM = ? GROUP BY DAG_ID, RUN_ID QUALIFY RUN_ID = ? "
        f"OR ROW_NUMBER() OVER (ORDER BY MIN(CLAIMED_AT) DESC) <= {int(newest)} ORDER BY CLAIMED_AT DESC",
        [stream, wanted],
    )


def replays(stream: str, wanted: str = "", newest: int = 10) -> Statement:
    """The newest replays of the stream, and the one of an id that is wanted."""
    return (
        "SELECT ID, KIND, TOPIC_ID, REASON, REQUESTED_BY, STATE, ROWS_BEFORE, QUARANTINED_BEFORE, "
        "ROWS_AFTER, QUARANTINED_AFTER, BEGUN_AT, DONE_AT FROM OPS.REPLAYS WHERE STREAM = ? QUALIFY ID = ? "
        f"OR ROW_NUMBER() OVER (ORDER BY BEGUN_AT DESC) <= {int(newest)} ORDER BY BEGUN_AT DESC",
        [stream, wanted],
    )
