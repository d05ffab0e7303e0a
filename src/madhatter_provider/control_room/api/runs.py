"""Where a run of Airflow is to be seen: extra links of operators know the run, not the stream; and what a
round of the deep gate has found, however old it is.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, HTTPException

from madhatter_provider.control_room.access import ViewerDep, without_hidden_dags
from madhatter_provider.control_room.api.quality import Part
from madhatter_provider.control_room.api.stream import known_stream
from madhatter_provider.control_room.json_values import rows_of
from madhatter_provider.control_room.queries import quality
from madhatter_provider.control_room.queries import runs as queries

router = APIRouter()


@router.get("/api/run")
def run(one: ViewerDep, dag_id: Part = "", run_id: Part = "", replay: Part = "") -> dict[str, Any]:
    """The stream and the first range of a landing run, or of a replay."""
    rows = one.room.answers.get(
        *(queries.of_replay(replay) if replay else queries.of_run(dag_id, run_id))
    ).rows
    if not rows or not (replay or one.may_read(dag_id)):
        what = f"replay {replay}" if replay else f"run {run_id} of DAG {dag_id}"
        raise HTTPException(
            404, f"The ledger knows nothing of {what}: it has claimed nothing, or only planned"
        )
    known_stream(one, rows[0]["STREAM"], one.readable_dags())
    return {"stream": rows[0]["STREAM"], "epoch": rows[0]["TOPIC_ID"]}


@router.get("/api/round")
def one_round(one: ViewerDep, round_id: Part) -> dict[str, Any]:
    """What a round of the deep gate has found, by stream that this person may see."""
    dag_ids = one.readable_dags()
    found = one.room.answers.get(*quality.one_round(dag_ids, round_id))
    return {"rows": rows_of(without_hidden_dags(found.rows, dag_ids))}
