"""The stream that a run, or a replay, belongs to."""

from __future__ import annotations

from typing import Any

from madhatter_provider.core.warehouse import ledger

Statement = tuple[str, list[Any]]


def of_run(dag_id: str, run_id: str) -> Statement:
    """STREAM and TOPIC_ID of a landing run."""
    return (
        f"SELECT STREAM, TOPIC_ID FROM {ledger.TABLE} WHERE DAG_ID = ? AND RUN_ID = ? LIMIT 1",
        [dag_id, run_id],
    )


def of_replay(replay_id: str) -> Statement:
    """STREAM and TOPIC_ID of a replay."""
    return "SELECT STREAM, TOPIC_ID FROM OPS.REPLAYS WHERE ID = ?", [replay_id]
