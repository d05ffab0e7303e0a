"""Fraud cases: alerts of one customer on one day, grouped, with what Snowflake knows about the customer.

Two statements, both safe to repeat with the same or with overlapping alerts:

1. :func:`record_alerts`: every alert once, by its id, with the case it belongs to.
2. :func:`refresh_cases`: the cases concerned are computed anew from all their alerts and the customer's
   payments. What a person decided is kept.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from madhatter_provider.core.alerts import Alert
from madhatter_provider.core.errors import AlertError

log = logging.getLogger(__name__)
Statement = tuple[str, list[Any]]
_SEVERITIES = ("low", "medium", "high", "critical")


def read_alerts(values: Iterable[bytes | None]) -> list[Alert]:
    """The valid alerts among messages. Others are logged: the landing of the topic quarantines them with
    their reason.
    """
    alerts: list[Alert] = []
    for value in values:
        try:
            alerts.append(Alert.from_json(value or b""))
        except AlertError as err:
            log.warning("Alert left out: %s", err.what)
    return alerts


def case_id(alert: Alert) -> str:
    """The case of an alert: its customer and the UTC day of the payment."""
    return f"{alert.customer_id}-{alert.event_time[:10]}"


def record_alerts(alerts: Iterable[Alert], run_id: str) -> Statement:
    """Step 1."""
    unique = {a.alert_id: {**asdict(a), "case_id": case_id(a), "run_id": run_id} for a in alerts}
    columns = {
        "ALERT_ID": "VARCHAR(64)",
        "CASE_ID": "VARCHAR(64)",
        "CUSTOMER_ID": "VARCHAR(16)",
        "EVENT_TIME": "TIMESTAMP_TZ(6)",
        "ALERT_TIME": "TIMESTAMP_TZ(6)",
        "TRANSACTION_ID": "VARCHAR(64)",
        "RULE": "VARCHAR(32)",
        "SEVERITY": "VARCHAR(8)",
        "SCORE": "FLOAT",
        "AMOUNT": "NUMBER(12,2)",
        "CURRENCY": "VARCHAR(3)",
        "COUNTRY": "VARCHAR(2)",
        "RUN_ID": "VARCHAR(256)",
    }
    picks = ", ".join(f"r.VALUE:{c.lower()}::{kind} AS {c}" for c, kind in columns.items())
    return (
        f"MERGE INTO FRAUD.CASE_ALERTS AS t USING (SELECT {picks} "
        "FROM (SELECT PARSE_JSON(?) AS DOC) AS d, LATERAL FLATTEN(INPUT => d.DOC) AS r) AS s "
        f"ON t.ALERT_ID = s.ALERT_ID WHEN NOT MATCHED THEN INSERT ({', '.join(columns)}) "
        f"VALUES ({', '.join(f's.{c}' for c in columns)})",
        [json.dumps(list(unique.values()))],
    )


def refresh_cases(case_ids: Sequence[str], run_id: str) -> Statement:
    """Step 2. History is what RAW.TRANSACTIONS holds of the customer in the thirty days before the case's
    last alert.
    """
    places = ", ".join("?" * len(case_ids))
    rank = " ".join(f"WHEN '{name}' THEN {i}" for i, name in enumerate(_SEVERITIES))
    name = " ".join(f"WHEN {i} THEN '{s}'" for i, s in enumerate(_SEVERITIES))
    facts = (
        "CUSTOMER_ID", "OPENED_AT", "LAST_ALERT_AT", "ALERTS", "RULES", "SEVERITY", "MAX_SCORE", "AMOUNT", "CURRENCY",
        "COUNTRIES", "PAYMENTS_30D", "SPENT_30D", "DEVICES_30D", "DECLINED_30D",
    )  # fmt: skip
    return (
        "MERGE INTO FRAUD.CASES AS t USING ("
        "SELECT c.*, COALESCE(h.PAYMENTS_30D, 0) AS PAYMENTS_30D, COALESCE(h.SPENT_30D, 0) AS SPENT_30D, "
        "COALESCE(h.DEVICES_30D, 0) AS DEVICES_30D, COALESCE(h.DECLINED_30D, 0) AS DECLINED_30D FROM ("
        "SELECT CASE_ID, MAX(CUSTOMER_ID) AS CUSTOMER_ID, MIN(ALERT_TIME) AS OPENED_AT, "
        "MAX(ALERT_TIME) AS LAST_ALERT_AT, COUNT(*) AS ALERTS, "
        "LISTAGG(DISTINCT RULE, ', ') WITHIN GROUP (ORDER BY RULE) AS RULES, "
        f"CASE MAX(CASE SEVERITY {rank} END) {name} END AS SEVERITY, MAX(SCORE) AS MAX_SCORE, "
        "SUM(AMOUNT) AS AMOUNT, MAX(CURRENCY) AS CURRENCY, "
        "LISTAGG(DISTINCT COUNTRY, ', ') WITHIN GROUP (ORDER BY COUNTRY) AS COUNTRIES "
        f"FROM FRAUD.CASE_ALERTS WHERE CASE_ID IN ({places}) GROUP BY CASE_ID) AS c LEFT JOIN ("
        "SELECT a.CASE_ID, COUNT(DISTINCT p.EVENT_ID) AS PAYMENTS_30D, "
        "SUM(IFF(p.STATUS = 'authorized', p.AMOUNT, 0)) AS SPENT_30D, "
        "COUNT(DISTINCT p.DEVICE_ID) AS DEVICES_30D, COUNT_IF(p.STATUS = 'declined') AS DECLINED_30D "
        "FROM (SELECT CASE_ID, MAX(CUSTOMER_ID) AS CUSTOMER_ID, MAX(EVENT_TIME) AS LAST_EVENT "
        f"FROM FRAUD.CASE_ALERTS WHERE CASE_ID IN ({places}) GROUP BY CASE_ID) AS a "
        "JOIN CORE.TRANSACTIONS AS p ON p.CUSTOMER_ID = a.CUSTOMER_ID AND p.EVENT_TIME <= a.LAST_EVENT "
        "AND p.EVENT_TIME > DATEADD('day', -30, a.LAST_EVENT) GROUP BY a.CASE_ID"
        ") AS h ON h.CASE_ID = c.CASE_ID) AS s ON t.CASE_ID = s.CASE_ID "
        f"WHEN MATCHED THEN UPDATE SET {', '.join(f'{f} = s.{f}' for f in facts)}, "
        "RUN_ID = ?, UPDATED_AT = CURRENT_TIMESTAMP() "
        f"WHEN NOT MATCHED THEN INSERT (CASE_ID, STATUS, RUN_ID, UPDATED_AT, {', '.join(facts)}) "
        f"VALUES (s.CASE_ID, 'open', ?, CURRENT_TIMESTAMP(), {', '.join(f's.{f}' for f in facts)})",
        [*case_ids, *case_ids, run_id, run_id],
    )
