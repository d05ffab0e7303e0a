"""Read what happened: from the broker, Snowflake, the function's own record, and the labels."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from statistics import quantiles
from typing import Any

from madhatter_provider.cli.demo.alert_leg import FunctionRecord
from madhatter_provider.cli.demo.verdict import AlertFacts, StreamFacts
from madhatter_provider.core.contracts.contract import Contract
from madhatter_provider.core.warehouse.sql_client import Sql
from madhatter_provider.local.oracle import (
    TopicContent,
    judge_stream,
    quarantine_reasons,
    read_topic,
    wrongly_quarantined,
)
from madhatter_provider.local.traffic.score import score_faults

Label = Mapping[str, Any]


def stream_facts(
    sql: Sql, bootstrap: str, contract: Contract, labels: Sequence[Label], ends: Mapping[int, int]
) -> StreamFacts:
    """One stream's numbers, for what lies before ``ends`` (offset by partition)."""
    verdict = judge_stream(bootstrap, sql, contract.topic, f"RAW.{contract.table}", ends)
    bad = [
        (b["partition"], b["offset"], b["defect"])
        for b in labels
        if b["kind"] == "bad" and b["topic"] == contract.topic
    ]
    wrong, innocent = wrongly_quarantined(bad, quarantine_reasons(sql, contract.topic))
    ledger = sql.execute(
        "SELECT COUNT(DISTINCT RUN_ID) AS RUNS, SUM(ROWS_LANDED) AS LANDED FROM OPS.SLICES WHERE STREAM = ?",
        [contract.stream],
    )[0]
    return StreamFacts(
        produced=verdict.produced,
        landed=int(ledger["LANDED"] or 0),
        loaded=verdict.loaded,
        quarantined=verdict.quarantined,
        injected_bad=len(bad),
        gaps=verdict.gaps,
        overlaps=verdict.overlaps + verdict.strangers,
        duplicates=verdict.duplicates,
        runs=int(ledger["RUNS"]),
        p95_event_to_queryable_seconds=_p95_to_queryable(sql, contract),
        wrong_reasons=wrong,
        innocent=innocent,
    )


def _p95_to_queryable(sql: Sql, contract: Contract) -> float | None:
    """From Kafka's time stamp to the ledger's: the row was in the table, counted and judged."""
    row = sql.execute(
        "SELECT APPROX_PERCENTILE(DATEDIFF('millisecond', r._TIMESTAMP, s.LOADED_AT), 0.95) AS P95 "
        f"FROM RAW.{contract.table} AS r JOIN OPS.SLICES AS s ON s.STREAM = ? AND s.TOPIC_ID = r._TOPIC_ID "
        "AND s.PARTITION_ID = r._PARTITION AND r._OFFSET >= s.START_OFFSET AND r._OFFSET < s.END_OFFSET",
        [contract.stream],
    )[0]
    return None if row["P95"] is None else round(float(row["P95"]) / 1000, 2)


def gate_failures(sql: Sql) -> dict[str, int]:
    """Slices that failed their fast gate, by stream."""
    rows = sql.execute("SELECT STREAM, COUNT_IF(GATE = 'fail') AS N FROM OPS.SLICES GROUP BY STREAM")
    return {str(r["STREAM"]): int(r["N"]) for r in rows}


def quality(sql: Sql) -> dict[str, int]:
    """Deep gates: one per stream and round."""
    row = sql.execute(
        "SELECT COUNT(*) AS GATES, COUNT_IF(FAILED = 0) AS PASSED FROM (SELECT ROUND_ID, STREAM, "
        "COUNT_IF(NOT SUCCESS AND SEVERITY = 'critical') AS FAILED FROM OPS.QUALITY_RESULTS "
        "GROUP BY ROUND_ID, STREAM) AS rounds"
    )[0]
    gates, passed = int(row["GATES"]), int(row["PASSED"])
    return {"gates": gates, "passed": passed, "failed": gates - passed}


def operations(sql: Sql, labels: Sequence[Label], grace: float) -> dict[str, Any]:
    """Planted faults of services and sensors, found ones, and findings that were none.

    :param grace: seconds after its end in which a fault may still be found.
    """
    score = score_faults(labels, sql.execute("SELECT * FROM OPS.HEALTH_CHANGES"), grace=grace)
    return {
        "planted": score.planted,
        "found": score.found,
        "false": len(score.false),
        "missed": list(score.missed),
        "false_findings": list(score.false),
    }


def published_alerts(bootstrap: str, topic: str) -> list[dict[str, Any]]:
    """Alerts on the topic, in order; an id may come twice after a restart of the job."""
    return [json.loads(value) for _, _, value in read_topic(bootstrap, topic).rows if value]


def alert_facts(
    sql: Sql, published: Iterable[Mapping[str, Any]], record: FunctionRecord | None
) -> AlertFacts:
    """The alert leg.

    :param record: what the function did; ``None`` if the leg was not run.
    """
    recorded = sql.execute("SELECT DISTINCT ALERT_ID FROM RAW.FRAUD_ALERTS")
    return AlertFacts(
        published=frozenset(str(a["alert_id"]) for a in published),
        executed=None if record is None else record.acts(),
        recorded=frozenset(str(r["ALERT_ID"]) for r in recorded),
    )


def payment_to_function(
    transactions: TopicContent, alerts: Iterable[Mapping[str, Any]], executed: Mapping[str, float]
) -> dict[str, float | None]:
    """Seconds from a payment's arrival in Kafka to the execution of the function for its alert."""
    sent: dict[str, float] = {}
    for (_, _, value), at in zip(transactions.rows, transactions.times, strict=True):
        if value and (event_id := _event_id(value)):
            sent.setdefault(event_id, at)
    waits = sorted(
        executed[a["alert_id"]] - sent[a["transaction_id"]]
        for a in alerts
        if a["alert_id"] in executed and a["transaction_id"] in sent
    )
    if not waits:
        return {"p50": None, "p95": None, "max": None}
    cuts = quantiles(waits, n=20, method="inclusive") if len(waits) > 1 else waits * 19
    return {"p50": round(cuts[9], 3), "p95": round(cuts[18], 3), "max": round(waits[-1], 3)}


def _event_id(value: bytes) -> str | None:
    try:
        row = json.loads(value)
    except ValueError:
        return None
    return row.get("event_id") if isinstance(row, dict) else None
