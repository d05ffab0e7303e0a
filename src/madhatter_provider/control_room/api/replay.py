"""Replays: what may be replayed, a dry run, the start, and what became of it.

The dry run is that of ``madhatter replay --dry-run``, made here with the connections of the control room; the
replay itself is a run of the replay DAG.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query
from pydantic import BaseModel, Field

from madhatter_provider.control_room.access import ReplayerDep, Viewer, ViewerDep, same_origin
from madhatter_provider.control_room.airflow_runs import run_states
from madhatter_provider.control_room.api.stream import KeptSql, epochs_of, known_stream
from madhatter_provider.control_room.json_values import fault_of
from madhatter_provider.control_room.replay_dag import ReplayDag, find_replay_dag, start_run
from madhatter_provider.core.contracts.contract import load_contract
from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.core.replay.job import Replaying
from madhatter_provider.core.replay.plan import Plan
from madhatter_provider.core.replay.request import ReplayRequest, claimed_epochs
from madhatter_provider.core.replay.run import plan_replay

router = APIRouter()

_PLAN_SECONDS = 30.0
_Text = Annotated[str | None, Field(max_length=2000)]


class Wanted(BaseModel):
    """What a person asks for in the dialog."""

    stream: Annotated[str, Field(min_length=1, max_length=128)]
    start: _Text = None
    end: _Text = None
    of_run: _Text = None
    topic_id: _Text = None
    allow_gone: bool = False


class WantedNow(Wanted):
    """The same, to be done."""

    reason: Annotated[str, Field(min_length=3, max_length=1000)]


@router.get("/api/replay")
def form(one: ViewerDep, stream: str = "") -> dict[str, Any]:
    """What the dialog offers: streams, the epochs of one of them, and whether this person may start it."""
    try:
        dag, fault = find_replay_dag(one.room.settings.replay_dag_id), None
    except ConfigurationError as err:
        dag, fault = None, err
    epochs = []
    if stream:
        known_stream(one, stream, one.readable_dags())
        epochs = epochs_of(claimed_epochs(KeptSql(one.room), stream))
    return {
        "dag_id": one.room.settings.replay_dag_id,
        "fault": fault_of(fault),
        "allowed": one.may_replay(),
        "paused": dag is not None and dag.paused,
        "streams": list(dag.streams) if dag else [],
        "stream": stream,
        "epochs": epochs,
    }


@router.post("/api/replay/plan", dependencies=[Depends(same_origin)])
def plan(one: ReplayerDep, wanted: Wanted) -> dict[str, Any]:
    """A dry run: where each part of the range would be read, and what is there now."""
    dag = _dag_for(one, wanted)
    with _replaying(one, dag, wanted.stream) as job:
        found = plan_replay(job, _request(wanted, "-", "dry run"))
    return _plan_json(found)


@router.post("/api/replay/start", dependencies=[Depends(same_origin)], status_code=201)
def start(one: ReplayerDep, wanted: WantedNow) -> dict[str, Any]:
    """Start a run of the replay DAG."""
    dag = _dag_for(one, wanted)
    who = one.user.get_name()
    _request(wanted, wanted.reason, who)
    dag.contract_of(wanted.stream)
    answers = {
        "stream": wanted.stream,
        "from": wanted.start,
        "to": wanted.end,
        "of_run": wanted.of_run,
        "topic_id": wanted.topic_id,
        "reason": wanted.reason,
        "dry_run": False,
        "allow_gone": wanted.allow_gone,
    }
    run_id = start_run(dag, answers, who)
    return {"dag_id": dag.dag_id, "run_id": run_id, "paused": dag.paused}


@router.get("/api/replay/run")
def run(one: ViewerDep, run_id: Annotated[str, Query(min_length=1, max_length=250)]) -> dict[str, Any]:
    """The state of a run of the replay DAG."""
    dag_id = one.room.settings.replay_dag_id
    if not one.may_read(dag_id):
        raise HTTPException(403, f"You may not read DAG {dag_id}")
    state = run_states([(dag_id, run_id)]).get((dag_id, run_id))
    if state is None:
        raise HTTPException(404, f"DAG {dag_id} has no run {run_id}")
    return {"dag_id": dag_id, "run_id": run_id, "state": state}


def _dag_for(one: Viewer, wanted: Wanted) -> ReplayDag:
    """The replay DAG, for a stream that this person may see."""
    known_stream(one, wanted.stream, one.readable_dags())
    return find_replay_dag(one.room.settings.replay_dag_id)


def _request(wanted: Wanted, reason: str, who: str) -> ReplayRequest:
    return ReplayRequest(
        start=wanted.start or None,
        end=wanted.end or None,
        run_id=wanted.of_run or None,
        topic_id=wanted.topic_id or None,
        reason=reason,
        who=who,
        allow_gone=wanted.allow_gone,
    )


@contextmanager
def _replaying(one: Viewer, dag: ReplayDag, stream: str) -> Iterator[Replaying]:
    """What a dry run works with. Nothing is written: the id names nothing that will be there."""
    from madhatter_provider.hooks.kafka import KafkaSliceHook
    from madhatter_provider.hooks.object_store import open_store
    from madhatter_provider.hooks.snowflake_rest import SnowflakeRestHook

    settings = one.room.settings
    contract = load_contract(dag.contract_of(stream))
    with SnowflakeRestHook(settings.snowflake_conn_id, timeout=_PLAN_SECONDS).client as sql:
        yield Replaying(
            contract,
            sql,
            KafkaSliceHook(settings.kafka_config_id, timeout=_PLAN_SECONDS / 3),
            open_store(dag.landing_root),
            f"DRY_{secrets.token_hex(6).upper()}",
        )


def _plan_json(found: Plan) -> dict[str, Any]:
    parts = sorted(found.parts, key=lambda p: p.range)
    return {
        "table": f"RAW.{found.table}",
        "topic": found.asked.topic,
        "topic_id": found.asked.topic_id,
        "offsets": {s: len(found.slice_of(s)) for s in ("kafka", "files", "gone")},
        "rows": found.rows,
        "quarantined": found.quarantined,
        "files": len(found.typed_files) + len(found.quarantine_files),
        "parts": [
            {
                "partition": p.range.partition,
                "start": p.range.start,
                "end": p.range.end,
                "source": p.source,
                "why": p.why,
            }
            for p in parts
        ],
    }
