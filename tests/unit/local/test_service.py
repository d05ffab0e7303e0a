"""The graph of services and steps."""

from __future__ import annotations

import pytest

from madhatter_provider.local.service import Absent, Catalog, Service, Step


def _service(name: str, *needs: str) -> Service:
    return Service(name, "local", "1", (), lambda: ["true"], lambda _: True, needs)


def _step(name: str, *needs: str) -> Step:
    return Step(name, lambda: "", needs)


@pytest.fixture
def catalog() -> Catalog:
    found = Catalog()
    found.add(_service("kafka"), _step("topics", "kafka"), _service("snowflake"), _step("sql", "snowflake"))
    found.add(_service("airflow", "topics", "sql"), _step("dags", "airflow"))
    return found


def test_closure(catalog: Catalog) -> None:
    assert catalog.closure(["airflow"]) == {"airflow", "topics", "kafka", "sql", "snowflake"}
    assert catalog.closure(["kafka"]) == {"kafka"}


def test_dependents(catalog: Catalog) -> None:
    assert catalog.dependents({"kafka"}) == {"topics", "airflow", "dags"}
    assert catalog.dependents({"dags"}) == set()


def test_steps_that_a_part_of_the_platform_can_do(catalog: Catalog) -> None:
    catalog.add(_step("database"))
    assert catalog.steps_of(["kafka"]) == {"topics"}
    assert catalog.steps_of(["kafka", "snowflake"]) == {"topics", "sql"}


def test_what_needs_something_absent_is_absent() -> None:
    catalog = Catalog()
    catalog.add(Absent("pubsub", "no jar", "install it"), _service("function", "pubsub"), _service("kafka"))
    catalog.add(_step("push", "function"))
    assert set(catalog.nodes) == {"kafka"}
    assert {a.name: a.reason for a in catalog.absent} == {
        "pubsub": "no jar",
        "function": "needs pubsub",
        "push": "needs function",
    }
