"""A process that forks for every job it reads, so that a job that is killed costs no import.

One JSON object a line goes in: ``activity``, ``options``, and perhaps ``point`` and ``occurrence`` of its
death. One comes out: ``signal`` (0 if it ended by itself), ``code`` and, if it failed, ``error``.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

# Imported once, here, not in every job.
import confluent_kafka
import confluent_kafka.admin  # noqa: F401
import jwt  # noqa: F401
import msgspec  # noqa: F401
import pyarrow.json
import pyarrow.parquet  # noqa: F401
from airflow.sdk import Asset
from airflow.sdk.exceptions import AirflowSkipException

from madhatter_provider.core.landing import batch
from madhatter_provider.hooks import kafka, object_store, snowflake_rest, snowpipe  # noqa: F401
from madhatter_provider.operators.replay import ReplayQuarantineOperator, ReplaySliceOperator
from madhatter_provider.testing import kill_at
from madhatter_provider.transfers.kafka_to_snowflake import KafkaToSnowflakeOperator

# Small row groups: slices of a test have several.
batch.ROW_GROUP = 8


class FileState:
    """An asset's state store in a file: a write is there whole or not at all, as in Airflow's database."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def _all(self) -> dict[str, Any]:
        return dict(json.loads(self._path.read_text())) if self._path.exists() else {}

    def get(self, key: str, default: Any = None) -> Any:
        return self._all().get(key, default)

    def set(self, key: str, value: Any, **_: Any) -> None:
        scratch = self._path.with_suffix(".new")
        scratch.write_text(json.dumps(self._all() | {key: value}))
        scratch.replace(self._path)


def land(*, topic: str, contract: str, landing_root: str, state: str, run_id: str, try_number: int) -> None:
    """One try of the landing task of a run."""
    asset = Asset(f"topic_{topic}")
    task = KafkaToSnowflakeOperator(
        task_id="land",
        topic=topic,
        asset=asset,
        contract=contract,
        landing_root=landing_root,
        poll_seconds=0.1,
    )
    context: Any = {
        "dag": SimpleNamespace(dag_id=f"land_{topic}"),
        "run_id": run_id,
        "ti": SimpleNamespace(try_number=try_number, get_ti_count=lambda **_: 0),
        "dag_run": SimpleNamespace(run_type="manual", run_after=None),
        "task": task,
        "asset_state_store": {asset: FileState(state)},
        "task_state_store": FileState(f"{state}.{run_id}"),
    }
    task.execute(context)


def _context(dag_id: str, run_id: str) -> Any:
    ti = SimpleNamespace(task_id="replay", map_index=-1)
    return {"dag": SimpleNamespace(dag_id=dag_id), "run_id": run_id, "ti": ti, "dag_run": None}


def replay(*, run_id: str, **arguments: Any) -> None:
    """One try of the replay of a range."""
    task = ReplaySliceOperator(task_id="replay", reason="crash test", **arguments)
    task.execute(_context("replay", run_id))


def quarantine(*, run_id: str, **arguments: Any) -> None:
    """One try of the replay of the quarantine."""
    task = ReplayQuarantineOperator(task_id="replay", reason="crash test", **arguments)
    task.execute(_context("replay_quarantine", run_id))


ACTIVITIES: dict[str, Callable[..., None]] = {"land": land, "replay": replay, "quarantine": quarantine}


def _child(job: dict[str, Any], errors: int) -> int:
    if job.get("point"):
        kill_at(job["point"], job["occurrence"])
    try:
        ACTIVITIES[job["activity"]](**job["options"])
    except AirflowSkipException:
        return 0
    except BaseException:
        os.write(errors, traceback.format_exc().encode())
        return 1
    return 0


def _run(job: dict[str, Any]) -> dict[str, Any]:
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reader)
        os._exit(_child(job, writer))
    os.close(writer)
    with os.fdopen(reader, "rb") as said:
        error = said.read().decode()
    _, status = os.waitpid(pid, 0)
    killed = os.WIFSIGNALED(status)
    return {
        "signal": os.WTERMSIG(status) if killed else 0,
        "code": None if killed else os.WEXITSTATUS(status),
        "error": error,
    }


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what jobs print is no answer
    for line in sys.stdin:
        print(json.dumps(_run(json.loads(line))), file=answers)
