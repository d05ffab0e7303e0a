"""Fixtures for all tests: the names that the package's own pytest plugin gives its users, shorter."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from madhatter_provider.testing.kafka import MakeTopic, RunningKafka

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

StartKafka = Callable[[], RunningKafka]

# Examples are not timed: a busy machine is no defect. The nightly profile looks much harder.
settings.register_profile("default", deadline=None)
settings.register_profile("nightly", deadline=None, max_examples=10_000, stateful_step_count=50)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

os.environ["GX_ANALYTICS_ENABLED"] = "false"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first: begun last, one of them would keep everybody waiting."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session")
def start_kafka(madhatter_start_kafka: StartKafka) -> StartKafka:
    """Factory of real Kafka nodes, each with its own data; all end with the session."""
    return madhatter_start_kafka


@pytest.fixture(scope="session")
def kafka_broker(madhatter_kafka: RunningKafka) -> str:
    """Bootstrap servers of a real Kafka node that the whole session shares. Make topics with ``topic``."""
    return madhatter_kafka.bootstrap_servers


@pytest.fixture
def topic(madhatter_topic: MakeTopic) -> MakeTopic:
    """Factory of topics on ``kafka_broker``; they may be used when the call returns."""
    return madhatter_topic


@pytest.fixture
def airflow_db(madhatter_airflow_db: Path) -> Path:
    """A fresh, migrated Airflow database for one test."""
    return madhatter_airflow_db


@pytest.fixture
def run_dag(madhatter_run_dag: Callable[..., DagRun]) -> Callable[..., DagRun]:
    """``run_dag(dag, **kwargs)`` stores a DAG made in a test and runs it with ``dag.test(**kwargs)``."""
    return madhatter_run_dag
