"""The page *Quality*: gates by stream, rules that fail, what is in quarantine, and its rows.

Every table shows its worst rows. Beside them stand the sums over all that this person may read, in columns
ALL_…: those of the page's tiles must not be sums of what is shown.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from madhatter_provider.core.warehouse import ledger

Statement = tuple[str, list[Any]]

PAGE_ROWS: Final = 50
LISTED: Final = 200
"""Rows of a table on the page."""


def _of_readable(dag_ids: Sequence[str] | None) -> Statement:
    """A condition on STREAM: the DAG that has landed it last is one of these."""
    if dag_ids is None:
        return "TRUE", []
    return (
        "STREAM IN (SELECT STREAM FROM (SELECT STREAM, "
        f"MAX_BY(DAG_ID, IFF(DAG_ID = 'replay', NULL, CLAIMED_AT)) AS DAG_ID "
        f"FROM {ledger.TABLE} GROUP BY STREAM) AS owners WHERE DAG_ID IN "
        "(SELECT VALUE::VARCHAR FROM TABLE(FLATTEN(INPUT => PARSE_JSON(?)))))",
        [json.dumps(list(dag_ids))],
    )


def _worst(rows: str, order: str, limit: int, **sums: str) -> str:
    """The first rows, each with ALL_ROWS, their number, and sums over all of them."""
    beside = ", ".join(f"{what} OVER () AS {name}" for name, what in {"ALL_ROWS": "COUNT(*)", **sums}.items())
    return f"SELECT *, {beside} FROM ({rows}) AS listed ORDER BY {order} LIMIT {int(limit)}"


def gates(dag_ids: Sequence[str] | None, limit: int = LISTED) -> Statement:
    """By stream: decisions of the fast and the deep gate over all its ranges, the worst first."""
    condition, bindings = _of_readable(dag_ids)
    counts = ", ".join(
        f"COUNT_IF({column} = '{decision}') AS {column}_{decision.upper()}"
        for column in ("GATE", "DEEP_GATE")
        for decision in ledger.GATES
    )
    rows = (
        f"SELECT STREAM, {counts}, COUNT_IF(STATE = 'loaded' AND DEEP_GATE IS NULL) AS NOT_YET, "
        "SUM(ROWS_LOADED) AS ROWS_LOADED, SUM(ROWS_QUARANTINED) AS ROWS_QUARANTINED "
        f"FROM {ledger.TABLE} WHERE {condition} GROUP BY STREAM"
    )
    sums = {"ALL_FAILED": "SUM(GATE_FAIL + DEEP_GATE_FAIL)", "ALL_NOT_YET": "SUM(NOT_YET)"}
    return _worst(rows, "GATE_FAIL + DEEP_GATE_FAIL DESC, STREAM", limit, **sums), bindings


def failing(dag_ids: Sequence[str] | None, limit: int = LISTED) -> Statement:
    """Expectations whose newest result is a failure, critical ones first."""
    condition, bindings = _of_readable(dag_ids)
    rows = (
        "SELECT STREAM, EXPECTATION, COLUMN_NAME, SEVERITY, OBSERVED, ROWS_CHECKED, ROWS_UNEXPECTED, DAG_ID, "
        "ROUND_ID, REPORT, CHECKED_AT FROM (SELECT * FROM OPS.QUALITY_RESULTS QUALIFY ROW_NUMBER() OVER "
        "(PARTITION BY STREAM, EXPECTATION_ID ORDER BY CHECKED_AT DESC) = 1) AS newest "
        f"WHERE NOT SUCCESS AND {condition}"
    )
    order = "IFF(SEVERITY = 'critical', 0, 1), CHECKED_AT DESC, STREAM, EXPECTATION"
    return _worst(rows, order, limit, ALL_CRITICAL="SUM(IFF(SEVERITY = 'critical', 1, 0))"), bindings


_ROUND: Final = (
    "SELECT STREAM, ROUND_ID, DAG_ID, MAX(REPORT) AS REPORT, MAX(CHECKED_AT) AS CHECKED_AT, "
    "COUNT(*) AS EXPECTATIONS, COUNT_IF(NOT SUCCESS) AS FAILED, MAX(ROWS_CHECKED) AS ROWS_CHECKED "
    "FROM OPS.QUALITY_RESULTS WHERE {condition} GROUP BY STREAM, ROUND_ID, DAG_ID "
)


def rounds(dag_ids: Sequence[str] | None, limit: int = LISTED) -> Statement:
    """The newest round of the deep gate by stream, with its report; most failures first."""
    condition, bindings = _of_readable(dag_ids)
    rows = (
        f"{_ROUND.format(condition=condition)}"
        "QUALIFY ROW_NUMBER() OVER (PARTITION BY STREAM ORDER BY MAX(CHECKED_AT) DESC) = 1"
    )
    return _worst(rows, "FAILED DESC, STREAM", limit), bindings


def one_round(dag_ids: Sequence[str] | None, round_id: str) -> Statement:
    """A round of the deep gate, by stream; most failures first."""
    condition, bindings = _of_readable(dag_ids)
    rows = _ROUND.format(condition=f"{condition} AND ROUND_ID = ?")
    return f"{rows}ORDER BY FAILED DESC, STREAM LIMIT {LISTED}", [*bindings, round_id]


def report(stream: str, round_id: str) -> Statement:
    """Where the report of a round is."""
    return (
        "SELECT MAX(REPORT) AS REPORT FROM OPS.QUALITY_RESULTS WHERE STREAM = ? AND ROUND_ID = ?",
        [stream, round_id],
    )


def quarantined(dag_ids: Sequence[str] | None, limit: int = LISTED) -> Statement:
    """What is held back, by stream, rule and column, with one reason as an example; the most rows first."""
    condition, bindings = _of_readable(dag_ids)
    rows = (
        'SELECT STREAM, RULE, "COLUMN" AS COLUMN_NAME, MIN(REASON) AS EXAMPLE, COUNT(*) AS ROWS_HELD, '
        f"MAX(_TIMESTAMP) AS LAST_SEEN FROM RAW.QUARANTINE WHERE {condition} "
        'GROUP BY STREAM, RULE, "COLUMN"'
    )
    order = "ROWS_HELD DESC, STREAM, RULE, COLUMN_NAME"
    return _worst(rows, order, limit, ALL_HELD="SUM(ROWS_HELD)"), bindings


TABLES: Final = {"gates": gates, "failing": failing, "rounds": rounds, "quarantined": quarantined}
"""The tables of the page, each a statement of whom it is for and how many rows it has at most."""


def quarantined_rows(stream: str, rule: str, column: str, number: int, rows: int = PAGE_ROWS) -> Statement:
    """One page of the messages held back; TOTAL is their number.

    :param rule: only of this rule; all if empty.
    :param column: only of this column; all if empty.
    """
    condition, bindings = "STREAM = ?", [stream]
    for name, wanted in (("RULE", rule), ('"COLUMN"', column)):
        if wanted:
            condition += f" AND {name} = ?"
            bindings.append(wanted)
    return (
        "SELECT TOPIC, _TOPIC_ID AS TOPIC_ID, _PARTITION AS PARTITION_ID, _OFFSET AS MESSAGE_OFFSET, "
        '_TIMESTAMP AS SENT_AT, _KEY AS MESSAGE_KEY, RAW, REASON, RULE, "COLUMN" AS COLUMN_NAME, '
        f"CONTRACT_VERSION, RUN_ID, COUNT(*) OVER () AS TOTAL FROM RAW.QUARANTINE WHERE {condition} "
        "ORDER BY _TIMESTAMP DESC, _PARTITION, _OFFSET DESC "
        f"LIMIT {int(rows)} OFFSET {int(number) * int(rows)}",
        bindings,
    )
