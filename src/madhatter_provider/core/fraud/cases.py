"""Fraud cases: alerts of one customer on one day, grouped, with what Snowflake knows about the customer.

Two statements, both safe to repeat with the same or with overlapping alerts:

1. :func:`record_alerts`: every alert once, by its id, with the case it belongs to.
2. :func:`refresh_cases`: the cases concerned are computed anew from all their alerts and the customer's
   payments (the view ``FRAUD.CASE_CANDIDATES``). What a person decided is kept.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from madhatter_provider.core.errors import AlertError
from madhatter_provider.core.fraud.alerts import Alert

log = logging.getLogger(__name__)
Statement = tuple[str, list[Any]]

_ALERT = {
    "ALERT_ID": "VARCHAR(64)",
    "CASE_ID": "VARCHAR(64)",
    "CUSTOMER_ID": "VARCHAR(16)",
    "ALERT_TIME": "TIMESTAMP_TZ(6)",
    "EVENT_TIME": "TIMESTAMP_TZ(6)",
    "TRANSACTION_ID": "VARCHAR(64)",
    "RULE": "VARCHAR(32)",
    "SEVERITY": "VARCHAR(8)",
    "SCORE": "FLOAT",
    "AMOUNT": "NUMBER(12,2)",
    "CURRENCY": "VARCHAR(3)",
    "COUNTRY": "VARCHAR(2)",
    "RUN_ID": "VARCHAR(256)",
}
_CASE = (
    "CUSTOMER_ID", "OPENED_AT", "ALERTS", "RULES", "SEVERITY", "MAX_SCORE", "AMOUNT", "CURRENCY", "COUNTRY",
    "FIRST_TRANSACTION_ID", "LAST_TRANSACTION_ID", "TRANSACTIONS_30D", "DEVICES_30D", "SPEND_30D",
)  # fmt: skip


def read_alerts(values: Iterable[bytes | None]) -> list[Alert]:
    """The valid alerts among messages. Others are logged: the topic's landing quarantines them."""
    alerts: list[Alert] = []
    for value in values:
        try:
            alerts.append(Alert.from_json(value or b""))
        except AlertError as err:
            log.warning("Alert left out: %s", err.what)
    return alerts


def case_id(alert: Alert) -> str:
    """The case of an alert: its customer and the UTC day of the payment, as ``C000123-20261124``."""
    return f"{alert.customer_id}-{alert.event_time[:10].replace('-', '')}"


def record_alerts(alerts: Iterable[Alert], run_id: str) -> Statement:
    """Step 1."""
    unique = {a.alert_id: {**asdict(a), "case_id": case_id(a), "run_id": run_id} for a in alerts}
    picks = ", ".join(f"r.VALUE:{c.lower()}::{kind} AS {c}" for c, kind in _ALERT.items())
    return (
        f"MERGE INTO FRAUD.CASE_ALERTS AS t USING (SELECT {picks} "
        "FROM TABLE(FLATTEN(INPUT => PARSE_JSON(?))) AS r) AS s "
        f"ON t.ALERT_ID = s.ALERT_ID WHEN NOT MATCHED THEN INSERT ({', '.join(_ALERT)}) "
        f"VALUES ({', '.join(f's.{c}' for c in _ALERT)})",
        [json.dumps(list(unique.values()))],
    )


def refresh_cases(case_ids: Sequence[str], dag_id: str, run_id: str) -> Statement:
    """Step 2."""
    places = ", ".join("?" * len(case_ids))
    return (
        f"MERGE INTO FRAUD.CASES AS t USING (SELECT *, ? AS DAG, ? AS RUN FROM FRAUD.CASE_CANDIDATES "
        f"WHERE CASE_ID IN ({places})) AS s ON t.CASE_ID = s.CASE_ID "
        f"WHEN MATCHED THEN UPDATE SET {', '.join(f'{c} = s.{c}' for c in _CASE)}, "
        "DAG_ID = s.DAG, RUN_ID = s.RUN, UPDATED_AT = CURRENT_TIMESTAMP() "
        f"WHEN NOT MATCHED THEN INSERT (CASE_ID, STATUS, DAG_ID, RUN_ID, UPDATED_AT, {', '.join(_CASE)}) "
        f"VALUES (s.CASE_ID, 'open', s.DAG, s.RUN, CURRENT_TIMESTAMP(), s.{', s.'.join(_CASE)})",
        [dag_id, run_id, *case_ids],
    )
