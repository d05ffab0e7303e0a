"""Airflow as four processes on SQLite: api-server, scheduler, dag-processor, triggerer.

The settings trade nothing that a user would see for less CPU: one parser process, one API worker, three tasks
at a time. What is shorter than Airflow's default are the times after which a dead process is noticed, because
here processes are killed on purpose.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from madhatter_provider.local.airflow_database import copy_database, template_database
from madhatter_provider.local.credentials import AIRFLOW_USERS, airflow_secrets
from madhatter_provider.local.home import LocalHome, write_atomic
from madhatter_provider.local.service import Probe, Service, Step, get_json
from madhatter_provider.local.site import Site

DATABASE_STEP = "airflow-database"
_PARALLEL_TASKS = 3
_DEADLINE = 180.0
# How long a writer waits for the others: SQLite has one at a time. A request that changes something can wait
# for its own entry in the audit log, and holds up everybody until the API server gives up. Who waits longer
# lives on.
_WRITER_SECONDS, _API_SERVER_SECONDS = 60, 10

_SETTINGS = {
    "AIRFLOW__API__EXPOSE_CONFIG": "non-sensitive-only",
    "AIRFLOW__API__HOST": "127.0.0.1",
    "AIRFLOW__API__WORKERS": "1",
    "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "5",
    "AIRFLOW__CORE__PARALLELISM": str(_PARALLEL_TASKS),
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "30",
    "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
    "AIRFLOW__DAG_PROCESSOR__PRINT_STATS_INTERVAL": "0",
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "30",
    "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
    "AIRFLOW__OPENLINEAGE__DISABLED": "True",
    "AIRFLOW__SCHEDULER__JOB_HEARTBEAT_SEC": "2",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "10",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
}


def airflow_home(home: LocalHome) -> Path:
    """AIRFLOW_HOME of the platform."""
    return home.root / "airflow"


def airflow_env(site: Site) -> dict[str, str]:
    """Settings of the local Airflow, as environment variables."""
    folder, secret = airflow_home(site.home), airflow_secrets(site.home)
    address = site.url("airflow")
    return {
        **_SETTINGS,
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW__API__BASE_URL": address,
        "AIRFLOW__API__PORT": str(site.ports["airflow"]),
        "AIRFLOW__API__SECRET_KEY": secret.session,
        "AIRFLOW__API_AUTH__JWT_SECRET": secret.jwt,
        "AIRFLOW__CORE__DAGS_FOLDER": str(site.home.project / "dags"),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{address}/execution/",
        "AIRFLOW__CORE__FERNET_KEY": secret.fernet,
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(folder / "plugins"),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(folder / "passwords.json"),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{u}:{r}" for u, r in AIRFLOW_USERS.items()),
        **_database(site, _WRITER_SECONDS),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(folder / "logs"),
        "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(folder / "logs" / "dag_processor"),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(site.ports["trigger_logs"]),
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(site.ports["worker_logs"]),
    }


def _database(site: Site, seconds: int) -> dict[str, str]:
    """Address of the database for those that wait so long for other writers."""
    file = airflow_home(site.home) / "airflow.db"
    return {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{file}?timeout={seconds}"}


def database_step(site: Site, env: Callable[[], dict[str, str]]) -> Step:
    """The step that gives the platform a migrated database and its users' passwords."""

    def run() -> str:
        folder = airflow_home(site.home)
        (folder / "plugins").mkdir(parents=True, exist_ok=True)
        write_atomic(folder / "passwords.json", json.dumps(airflow_secrets(site.home).passwords), mode=0o600)
        database = folder / "airflow.db"
        if database.exists():
            return "kept"
        copy_database(template_database(site.home.cache, env()), database)
        return "new"

    return Step(DATABASE_STEP, run)


def airflow_services(site: Site, needs: Sequence[str]) -> list[Service]:
    """The four processes.

    :param needs: what must be ready before tasks may run.
    """
    release = version("apache-airflow-core")

    def service(name: str, probe: Probe, ports: tuple[str, ...]) -> Service:
        is_api = name == "airflow-api-server"
        return Service(
            name=name, kind="real", version=release, ports=ports, ready=probe, deadline=_DEADLINE, grace=8,
            command=lambda: [sys.executable, "-m", "airflow", name.removeprefix("airflow-")],
            env=lambda: _database(site, _API_SERVER_SECONDS) if is_api else {},
            needs=(DATABASE_STEP, *(() if is_api else needs)),
            remedy=f"Read its log: madhatter local logs {name}. A full disk or memory is the usual cause.",
        )  # fmt: skip

    def beats(part: str) -> Probe:
        return lambda since: _heartbeat_after(site, part, since)

    return [
        service("airflow-api-server", lambda since: _health(site) is not None, ("airflow",)),
        service("airflow-scheduler", beats("scheduler"), ("worker_logs",)),
        service("airflow-dag-processor", beats("dag_processor"), ()),
        service("airflow-triggerer", beats("triggerer"), ("trigger_logs",)),
    ]


def _health(site: Site) -> Any:
    return get_json(f"{site.url('airflow')}/api/v2/monitor/health")


def _heartbeat_after(site: Site, part: str, since: float) -> bool:
    """Whether this part has reported since it was started: "healthy" alone may still mean its predecessor."""
    told = (_health(site) or {}).get(part) or {}
    beat = told.get(f"latest_{part}_heartbeat")
    return told.get("status") == "healthy" and beat is not None and _seconds(beat) > since


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
