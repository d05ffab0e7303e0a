"""Fraud cases: alerts of one customer on one day, grouped, with what Snowflake knows about the customer.

:func:`open_cases` takes the alerts of a slice through these steps, each safe to repeat with the same or with
overlapping alerts; alerts that were recorded before change nothing:

1. Record every alert once, by its id, with the case it belongs to.
2. Compute the cases that gained alerts anew, from all their alerts and the customer's payments (the view
   ``FRAUD.CASE_CANDIDATES``). What a person decided is kept.
3. Mark the grave ones as held: new ones, and decided ones that have become graver than what was decided.
4. Hold the orders of their grave alerts.
5. Close what was held of a case that somebody has decided meanwhile.
6. Label alerts that join a decided case as it was decided.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from madhatter_provider.core.errors import AlertError
from madhatter_provider.core.fraud.alerts import Alert
from madhatter_provider.core.timestamps import parse_timestamp
from madhatter_provider.core.warehouse.sql_client import Sql

log = logging.getLogger(__name__)
Statement = tuple[str, list[Any]]
_T = TypeVar("_T")

CHUNK = 1000
"""Alerts, or cases, that one statement takes."""

_ALERT = {
    "ALERT_ID": "VARCHAR(64)",
    "CASE_ID": "VARCHAR(64)",
    "CUSTOMER_ID": "VARCHAR(16)",
    "ALERT_TIME": "TIMESTAMP_TZ(6)",
    "EVENT_TIME": "TIMESTAMP_TZ(6)",
    "TRANSACTION_ID": "VARCHAR(64)",
    "RULE": "VARCHAR(32)",
    "RULE_VERSION": "VARCHAR(16)",
    "SEVERITY": "VARCHAR(8)",
    "SCORE": "FLOAT",
    "AMOUNT": "NUMBER(12,2)",
    "CURRENCY": "VARCHAR(3)",
    "COUNTRY": "VARCHAR(2)",
    "REASON": "VARCHAR(1024)",
    "RUN_ID": "VARCHAR(256)",
}
_CASE = (
    "CUSTOMER_ID", "OPENED_AT", "ALERTS", "RULES", "RULE_VERSIONS", "SEVERITY", "MAX_SCORE", "REASON",
    "AMOUNT", "CURRENCY", "COUNTRY", "FIRST_TRANSACTION_ID", "LAST_TRANSACTION_ID", "TRANSACTIONS_30D",
    "DEVICES_30D", "SPEND_30D", "OPEN_ORDERS", "OPEN_AMOUNT",
)  # fmt: skip
_LONGEST = {
    "alert_id": 64, "transaction_id": 64, "rule_version": 16, "currency": 3, "country": 2, "reason": 1024,
}  # fmt: skip
_GRAVE = "('high', 'critical')"
_RANK = "CASE {} WHEN 'critical' THEN 4 WHEN 'high' THEN 3 WHEN 'medium' THEN 2 ELSE 1 END"


@dataclass(frozen=True, slots=True)
class Opened:
    """What a slice of alerts led to: cases concerned, and how many of them a person must be asked about."""

    cases: int
    to_ask: int


def open_cases(sql: Sql, alerts: Sequence[Alert], dag_id: str, run_id: str) -> Opened:
    """All steps for the alerts of one slice. One caller at a time: two would count the same alerts.

    :param dag_id: DAG that reads the alerts.
    :param run_id: its run.
    """
    for part in _chunks(alerts):
        sql.execute(*record_alerts(part, run_id))
    cases = sorted({case_id(a) for a in alerts})
    for ids in _chunks(cases):
        sql.execute(*refresh_cases(ids, dag_id, run_id))
        for step in (mark_held, hold_orders, close_holds, label_alerts):
            sql.execute(*step(ids))
    to_ask = sum(int(sql.execute(*_count_to_ask(ids))[0]["N"]) for ids in _chunks(cases))
    return Opened(len(cases), to_ask)


def read_alerts(values: Iterable[bytes | None]) -> list[Alert]:
    """The valid alerts among messages. Others are logged: the topic's landing quarantines them."""
    alerts: list[Alert] = []
    for value in values:
        try:
            alert = Alert.from_json(value or b"")
        except AlertError as err:
            log.warning("Alert left out, look for it in RAW.QUARANTINE: %s", err.what)
            continue
        too_long = [name for name, most in _LONGEST.items() if len(getattr(alert, name)) > most]
        if too_long:
            log.warning("Alert left out, look for it in RAW.QUARANTINE: %s too long", ", ".join(too_long))
            continue
        alerts.append(alert)
    return alerts


def case_id(alert: Alert) -> str:
    """The case of an alert: its customer and the UTC day of the payment, as ``C000123-20261124``."""
    day = datetime.fromtimestamp(parse_timestamp(alert.event_time), UTC)
    return f"{alert.customer_id}-{day:%Y%m%d}"


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
    """Step 2. A case whose number of alerts has not changed has the same alerts: it stays as it is."""
    return (
        "MERGE INTO FRAUD.CASES AS t USING (SELECT *, ? AS DAG, ? AS RUN FROM FRAUD.CASE_CANDIDATES "
        f"WHERE CASE_ID IN ({_places(case_ids)})) AS s ON t.CASE_ID = s.CASE_ID "
        f"WHEN MATCHED AND t.ALERTS <> s.ALERTS THEN UPDATE SET {', '.join(f'{c} = s.{c}' for c in _CASE)}, "
        "DAG_ID = s.DAG, RUN_ID = s.RUN, UPDATED_AT = CURRENT_TIMESTAMP() "
        f"WHEN NOT MATCHED THEN INSERT (CASE_ID, STATUS, DAG_ID, RUN_ID, UPDATED_AT, {', '.join(_CASE)}) "
        f"VALUES (s.CASE_ID, 'open', s.DAG, s.RUN, CURRENT_TIMESTAMP(), s.{', s.'.join(_CASE)})",
        [dag_id, run_id, *case_ids],
    )


def mark_held(case_ids: Sequence[str]) -> Statement:
    """Step 3. A decision that is overtaken stays in ``FRAUD.DECISIONS``."""
    graver = f"{_RANK.format('SEVERITY')} > {_RANK.format('ASKED_SEVERITY')}"
    return (
        "MERGE INTO FRAUD.CASES AS t USING (SELECT CASE_ID FROM FRAUD.CASES "
        f"WHERE CASE_ID IN ({_places(case_ids)}) AND ((STATUS = 'open' AND SEVERITY IN {_GRAVE}) "
        f"OR (STATUS IN ('released', 'unanswered') AND {graver}))) AS s ON t.CASE_ID = s.CASE_ID "
        "WHEN MATCHED THEN UPDATE SET STATUS = 'held', DECIDED_BY = NULL, DECIDED_AT = NULL, "
        "UPDATED_AT = CURRENT_TIMESTAMP()",
        list(case_ids),
    )


def hold_orders(case_ids: Sequence[str]) -> Statement:
    """Step 4. On an account that is blocked an order is cancelled at once."""
    columns = "TRANSACTION_ID, CASE_ID, CUSTOMER_ID, EVENT_TIME, AMOUNT, CURRENCY"
    return (
        "MERGE INTO FRAUD.ORDER_HOLDS AS t USING (SELECT a.TRANSACTION_ID, MIN(a.CASE_ID) AS CASE_ID, "
        "MIN(a.CUSTOMER_ID) AS CUSTOMER_ID, MIN(a.EVENT_TIME) AS EVENT_TIME, MAX(a.AMOUNT) AS AMOUNT, "
        "MIN(a.CURRENCY) AS CURRENCY, IFF(MIN(c.STATUS) = 'blocked', 'cancelled', 'held') AS STATE "
        "FROM FRAUD.CASE_ALERTS AS a JOIN FRAUD.CASES AS c ON c.CASE_ID = a.CASE_ID "
        f"WHERE a.CASE_ID IN ({_places(case_ids)}) AND a.SEVERITY IN {_GRAVE} "
        "AND c.STATUS IN ('held', 'asked', 'blocked', 'unanswered') GROUP BY a.TRANSACTION_ID) AS s "
        f"ON t.TRANSACTION_ID = s.TRANSACTION_ID WHEN NOT MATCHED THEN INSERT ({columns}, STATE, HELD_AT, "
        f"CLOSED_AT) VALUES (s.{columns.replace(', ', ', s.')}, s.STATE, CURRENT_TIMESTAMP(), "
        "IFF(s.STATE = 'cancelled', CURRENT_TIMESTAMP(), NULL))",
        list(case_ids),
    )


def close_holds(case_ids: Sequence[str]) -> Statement:
    """Step 5. A case that waits again, because it became graver, keeps its orders."""
    return (
        "MERGE INTO FRAUD.ORDER_HOLDS AS t USING (SELECT CASE_ID, DECIDED_AT, "
        "IFF(STATUS = 'blocked', 'cancelled', 'released') AS STATE FROM FRAUD.CASES "
        f"WHERE CASE_ID IN ({_places(case_ids)}) AND STATUS IN ('blocked', 'released')) AS s "
        "ON t.CASE_ID = s.CASE_ID WHEN MATCHED AND t.STATE = 'held' THEN UPDATE "
        "SET STATE = s.STATE, CLOSED_AT = s.DECIDED_AT",
        list(case_ids),
    )


def label_alerts(case_ids: Sequence[str]) -> Statement:
    """Step 6. Labels are the decision's: of its person and its time."""
    return (
        "MERGE INTO FRAUD.LABELS AS t USING (SELECT a.ALERT_ID, a.CASE_ID, a.CUSTOMER_ID, a.TRANSACTION_ID, "
        "a.RULE, a.RULE_VERSION, IFF(c.STATUS = 'blocked', 'fraud', 'legitimate') AS LABEL, c.DECIDED_BY, "
        "c.DECIDED_AT FROM FRAUD.CASE_ALERTS AS a JOIN FRAUD.CASES AS c ON c.CASE_ID = a.CASE_ID "
        f"WHERE a.CASE_ID IN ({_places(case_ids)}) AND c.STATUS IN ('blocked', 'released')) AS s "
        "ON t.ALERT_ID = s.ALERT_ID WHEN NOT MATCHED THEN INSERT (ALERT_ID, CASE_ID, CUSTOMER_ID, "
        "TRANSACTION_ID, RULE, RULE_VERSION, LABEL, LABELLED_BY, LABELLED_AT) VALUES (s.ALERT_ID, s.CASE_ID, "
        "s.CUSTOMER_ID, s.TRANSACTION_ID, s.RULE, s.RULE_VERSION, s.LABEL, s.DECIDED_BY, s.DECIDED_AT)",
        list(case_ids),
    )


def _count_to_ask(case_ids: Sequence[str]) -> Statement:
    places = _places(case_ids)
    return f"SELECT COUNT(*) AS N FROM FRAUD.CASES_TO_ASK WHERE CASE_ID IN ({places})", list(case_ids)


def _places(values: Sequence[str]) -> str:
    return ", ".join("?" * len(values))


def _chunks(values: Sequence[_T]) -> Iterator[Sequence[_T]]:
    return (values[i : i + CHUNK] for i in range(0, len(values), CHUNK))
