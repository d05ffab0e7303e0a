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
from dataclasses import dataclass
from functools import partial
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
from airflow.sdk import Asset, BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from madhatter_provider.core.landing import batch
from madhatter_provider.hooks import kafka, object_store, snowflake_rest, snowpipe  # noqa: F401
from madhatter_provider.operators.kafka import KafkaClaimSliceOperator
from madhatter_provider.operators.replay import ReplayQuarantineOperator, ReplaySliceOperator
from madhatter_provider.operators.slice_gate import SliceGateOperator
from madhatter_provider.operators.snowpipe import SnowpipeIngestOperator
from madhatter_provider.testing import kill_at
from madhatter_provider.transfers.kafka_to_object_storage import KafkaToObjectStorageOperator
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One try of a landing run.

    :param state: file of the asset's state.
    """

    topic: str
    contract: str
    landing_root: str
    state: str
    run_id: str
    try_number: int

    @property
    def asset(self) -> Asset:
        """The topic's."""
        return Asset(f"topic_{self.topic}")

    def execute(self, task: BaseOperator) -> Any:
        """A task of the run."""
        context: Any = {
            "dag": SimpleNamespace(dag_id=f"land_{self.topic}"),
            "run_id": self.run_id,
            "ti": SimpleNamespace(try_number=self.try_number, get_ti_count=lambda **_: 0),
            "dag_run": SimpleNamespace(run_type="manual", run_after=None),
            "task": task,
            "asset_state_store": {self.asset: FileState(self.state)},
            "task_state_store": FileState(f"{self.state}.{self.run_id}"),
        }
        return task.execute(context)

    def once(self, name: str, task: Callable[[], BaseOperator]) -> Any:
        """A task's result, which outlives the process: a task that has succeeded is not tried again."""
        results = FileState(f"{self.state}.{self.run_id}.results")
        if results.get(name) is None:
            results.set(name, self.execute(task()))
        return results.get(name)


def land(**arguments: Any) -> None:
    """One try of the only task of a run."""
    mine = Try(**arguments)
    mine.execute(
        KafkaToSnowflakeOperator(
            task_id="land",
            topic=mine.topic,
            asset=mine.asset,
            contract=mine.contract,
            landing_root=mine.landing_root,
            poll_seconds=0.1,
        )
    )


def detailed(**arguments: Any) -> None:
    """One try of a run of the detailed composition: its tasks, as far as they have not succeeded."""
    mine = Try(**arguments)
    contract = mine.contract
    claim = partial(
        KafkaClaimSliceOperator,
        task_id="claim",
        topic=mine.topic,
        asset=mine.asset,
        contract=contract,
        snowflake_conn_id="snowflake_default",
        split=2,
    )
    land_part = partial(
        KafkaToObjectStorageOperator, task_id="land", contract=contract, landing_root=mine.landing_root
    )
    parts = enumerate(mine.once("claim", claim))
    landed = [mine.once(f"land {i}", partial(land_part, owned=owned)) for i, owned in parts]
    after: dict[str, Any] = {"contract": contract, "manifests": landed}
    mine.once("ingest", partial(SnowpipeIngestOperator, task_id="ingest", poll_seconds=0.1, **after))
    mine.once("gate", partial(SliceGateOperator, task_id="gate", **after))


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


ACTIVITIES: dict[str, Callable[..., None]] = {
    "land": land,
    "detailed": detailed,
    "replay": replay,
    "quarantine": quarantine,
}


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
