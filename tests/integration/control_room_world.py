"""What the control room's tests look at: a ledger with everything in it that can go wrong, an Airflow with
people of several roles, and the API server on a port of its own.
"""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from madhatter_provider.control_room.plugin import MadHatterPlugin
from madhatter_provider.control_room.room import Room
from madhatter_provider.control_room.settings import Settings
from madhatter_provider.core.fraud.alerts import Alert
from madhatter_provider.core.fraud.cases import case_id, open_cases
from madhatter_provider.core.fraud.questions import Asking, take_questions
from madhatter_provider.core.warehouse import ledger
from madhatter_provider.core.warehouse.ledger import LedgerRow
from madhatter_provider.core.warehouse.sql import quote
from madhatter_provider.core.warehouse.sql_client import Sql
from madhatter_provider.local.process import free_port
from madhatter_provider.testing.plugin import _AIRFLOW
from madhatter_provider.testing.snowflake import RunningSnowflake

ROOT = Path(__file__).parents[2]
USERS = {"admin": "admin", "op": "op", "user": "user", "viewer": "viewer"}
STEP = 100
EVIL = "<img src=x onerror=alert(1)>"


@contextmanager
def airflow(request: pytest.FixtureRequest, folder: Path, snowflake: RunningSnowflake) -> Iterator[Any]:
    """Airflow's API server with the replay DAG and people of every role, for a whole module: making it takes
    seconds.
    """
    from airflow.api_fastapi.app import create_app, purge_cached_app

    request.config.stash[_AIRFLOW].reset(request.getfixturevalue("_madhatter_template"))
    with pytest.MonkeyPatch.context() as patch:
        airflow_settings(patch, folder)
        for name, value in snowflake.trust.items():
            patch.setenv(name, value)
        patch.setenv("AIRFLOW_CONN_SNOWFLAKE_DEFAULT", snowflake.airflow_connection)
        patch.setenv("MADHATTER_LANDING_ROOT", snowflake.landing_root)
        patch.setenv("AIRFLOW__MADHATTER__DASHBOARDS_FOLDER", str(ROOT / "include/dashboards"))
        patch.delenv("AIRFLOW_CONN_KAFKA_DEFAULT", raising=False)
        patch.setattr(MadHatterPlugin.fastapi_apps[0]["app"], "_app", None)
        store_dags(ROOT / "dags/replay.py")
        purge_cached_app()
        yield create_app(apps="core")
        purge_cached_app()


def fresh_room(client: Any) -> Room:
    """Give the control room an empty memory."""
    from madhatter_provider.control_room.settings import read_settings

    client.get("/madhatter/api/session")  # makes the app
    return settle(dataclasses.replace(read_settings(), refresh_seconds=1.0))


def settle(settings: Settings) -> Room:
    """Give the control room other settings, and an empty memory."""
    from madhatter_provider.control_room.app import open_room

    MadHatterPlugin.fastapi_apps[0]["app"]._app.state.room = open_room(settings)
    return present_room()


def present_room() -> Room:
    """The control room that is served."""
    found: Room = MadHatterPlugin.fastapi_apps[0]["app"]._app.state.room
    return found


def dag_of(file: Path, dag_id: str) -> Any:
    """A DAG of a file, to be run in this process."""
    from airflow.dag_processing.dagbag import BundleDagBag

    return BundleDagBag(str(file), bundle_path=file.parent, bundle_name="dags-folder").dags[dag_id]


def run_conf(dag_id: str, run_id: str | None) -> dict[str, Any]:
    """What a run was started with."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        found = session.scalar(select(DagRun.conf).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
        return dict(found or {})


def airflow_settings(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """People of every role; the password is the name."""
    passwords = folder / "passwords.json"
    passwords.write_text(json.dumps({user: user for user in USERS}))
    patch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE", str(passwords))
    patch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", ",".join(f"{u}:{r}" for u, r in USERS.items()))


def store_dags(file: Path, *, paused: bool = False) -> None:
    """Put the DAGs of a file into Airflow's database, as the dag-processor does."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.collection import update_dag_parsing_results_in_db
    from airflow.dag_processing.dagbag import BundleDagBag
    from airflow.models import DagModel
    from airflow.serialization.serialized_objects import LazyDeserializedDAG
    from airflow.utils.session import create_session

    bundles: Any = DagBundlesManager
    bundles().sync_bundles_to_db()
    bag = BundleDagBag(str(file), bundle_path=file.parent, bundle_name="dags-folder")
    assert not bag.import_errors
    with create_session() as session:
        stored = [LazyDeserializedDAG.from_dag(dag) for dag in bag.dags.values()]
        update_dag_parsing_results_in_db("dags-folder", None, stored, {}, None, set(), session=session)
        for dag_id in bag.dags:
            model = session.get(DagModel, dag_id)
            assert model is not None
            model.is_paused = paused


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """An ASGI app on a port of its own; its address."""
    import uvicorn

    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=free_port(), log_level="error", lifespan="on")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 60
    while not server.started:
        assert thread.is_alive()
        assert time.monotonic() < deadline, "the API server did not start"
        time.sleep(0.05)
    yield f"http://127.0.0.1:{server.config.port}"
    server.should_exit = True
    thread.join(20)


def at(minutes_ago: float) -> datetime:
    """A time."""
    return datetime.now(UTC) - timedelta(minutes=minutes_ago)


def loaded(stream: str, partition: int, start: int, **changes: Any) -> LedgerRow:
    """A range that went well, with changes."""
    minutes = changes.pop("minutes_ago", 5.0)
    size = changes.pop("size", STEP)
    held = changes.get("rows_quarantined", 0)
    given: dict[str, Any] = {
        "stream": stream,
        "topic": stream,
        "topic_id": f"epoch-of-{stream}"[:40],
        "partition_id": partition,
        "start_offset": start,
        "end_offset": start + size,
        "state": "loaded",
        "dag_id": f"land_{stream}",
        "run_id": f"asset_triggered__{start}",
        "rows_read": size,
        "rows_landed": size - held,
        "rows_loaded": size - held,
        "rows_quarantined": held,
        "min_event_time": at(minutes + 0.4),
        "max_event_time": at(minutes + 0.1),
        "claimed_at": at(minutes + 0.05),
        "landed_at": at(minutes + 0.02),
        "loaded_at": at(minutes),
        "gate": "pass",
    }
    return LedgerRow(**(given | changes))


def open_range(stream: str, partition: int, start: int, state: str, **changes: Any) -> LedgerRow:
    """A range that is not loaded, or never will be."""
    given: dict[str, Any] = {
        "stream": stream,
        "topic": stream,
        "topic_id": f"epoch-of-{stream}"[:40],
        "partition_id": partition,
        "start_offset": start,
        "end_offset": start + STEP,
        "state": state,
        "dag_id": f"land_{stream}",
        "run_id": f"asset_triggered__{start}",
        "claimed_at": at(20),
    }
    return LedgerRow(**(given | changes))


def troubled(stream: str, partitions: int = 3, slices: int = 30) -> list[LedgerRow]:
    """A stream with one of each: quarantine, a gap, a loss, an open range, a failed gate."""
    rows = []
    for p in range(partitions):
        for i in range(slices):
            start, minutes = i * STEP, (slices - i) * 1.5
            if p == 1 and i == 9:
                continue  # the gap
            if p == 0 and i == 12:
                rows.append(open_range(stream, p, start, "lost", claimed_at=at(minutes)))
            elif p == 2 and i == slices - 1:
                rows.append(open_range(stream, p, start, "claimed"))
            elif p == 2 and i == 20:
                rows.append(loaded(stream, p, start, minutes_ago=minutes, gate="fail", rows_quarantined=60))
            else:
                held = 7 if (i + p) % 8 == 3 else 0
                rows.append(loaded(stream, p, start, minutes_ago=minutes, rows_quarantined=held))
    return rows


def record(sql: Sql, rows: list[LedgerRow]) -> None:
    """Into the ledger."""
    for i in range(0, len(rows), 2000):
        sql.execute(*ledger.record(rows[i : i + 2000]))


def insert(sql: Sql, table: str, rows: list[dict[str, Any]]) -> None:
    """Rows with text, numbers and times, in one statement."""
    columns = list(rows[0])
    names = ", ".join(map(quote, columns))
    sql.execute(
        f"INSERT INTO {table} ({names}) SELECT * FROM VALUES "
        + ", ".join(f"({', '.join('?' * len(columns))})" for _ in rows),
        [row[c] for row in rows for c in columns],
    )


def held(stream: str, offset: int, **changes: Any) -> dict[str, Any]:
    """A quarantined message."""
    return {
        "STREAM": stream, "TOPIC": stream, "_TOPIC_ID": f"epoch-of-{stream}"[:40],
        "_PARTITION": 0, "_OFFSET": offset, "_TIMESTAMP": at(offset), "_KEY": "k", "RAW": b'{"price": 1}',
        "REASON": "too dear",
        "RULE": "maximum", "COLUMN": "price", "CONTRACT_VERSION": "1.0.0", "RUN_ID": "run",
    } | changes  # fmt: skip


def judged(stream: str, expectation: str, success: bool, report: str = "") -> dict[str, Any]:
    """A result of the deep gate."""
    return {
        "ROUND_ID": "round 1", "STREAM": stream, "CONTRACT_VERSION": "1.0.0",
        "EXPECTATION_ID": expectation, "EXPECTATION": expectation, "COLUMN_NAME": "price",
        "SEVERITY": "critical", "SUCCESS": success,
        "OBSERVED": "12 rows",
        "ROWS_CHECKED": 300, "ROWS_UNEXPECTED": 12, "RANGES": 3, "DAG_ID": "quality",
        "REPORT": report, "CHECKED_AT": at(3),
    }  # fmt: skip


def replayed(stream: str, number: int, **changes: Any) -> dict[str, Any]:
    """A replay that is over; the higher its number, the older."""
    return {
        "ID": f"R{number}", "KIND": "range", "STREAM": stream, "TOPIC_ID": f"epoch-of-{stream}"[:40],
        "REASON": "rows were missing", "REQUESTED_BY": "ada", "CONTRACT_VERSION": "1.0.0", "STATE": "done",
        "BEGUN_AT": at(60 + number), "DONE_AT": at(50 + number),
    } | changes  # fmt: skip


def asked_about(sql: Sql, reason: str = "30 times the usual amount") -> tuple[str, str]:
    """A fraud case with two alerts whose order is held, and that a person is asked about.

    :returns: ids of the case and of the question.
    """
    alerts = [
        Alert(
            alert_id=f"alert-{n}", alert_time=f"2026-11-24T06:00:0{n + 1}.000Z",
            event_time=f"2026-11-24T06:00:0{n}.000Z", customer_id="C000001", transaction_id=f"payment-{n}",
            card_id="card-12345678", rule="amount_outlier", rule_version="1.0.0", severity="high",
            score=0.8 + n / 100, amount=900.0, currency="EUR", country="FR", reason=reason,
        )
        for n in (1, 2)
    ]  # fmt: skip
    open_cases(sql, alerts, "fraud_response", "slice & run")
    (question,) = take_questions(sql, Asking("fraud_decisions", "asks", 20, timedelta(hours=4)))
    return case_id(alerts[0]), question.question_id


def forget(sql: Sql) -> None:
    """Empty the ledger and what else the pages show."""
    fraud = (
        "CASES", "CASE_ALERTS", "ORDER_HOLDS", "QUESTIONS", "DECISIONS", "BLOCKED_ACCOUNTS", "LABELS",
    )  # fmt: skip
    for table in (
        "OPS.SLICES", "OPS.REPLAYS", "OPS.QUALITY_RESULTS", "RAW.QUARANTINE", *(f"FRAUD.{t}" for t in fraud),
    ):  # fmt: skip
        sql.execute(f"DELETE FROM {table}")


def sign_in(client: Any, user: str) -> dict[str, str]:
    """The header of a signed-in person."""
    answer = client.post("/auth/token", json={"username": user, "password": user})
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}
