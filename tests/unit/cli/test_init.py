"""``madhatter init``: a project that the other commands take, and that is never written over."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from madhatter_provider.cli.main import app
from madhatter_provider.core.contracts.contract import load_contracts
from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.local.home import find_project, local_home
from madhatter_provider.local.service import Catalog
from madhatter_provider.local.services import PORTS, build_catalog
from madhatter_provider.local.site import Site

CONNECTION = "AIRFLOW_CONN_SCHEMA_REGISTRY_DEFAULT"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    done = CliRunner().invoke(app, ["init", str(folder)])
    assert done.exit_code == 0, done.output
    return folder


def test_it_is_a_project_with_a_stream(project: Path) -> None:
    assert find_project(project / "dags") == project
    assert [c.topic for c in load_contracts(project / "include/contracts").values()] == ["orders"]
    assert (project / ".gitignore").read_text().startswith(".madhatter/")


def test_its_platform_has_what_a_stream_needs(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MADHATTER_HOME", raising=False)
    catalog = build_catalog(Site(local_home(project), dict.fromkeys(PORTS, 1)))
    assert {"kafka", "topics", "snowflake", "sql", "airflow-scheduler", "airflow-triggerer"} <= set(
        catalog.nodes
    )
    assert not {"pubsub", "function", "webhook", "dataflow", "prism", "profiles"} & set(catalog.nodes)


def test_a_format_that_needs_a_registry_brings_one(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MADHATTER_HOME", raising=False)

    def catalog() -> Catalog:
        return build_catalog(Site(local_home(project), dict.fromkeys(PORTS, 1)))

    assert "schema-registry" not in catalog().nodes
    contract = project / "include/contracts/orders.odcs.yaml"
    text = contract.read_text()
    custom = "customProperties:\n"
    assert text.count(custom) == 1
    contract.write_text(text.replace(custom, f"{custom}  - {{property: format, value: avro}}\n"))
    found = catalog()
    assert "schema-registry" in found.nodes["airflow-scheduler"].needs
    contract.write_text("no: contract")  # a platform can be ended all the same
    assert "schema-registry" not in catalog().nodes
    connection = json.loads(Site(local_home(project), dict.fromkeys(PORTS, 1)).env()[CONNECTION])
    assert connection == {"conn_type": "http", "host": "http://127.0.0.1:1"}


def test_nothing_is_written_over(project: Path) -> None:
    kept = project / "dags/landing.py"
    kept.write_text("# mine")
    (project / "pytest.ini").unlink()
    done = CliRunner().invoke(app, ["init", str(project)])
    assert isinstance(done.exception, ConfigurationError)
    assert "dags/landing.py" in done.exception.what
    assert kept.read_text() == "# mine"
    assert not (project / "pytest.ini").exists()


@pytest.mark.parametrize(
    "command", [["send", "orders", "include/samples/orders.ndjson"], ["sql", "SELECT 1"]]
)
def test_the_platform_must_run(project: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
    monkeypatch.delenv("MADHATTER_HOME", raising=False)
    monkeypatch.chdir(project)
    done = CliRunner().invoke(app, ["local", *command])
    assert isinstance(done.exception, ConfigurationError)
    assert "does not run" in done.exception.what
    assert "madhatter local up" in done.exception.remedy


def test_a_file_that_is_not_there(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    done = CliRunner().invoke(app, ["local", "send", "orders", "none.ndjson"])
    assert isinstance(done.exception, ConfigurationError)
    assert done.exception.where == "none.ndjson"
