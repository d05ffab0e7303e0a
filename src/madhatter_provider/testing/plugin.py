"""The pytest plugin. Its fixtures begin with ``madhatter_``; nothing heavy is imported before one is used.

With ``madhatter_airflow = true`` in pytest's settings, Airflow gets a throwaway home before any test is
collected; ``madhatter_run_dag`` needs that.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

    from madhatter_provider.testing.kafka import Broker, MakeTopic, MockKafka, RunningKafka
    from madhatter_provider.testing.schema_registry import RunningSchemaRegistry
    from madhatter_provider.testing.snowflake import RunningSnowflake
    from madhatter_provider.testing.stream import StreamUnderTest

_AIRFLOW: pytest.StashKey[Any] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the setting."""
    parser.addini("madhatter_airflow", "give Airflow a throwaway home", type="bool", default=False)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Before any conftest can import Airflow."""
    if early_config.getini("madhatter_airflow"):
        from madhatter_provider.testing.airflow import ThrowawayAirflow

        early_config.stash[_AIRFLOW] = ThrowawayAirflow()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the throwaway home."""
    airflow = config.stash.get(_AIRFLOW, None)
    if airflow is not None:
        airflow.remove()


@pytest.fixture(scope="session")
def madhatter_cache(request: pytest.FixtureRequest) -> Path:
    """Folder of what takes time to make: Kafka's jars, a migrated database. ``MADHATTER_CACHE`` moves it."""
    return Path(os.environ.get("MADHATTER_CACHE") or request.config.rootpath / ".madhatter" / "cache")


@pytest.fixture(scope="session")
def madhatter_start_kafka(
    madhatter_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], RunningKafka]]:
    """Factory of real Kafka nodes, each with its own data; all end with the session.

    Skips, and says why, where Java or Maven is missing.
    """
    from madhatter_provider.core.errors import ConfigurationError
    from madhatter_provider.testing.kafka import RunningKafka

    nodes: list[RunningKafka] = []

    def start() -> RunningKafka:
        try:
            node = RunningKafka(tmp_path_factory.mktemp("kafka"), madhatter_cache)
        except ConfigurationError as err:
            pytest.skip(f"no Kafka here: {err.what}. {err.remedy}")
        nodes.append(node)
        node.start()
        return node

    yield start
    for node in nodes:
        node.stop(grace=0)


@pytest.fixture(scope="session")
def madhatter_kafka(madhatter_start_kafka: Callable[[], RunningKafka]) -> RunningKafka:
    """A real Kafka node that the whole session shares."""
    return madhatter_start_kafka()


@pytest.fixture(scope="session")
def madhatter_start_mock_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], MockKafka]]:
    """Factory of librdkafka's mock brokers: they need no Java, and have limits. All end with the session."""
    from madhatter_provider.testing.kafka import MockKafka

    with contextlib.ExitStack() as stack:

        def start() -> MockKafka:
            broker = MockKafka(tmp_path_factory.mktemp("mock-kafka"))
            broker.start()
            stack.callback(broker.stop)
            return broker

        yield start


@pytest.fixture(scope="session")
def madhatter_mock_kafka(madhatter_start_mock_kafka: Callable[[], MockKafka]) -> MockKafka:
    """A mock broker that the whole session shares."""
    return madhatter_start_mock_kafka()


@pytest.fixture
def madhatter_topic(madhatter_kafka: RunningKafka) -> MakeTopic:
    """Factory of topics with unique names on ``madhatter_kafka``."""
    from madhatter_provider.testing.kafka import unique_topic

    return functools.partial(unique_topic, madhatter_kafka)


@pytest.fixture(scope="session")
def madhatter_start_snowflake(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., RunningSnowflake]]:
    """Factory of local Snowflake servers; takes the server's options. All end with the session.

    ``apply_sql(contracts)`` sets one up. Every client of this process trusts their certificate meanwhile.
    """
    from madhatter_provider.testing.snowflake import RunningSnowflake, make_authority

    servers: list[RunningSnowflake] = []
    authority = make_authority(tmp_path_factory.mktemp("authority"))
    with pytest.MonkeyPatch.context() as patch:

        def start(*options: str) -> RunningSnowflake:
            server = RunningSnowflake(tmp_path_factory.mktemp("snowflake"), authority, *options)
            servers.append(server)
            server.start()
            for name, value in server.trust.items():
                patch.setenv(name, value)
            return server

        yield start
        for server in servers:
            server.stop(grace=0)


@pytest.fixture(scope="session")
def madhatter_snowflake(madhatter_start_snowflake: Callable[..., RunningSnowflake]) -> RunningSnowflake:
    """A local Snowflake that the whole session shares; ``madhatter_stream`` sets up the tables."""
    return madhatter_start_snowflake()


@pytest.fixture(scope="session")
def madhatter_schema_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSchemaRegistry]:
    """A schema registry that the whole session shares; ``register(subject, schema)`` gives the id."""
    from madhatter_provider.testing.schema_registry import RunningSchemaRegistry

    registry = RunningSchemaRegistry(tmp_path_factory.mktemp("schema-registry"))
    registry.start()
    yield registry
    registry.stop()


@pytest.fixture
def madhatter_connections(
    madhatter_kafka: Broker, madhatter_snowflake: RunningSnowflake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow's connections ``kafka_default`` and ``snowflake_default``, and ``MADHATTER_LANDING_ROOT``."""
    for name, value in madhatter_snowflake.trust.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AIRFLOW_CONN_KAFKA_DEFAULT", madhatter_kafka.airflow_connection)
    monkeypatch.setenv("AIRFLOW_CONN_SNOWFLAKE_DEFAULT", madhatter_snowflake.airflow_connection)
    monkeypatch.setenv("MADHATTER_LANDING_ROOT", madhatter_snowflake.landing_root)


@pytest.fixture
def madhatter_stream(
    request: pytest.FixtureRequest,
    madhatter_kafka: RunningKafka,
    madhatter_snowflake: RunningSnowflake,
    madhatter_connections: None,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[str | Path], StreamUnderTest]:
    """``madhatter_stream("contracts/orders.odcs.yaml")``: topic and tables of a contract, connections set.

    A format that needs a schema registry starts ``madhatter_schema_registry``, as the connection
    ``schema_registry_default``.
    """
    from madhatter_provider.core.contracts.contract import REGISTRY_FORMATS, load_contract
    from madhatter_provider.testing.stream import StreamUnderTest

    def make(path: str | Path) -> StreamUnderTest:
        contract = load_contract(path)
        madhatter_kafka.delete_topic(contract.topic)  # of an earlier test: the new one is a new epoch
        madhatter_kafka.create_topic(contract.topic, contract.partitions)
        madhatter_snowflake.apply_sql({contract.stream: contract})
        registry: RunningSchemaRegistry | None = None
        if contract.format in REGISTRY_FORMATS:
            registry = request.getfixturevalue("madhatter_schema_registry")
            monkeypatch.setenv("AIRFLOW_CONN_SCHEMA_REGISTRY_DEFAULT", registry.airflow_connection)
        return StreamUnderTest(contract, madhatter_kafka, madhatter_snowflake, registry)

    return make


@pytest.fixture(scope="session")
def _madhatter_template(madhatter_cache: Path) -> Path:
    from madhatter_provider.local.airflow_database import template_database

    return template_database(madhatter_cache, os.environ)


@pytest.fixture
def madhatter_airflow_db(request: pytest.FixtureRequest, _madhatter_template: Path) -> Path:
    """A fresh, migrated Airflow database for one test."""
    airflow = request.config.stash.get(_AIRFLOW, None)
    if airflow is None:
        pytest.fail("Set madhatter_airflow = true in pytest's settings: this test would use your own Airflow")
    database: Path = airflow.reset(_madhatter_template)
    return database


@pytest.fixture
def madhatter_run_dag(madhatter_airflow_db: Path) -> Callable[..., DagRun]:
    """``madhatter_run_dag(dag, **kwargs)`` stores a DAG and runs it with ``dag.test(**kwargs)``."""
    from madhatter_provider.testing.airflow import run_dag

    return run_dag
