"""What a DAG has made of loaded ranges, level-triggered: each run takes what it has not applied yet.

Statements of one transaction: :func:`take_batch`, the consumer's own, :func:`mark_applied`. A consumer is
named in the view ``OPS.PENDING_RANGES``; one task of it at a time may work.
"""

from __future__ import annotations

from madhatter_provider.core.warehouse.sql import literal

_KEY = ("CONSUMER", "STREAM", "TOPIC_ID", "PARTITION_ID", "START_OFFSET", "END_OFFSET")


def take_batch(consumer: str) -> list[str]:
    """Fill ``OPS.BATCH_RANGES`` with all ranges that the consumer has not applied."""
    mine = f"CONSUMER = {literal(consumer)}"
    return [
        f"DELETE FROM OPS.BATCH_RANGES WHERE {mine}",
        f"INSERT INTO OPS.BATCH_RANGES SELECT * FROM OPS.PENDING_RANGES WHERE {mine}",
    ]


def mark_applied(consumer: str) -> str:
    """Record that the batch is applied."""
    return (
        "MERGE INTO OPS.APPLIED_RANGES AS t USING "
        f"(SELECT * FROM OPS.BATCH_RANGES WHERE CONSUMER = {literal(consumer)}) AS s "
        f"ON {' AND '.join(f't.{c} = s.{c}' for c in _KEY)} "
        "WHEN MATCHED THEN UPDATE SET LOADED_AT = s.LOADED_AT, REPLAY_ID = s.REPLAY_ID "
        f"WHEN NOT MATCHED THEN INSERT ({', '.join(_KEY)}, LOADED_AT, REPLAY_ID) "
        f"VALUES ({', '.join(f's.{c}' for c in _KEY)}, s.LOADED_AT, s.REPLAY_ID)"
    )
