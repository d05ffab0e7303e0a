"""Fixtures for all tests: a real Kafka node, topics on it, and a throwaway Airflow.

Airflow reads its settings when it is imported, so they are set here, before any test module.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from hypothesis import settings

from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.local.airflow_database import copy_database, template_database
from madhatter_provider.local.kafka import KafkaNode, kafka_node
from madhatter_provider.local.process import ProcessId, end, free_port, spawn, tail

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from airflow.sdk import DAG

REPOSITORY = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("MADHATTER_CACHE") or REPOSITORY / ".madhatter" / "cache")
_KAFKA_SECONDS = 60

# Examples are not timed: a busy machine is no defect. The nightly profile looks much harder.
settings.register_profile("default", deadline=None)
settings.register_profile("nightly", deadline=None, max_examples=10_000, stateful_step_count=50)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
_AIRFLOW_HOME = Path(tempfile.mkdtemp(prefix="madhatter-airflow-"))

os.environ.update(
    {
        "AIRFLOW_HOME": str(_AIRFLOW_HOME),
        "AIRFLOW__API_AUTH__JWT_SECRET": "only-for-tests-" * 5,
        # dag.test() parses this folder on every call: it stays empty.
        "AIRFLOW__CORE__DAGS_FOLDER": str(_AIRFLOW_HOME / "dags"),
        "AIRFLOW__CORE__FERNET_KEY": "",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(_AIRFLOW_HOME / "plugins"),
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{_AIRFLOW_HOME}/airflow.db",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        "AIRFLOW__OPENLINEAGE__DISABLED": "True",
        "GX_ANALYTICS_ENABLED": "false",
    }
)
for _folder in ("dags", "plugins"):
    (_AIRFLOW_HOME / _folder).mkdir()


def pytest_sessionfinish() -> None:
    """Remove the throwaway Airflow home."""
    shutil.rmtree(_AIRFLOW_HOME, ignore_errors=True)


class StartKafka(Protocol):
    """Starts one more node and gives it back when it answers."""

    def __call__(self) -> RunningKafka: ...


class RunningKafka:
    """A Kafka node that tests may kill and start again; its data stays."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.node: KafkaNode = kafka_node(CACHE, folder, port, free_port([port]))
        self._log = folder / "kafka.log"
        self._mark = f"kafka@{folder}"
        self._process: ProcessId | None = None

    @property
    def bootstrap_servers(self) -> str:
        """Address for clients; the same after a restart."""
        return self.node.bootstrap_servers

    def start(self) -> None:
        """Start the node and wait until it answers."""
        self.node.prepare()
        child, self._process = spawn(
            self.node.command, env=os.environ, log=self._log, cwd=self.node.folder, mark=self._mark
        )
        deadline = time.monotonic() + _KAFKA_SECONDS
        while not self.node.ready():
            if child.poll() is not None or time.monotonic() > deadline:
                self.stop()
                pytest.fail(f"Kafka did not start:\n{tail(self._log, 30)}")
            time.sleep(0.1)

    def stop(self, *, grace: float = 10.0) -> None:
        """End the node; ``grace=0`` kills it."""
        end(self._process, self._mark, grace=grace)


@pytest.fixture(scope="session")
def start_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartKafka]:
    """Factory of real Kafka nodes, each with its own data; all end with the session."""
    nodes: list[RunningKafka] = []

    def start() -> RunningKafka:
        try:
            node = RunningKafka(tmp_path_factory.mktemp("kafka"))
        except ConfigurationError as err:
            pytest.skip(f"no Kafka here: {err.what}. {err.remedy}")
        nodes.append(node)
        node.start()
        return node

    yield start
    for node in nodes:
        node.stop(grace=0)


@pytest.fixture(scope="session")
def kafka_broker(start_kafka: StartKafka) -> str:
    """Bootstrap servers of a real Kafka node that the whole session shares. Make topics with ``topic``."""
    return start_kafka().bootstrap_servers


class MakeTopic(Protocol):
    """Makes a topic with a unique name and gives the name back."""

    def __call__(
        self, partitions: int = 3, *, name: str = "test", config: dict[str, str] | None = None
    ) -> str: ...


@pytest.fixture
def topic(kafka_broker: str) -> MakeTopic:
    """Factory of topics on ``kafka_broker``; they may be used when the call returns."""
    from confluent_kafka.admin import AdminClient
    from confluent_kafka.cimpl import NewTopic

    admin = AdminClient({"bootstrap.servers": kafka_broker})

    def make(partitions: int = 3, *, name: str = "test", config: dict[str, str] | None = None) -> str:
        unique = f"{name}-{uuid.uuid4().hex[:8]}"
        asked = admin.create_topics([NewTopic(unique, partitions, 1, config=config or {})])
        asked[unique].result(timeout=30)
        deadline = time.monotonic() + 10
        # The broker answers before every leader is known to clients.
        while not _has_leaders(admin, unique, partitions):
            assert time.monotonic() < deadline, f"topic {unique} has no leaders"
            time.sleep(0.02)
        return unique

    return make


def _has_leaders(admin: Any, name: str, partitions: int) -> bool:
    known = admin.list_topics(name, timeout=10).topics[name].partitions
    return len(known) == partitions and all(p.leader >= 0 and p.error is None for p in known.values())


@pytest.fixture(scope="session")
def _airflow_template() -> Path:
    return template_database(CACHE, os.environ)


@pytest.fixture
def airflow_db(_airflow_template: Path) -> Path:
    """A fresh, migrated Airflow database for one test."""
    from airflow import settings

    if settings.Session is not None:  # dag.test() leaves a scoped session open
        settings.Session.rollback()
        settings.Session.remove()
    if settings.engine is not None:
        settings.engine.dispose()
    database = _AIRFLOW_HOME / "airflow.db"
    copy_database(_airflow_template, database)
    return database


@pytest.fixture
def run_dag(airflow_db: Path) -> Callable[..., DagRun]:
    """``run_dag(dag, **kwargs)`` stores a DAG made in a test and runs it with ``dag.test(**kwargs)``."""

    def run(dag: DAG, **kwargs: Any) -> DagRun:
        from airflow.dag_processing.bundles.manager import DagBundlesManager
        from airflow.dag_processing.collection import update_dag_parsing_results_in_db
        from airflow.serialization.serialized_objects import LazyDeserializedDAG
        from airflow.utils.session import create_session

        bundles: Any = DagBundlesManager
        bundles().sync_bundles_to_db()
        with create_session() as session:
            stored = [LazyDeserializedDAG.from_dag(dag)]
            update_dag_parsing_results_in_db("dags-folder", None, stored, {}, None, set(), session=session)
        result: DagRun = dag.test(**kwargs)
        return result

    return run
