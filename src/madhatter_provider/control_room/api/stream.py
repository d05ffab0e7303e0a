"""One stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Response

from madhatter_provider.control_room.access import Viewer, ViewerDep
from madhatter_provider.control_room.airflow_runs import run_states
from madhatter_provider.control_room.answers import Answer
from madhatter_provider.control_room.api.dashboards import Span
from madhatter_provider.control_room.api.streams import Number, asked, broker_state, lag_and_fault
from madhatter_provider.control_room.json_values import CSV_ROWS, csv_answer, fault_of, row_of, rows_of
from madhatter_provider.control_room.queries import stream as queries
from madhatter_provider.control_room.queries import streams as overview
from madhatter_provider.control_room.room import Room
from madhatter_provider.core.dashboards.periods import period_named
from madhatter_provider.core.replay.record import is_of_task
from madhatter_provider.core.replay.request import ClaimedEpoch, claimed_epochs

router = APIRouter()

_SLICE_COLUMNS = (
    "PARTITION_ID", "START_OFFSET", "END_OFFSET", "KIND", "STATE", "GATE", "DEEP_GATE", "ROWS_LOADED",
    "ROWS_QUARANTINED", "DAG_ID", "RUN_ID", "REPLAY_ID", "CLAIMED_AT", "LOADED_AT",
)  # fmt: skip
_LOAD_COLUMNS = ("LOADED_FROM", "ROWS_LOADED", "ROWS_QUARANTINED", "SECONDS_TO_LOAD")
_HIDDEN = {"dag_id": None, "run_id": None}

Name = Annotated[str, Query(min_length=1, max_length=128)]
Epoch = Annotated[str, Query(max_length=64)]
Wanted = Annotated[str, Query(max_length=256)]


@router.get("/api/stream")
def stream(
    one: ViewerDep,
    name: Name,
    epoch: Epoch = "",
    page: Number = 0,
    period: Span = "1h",
    run: Wanted = "",
    replay: Wanted = "",
) -> Any:
    """One stream in one epoch of its topic: the newest, unless another is named. A run and a replay that are
    asked for are among the newest, however old they are.

    What needs no epoch is asked while the epochs are; what is known to be empty is not asked.
    """
    dag_ids = one.readable_dags()
    always = {
        "loads": queries.loads(name, period_named(period)),
        "runs": queries.runs(name, run),
        "replays": queries.replays(name, replay),
    }
    overview_of_it = _overview(one.room, name)
    one.room.answers.begin([overview_of_it, *always.values()])
    epochs = claimed_epochs(KeptSql(one.room), name)
    (listed,) = asked(one.room, overview_of_it)
    known = _known(listed, name, dag_ids)
    facts = row_of(known)
    chosen = _chosen(epochs, epoch or facts["topic_id"], name)
    shown = sorted(chosen.ends)[page * queries.PARTITIONS :][: queries.PARTITIONS]
    questions = always | _of_epoch(facts, name, chosen.topic_id, shown)
    rest = dict(zip(questions, one.room.answers.gather(list(questions.values())), strict=True))
    return {
        "as_of": min(a.as_of for a in rest.values()).isoformat(),
        "fault": next((fault_of(a.fault) for a in (listed, *rest.values()) if a.fault), None),
        "stream": facts,
        "epochs": epochs_of(epochs),
        "epoch": chosen.topic_id,
        "page": page,
        "page_rows": queries.PARTITIONS,
        "partition_count": len(chosen.ends),
        "partitions": _partitions(shown, rest, one.room, chosen, dag_ids),
        "broker": broker_state(one.room, [chosen.topic]),
        "topic_fault": lag_and_fault(one.room, known)[1],
        "troubles": _readable(_rows(rest, "troubles"), dag_ids),
        "period": period,
        "hours": period_named(period).hours,
        "bucket": period_named(period).bucket,
        "loads": rows_of(_rows(rest, "loads")),
        "runs": _runs(_rows(rest, "runs"), dag_ids),
        "replays": _replays(_rows(rest, "replays"), dag_ids),
    }


@router.get("/api/stream/slices.csv")
def slices_csv(one: ViewerDep, name: Name, epoch: Epoch = "") -> Response:
    """The newest slices of a stream, one by one."""
    dag_ids = one.readable_dags()
    topic_id = epoch or known_stream(one, name, dag_ids)["TOPIC_ID"]
    known_stream(one, name, dag_ids)
    rows = _readable(one.room.answers.get(*queries.slices(name, topic_id, CSV_ROWS)).rows, dag_ids)
    return csv_answer(f"slices-{name}", _SLICE_COLUMNS, [{k.upper(): v for k, v in r.items()} for r in rows])


@router.get("/api/stream/loads.csv")
def loads_csv(one: ViewerDep, name: Name, period: Span = "1h") -> Response:
    """Throughput and freshness of a period."""
    known_stream(one, name, one.readable_dags())
    rows = one.room.answers.get(*queries.loads(name, period_named(period))).rows
    return csv_answer(f"loads-{name}", _LOAD_COLUMNS, rows)


class KeptSql:
    """The room's answers where core asks for a connection."""

    def __init__(self, room: Room) -> None:
        self._room = room

    def execute(self, statement: str, bindings: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Answer one statement."""
        return self._room.answers.get(statement, bindings).rows


def known_stream(one: Viewer, name: str, dag_ids: Sequence[str] | None) -> dict[str, Any]:
    """The overview's row of a stream.

    :raises HTTPException: it is not there, or not for this person; both look the same.
    """
    (listed,) = asked(one.room, _overview(one.room, name))
    return _known(listed, name, dag_ids)


def _overview(room: Room, name: str) -> queries.Statement:
    """The question that has the stream's row in its answer: the list's, if that is at hand."""
    return overview.summary() if room.answers.holds(*overview.summary()) else overview.one(name)


def _known(listed: Answer, name: str, dag_ids: Sequence[str] | None) -> dict[str, Any]:
    found = next((r for r in listed.rows if r["STREAM"] == name), None)
    if found is None or not (dag_ids is None or found["DAG_ID"] in dag_ids):
        raise HTTPException(404, f"The ledger knows no stream {name!r}, or you may not read its DAG")
    return found


def epochs_of(epochs: Sequence[ClaimedEpoch]) -> list[dict[str, Any]]:
    """Epochs of a topic, the newest first, with what was claimed of them."""
    return [
        {
            "topic_id": e.topic_id,
            "topic": e.topic,
            "starts": {str(p): o for p, o in e.starts.items()},
            "ends": {str(p): o for p, o in e.ends.items()},
        }
        for e in epochs
    ]


def _chosen(epochs: Sequence[ClaimedEpoch], wanted: str, name: str) -> ClaimedEpoch:
    found = next((e for e in epochs if e.topic_id == wanted), None)
    if found is None:
        raise HTTPException(404, f"The ledger knows no epoch {wanted} of stream {name}")
    return found


def _of_epoch(
    facts: Mapping[str, Any], name: str, topic_id: str, shown: Sequence[int]
) -> dict[str, queries.Statement]:
    """Questions about one epoch of a stream, without those whose answer is known to be empty."""
    asked = {"marks": queries.marks(name, topic_id, min(shown, default=0), max(shown, default=0))}
    if facts["gaps"]:
        asked["gaps"] = queries.gaps(name, topic_id)
    if facts["unfinished"] or facts["lost"] or facts["failed_gates"]:
        asked["troubles"] = queries.troubles(name, topic_id)
    return asked


def _rows(rest: Mapping[str, Answer], name: str) -> list[dict[str, Any]]:
    return rest[name].rows if name in rest else []


def _partitions(
    shown: Sequence[int],
    rest: Mapping[str, Answer],
    room: Room,
    epoch: ClaimedEpoch,
    dag_ids: Sequence[str] | None,
) -> list[dict[str, Any]]:
    ends = room.broker.look([epoch.topic]).get(epoch.topic)
    bounds = ends.bounds if ends and ends.bounds and ends.bounds.topic_id == epoch.topic_id else None
    marks = _readable(rest["marks"].rows, dag_ids)
    found = []
    for partition in shown:
        own = [m for m in marks if m["partition_id"] == partition]
        start = bounds.starts.get(partition) if bounds else None
        end = bounds.ends.get(partition) if bounds else None
        found.append(
            {
                "partition_id": partition,
                "first_offset": epoch.starts[partition],
                "last_offset": epoch.ends[partition],
                "log_start": start,
                "log_end": end,
                "lag": None if end is None else max(0, end - epoch.ends[partition]),
                "last_load": max((m["loaded_at"] for m in own if m["loaded_at"]), default=None),
                "rows_10m": sum(m["rows_10m"] or 0 for m in own),
                "marks": own,
                "gaps": _gaps(_rows(rest, "gaps"), partition),
            }
        )
    return found


def _gaps(rows: Sequence[Mapping[str, Any]], partition: int) -> list[dict[str, int]]:
    return [
        {"start_offset": int(r["GAP_START"]), "end_offset": int(r["GAP_END"])}
        for r in rows
        if r["PARTITION_ID"] == partition
    ]


def _replays(rows: Sequence[Mapping[str, Any]], dag_ids: Sequence[str] | None) -> list[dict[str, Any]]:
    """Replays. Who asked is ``<person>, <DAG> <run>`` of a task's replay: the person only, if the DAG is not
    for this person to read.
    """
    shown = rows_of(rows)
    if dag_ids is None:
        return shown
    for one in shown:
        *person, run = str(one["requested_by"]).split(", ")
        if is_of_task(one["id"]) and run.partition(" ")[0] not in dag_ids:
            one["requested_by"] = ", ".join(person)
    return shown


def _readable(rows: Sequence[Mapping[str, Any]], dag_ids: Sequence[str] | None) -> list[dict[str, Any]]:
    """Rows that carry DAG and run; of DAGs that this person may not read, without both."""
    return [row_of(r) | ({} if dag_ids is None or r["DAG_ID"] in dag_ids else _HIDDEN) for r in rows]


def _runs(rows: Sequence[Mapping[str, Any]], dag_ids: Sequence[str] | None) -> list[dict[str, Any]]:
    """Runs, with what Airflow says of them; ``None`` where it has forgotten the run."""
    shown = [r for r in _readable(rows, dag_ids) if r["dag_id"] is not None]
    states = run_states([(r["dag_id"], r["run_id"]) for r in shown])
    return [r | {"airflow_state": states.get((r["dag_id"], r["run_id"]))} for r in shown]
