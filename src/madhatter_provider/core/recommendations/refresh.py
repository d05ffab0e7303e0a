"""Refresh the recommendations from the slices that were loaded since the last time.

Pure SQL text over the tables and views of schema ``RECO``; each step is one transaction that may be repeated.
Steps hand over by tables, so what a killed step leaves undone is done by the next refresh:

1. :func:`learn`: the ledger's new or replayed ranges → the sessions they touch → those sessions' items, anew
   from RAW. What was counted of these sessions is taken back, what they hold now is counted. Items and
   customers concerned become stale, and so does what was computed a day ago: others have moved since.
2. :func:`compare`: the neighbours of stale items.
3. :func:`recommend`: the lists of stale customers; a list that is not what the topic has is queued for
   publication.
4. :func:`measure`: hit rate and coverage on sessions that nothing is learned from.

One task at a time may refresh: steps share the tables of the batch at hand.
"""

from __future__ import annotations

from typing import Final

from madhatter_provider.core.warehouse.applied_ranges import mark_applied, take_batch
from madhatter_provider.core.warehouse.sql import literal
from madhatter_provider.core.warehouse.sql_client import TransactionalSql

STREAMS: Final = ("clicks", "searches", "transactions")
CONSUMER: Final = "recommendations"
PENDING: Final = f"SELECT COUNT(*) AS RANGES FROM OPS.PENDING_RANGES WHERE CONSUMER = '{CONSUMER}'"
"""Query: ``RANGES`` that wait to be learned from."""

_OLD = "COMPUTED_AT < DATEADD('hour', -24, CURRENT_TIMESTAMP())"
_COUNTED: Final = {
    "ITEMS": "SESSIONS",
    "PAIRS": "SESSIONS",
    "PRODUCT_HOURS": "EVENTS",
    "FUNNEL_HOURS": "SESSIONS",
}
"""What a session has moved away from counts nothing any more."""
_STALE = "CUSTOMER_ID IN (SELECT CUSTOMER_ID FROM RECO.STALE_CUSTOMERS)"


def refresh(sql: TransactionalSql, run_id: str) -> int:
    """All steps; the number of ranges that were waiting."""
    waiting = int(sql.execute(PENDING)[0]["RANGES"])
    for step in (learn(), compare(), recommend(), measure(run_id)):
        sql.transact(step, repeatable=True)
    return waiting


def learn() -> list[str]:
    """Step 1."""
    return [
        *take_batch(CONSUMER),
        "DELETE FROM RECO.BATCH_SESSIONS",
        "INSERT INTO RECO.BATCH_SESSIONS SELECT * FROM RECO.BATCH_SESSIONS_NOW",
        "DELETE FROM RECO.BATCH_ITEMS",
        "INSERT INTO RECO.BATCH_ITEMS SELECT * FROM RECO.BATCH_ITEMS_NOW",
        "DELETE FROM RECO.BATCH_STEPS",
        "INSERT INTO RECO.BATCH_STEPS SELECT * FROM RECO.BATCH_STEPS_NOW",
        "INSERT INTO RECO.STALE_ITEMS SELECT ITEM FROM RECO.PAIR_CHANGES "
        f"UNION SELECT ITEM FROM RECO.SIMILAR WHERE {_OLD}",
        "INSERT INTO RECO.STALE_CUSTOMERS SELECT CUSTOMER_ID FROM RECO.BATCH_ITEMS "
        "WHERE CUSTOMER_ID IS NOT NULL "
        f"UNION SELECT CUSTOMER_ID FROM RECO.RECOMMENDATIONS WHERE {_OLD}",
        _add("ITEMS", ("ITEM",), ("KIND", "PRODUCT_ID"), ("SESSIONS", "WEIGHT")),
        _add("PAIRS", ("ITEM", "PRODUCT_ID"), (), ("SESSIONS", "WEIGHT")),
        _add("PRODUCT_HOURS", ("HOUR", "PRODUCT_ID"), (), ("EVENTS",)),
        _add("FUNNEL_HOURS", ("HOUR",), (), ("SESSIONS", "SEARCHED", "CLICKED", "PURCHASED")),
        *(f"DELETE FROM RECO.{table} WHERE {count} <= 0" for table, count in _COUNTED.items()),
        "MERGE INTO RECO.PRODUCTS AS t USING RECO.PRODUCT_CHANGES AS s ON t.PRODUCT_ID = s.PRODUCT_ID "
        "WHEN MATCHED AND s.QUERIED_AT > t.QUERIED_AT THEN UPDATE SET "
        "PRODUCT_CATEGORY = s.PRODUCT_CATEGORY, QUERIED_AT = s.QUERIED_AT "
        "WHEN NOT MATCHED THEN INSERT (PRODUCT_ID, PRODUCT_CATEGORY, QUERIED_AT) "
        "VALUES (s.PRODUCT_ID, s.PRODUCT_CATEGORY, s.QUERIED_AT)",
        _forget("SESSION_ITEMS", "SESSION_START"),
        "INSERT INTO RECO.SESSION_ITEMS SELECT * FROM RECO.BATCH_ITEMS",
        _forget("SESSIONS", "BEGAN"),
        "INSERT INTO RECO.SESSIONS SELECT * FROM RECO.BATCH_STEPS",
        mark_applied(CONSUMER),
    ]


def compare() -> list[str]:
    """Step 2."""
    return [
        "DELETE FROM RECO.SIMILAR WHERE ITEM IN (SELECT ITEM FROM RECO.STALE_ITEMS)",
        "INSERT INTO RECO.SIMILAR SELECT * FROM RECO.SIMILAR_NOW",
        "DELETE FROM RECO.STALE_ITEMS",
    ]


def recommend() -> list[str]:
    """Step 3."""
    return [
        "DELETE FROM RECO.SUBJECTS",
        "INSERT INTO RECO.SUBJECTS SELECT * FROM RECO.STALE_SUBJECTS",
        f"DELETE FROM RECO.RECOMMENDATIONS WHERE {_STALE}",
        "INSERT INTO RECO.RECOMMENDATIONS "
        "SELECT SUBJECT, POSITION, PRODUCT_ID, SCORE, REASON, CURRENT_TIMESTAMP() FROM RECO.RANKED",
        f"DELETE FROM RECO.TO_PUBLISH WHERE {_STALE}",
        "INSERT INTO RECO.TO_PUBLISH SELECT * FROM RECO.CHANGED_LISTS",
        "DELETE FROM RECO.STALE_CUSTOMERS",
    ]


def measure(run_id: str) -> list[str]:
    """Step 4. A repetition replaces the run's row; without a held-out session there is none."""
    return [
        "DELETE FROM RECO.SUBJECTS",
        "INSERT INTO RECO.SUBJECTS SELECT * FROM RECO.HELD_OUT_SUBJECTS",
        f"DELETE FROM RECO.QUALITY WHERE RUN_ID = {literal(run_id)}",
        f"INSERT INTO RECO.QUALITY SELECT {literal(run_id)}, CURRENT_TIMESTAMP(), q.* "
        "FROM RECO.QUALITY_NOW AS q WHERE q.SESSIONS > 0",
    ]


def _forget(table: str, began: str) -> str:
    """Take the sessions of the batch, and old ones, from a table."""
    return (
        f"DELETE FROM RECO.{table} WHERE SESSION_ID IN (SELECT SESSION_ID FROM RECO.BATCH_SESSIONS) "
        f"OR {began} < DATEADD('day', -30, CURRENT_TIMESTAMP())"
    )


def _add(table: str, key: tuple[str, ...], kept: tuple[str, ...], counts: tuple[str, ...]) -> str:
    """Add a table's changes to its counts."""
    columns = (*key, *kept, *counts)
    return (
        f"MERGE INTO RECO.{table} AS t USING RECO.{table.removesuffix('S')}_CHANGES AS s "
        f"ON {' AND '.join(f't.{c} = s.{c}' for c in key)} "
        f"WHEN MATCHED THEN UPDATE SET {', '.join(f'{c} = t.{c} + s.{c}' for c in counts)} "
        f"WHEN NOT MATCHED THEN INSERT ({', '.join(columns)}) VALUES ({', '.join(f's.{c}' for c in columns)})"
    )
