"""Where positions live in an asset's state store: one record per DAG, and a list of the DAGs that have one.

Each record has one writer, the DAG's claiming task. The list may be written by several; a write that is lost
to a race is repeated at the next claim.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from madhatter_provider.core.claims import ClaimRecord

DAGS_KEY = "slices"


def record_key(dag_id: str) -> str:
    """Key of a DAG's claim record."""
    return f"{DAGS_KEY}:{dag_id}"


def mirror_group(dag_id: str) -> str:
    """Consumer group that mirrors a DAG's position for lag tools, and restores it when Airflow's state is
    gone.
    """
    return f"madhatter.{dag_id}"


def lowest_position(records: Iterable[Mapping[str, Any] | None]) -> dict[int, int] | None:
    """The position that every DAG has reached; ``None`` while none has claimed. Only the newest epochs'
    records that agree on the topic id count: a record of a topic that was created again says nothing about
    the new one."""
    known = [ClaimRecord.from_json(r) for r in records if r is not None]
    if not known:
        return None
    epochs = {r.topic_id for r in known}
    if len(epochs) > 1:
        return {}
    partitions = {p for r in known for p in r.position}
    return {p: min(r.position.get(p, 0) for r in known) for p in partitions}
