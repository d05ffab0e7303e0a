"""``madhatter init``: a project that the other commands take, and that is never written over."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from madhatter_provider.cli.main import app
from madhatter_provider.core.contracts.contract import load_contracts
from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.local.home import find_project, local_home
from madhatter_provider.local.services import PORTS, build_catalog
from madhatter_provider.local.site import Site


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
