"""The DAG library: parses without errors, quickly, and without anything heavy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
HEAVY = (
    "great_expectations", "apache_beam", "confluent_kafka", "snowflake.connector", "google.cloud", "pandas",
    "pyarrow", "duckdb", "httpx",
)  # fmt: skip
PARSE = """
import importlib, json, sys
sys.path.insert(0, sys.argv[1])
import airflow.sdk, airflow.triggers.base
from airflow.sdk import BaseOperator, DAG, Asset, AssetWatcher, TaskGroup, ExceptionRetryPolicy, Param, conf
before = set(sys.modules)
importlib.import_module(sys.argv[2])
print("RESULT" + json.dumps(sorted(set(sys.modules) - before)))
"""


@pytest.mark.parametrize("file", sorted(p.stem for p in (ROOT / "dags").glob("*.py")))
def test_a_dag_file_imports_nothing_heavy(file: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PARSE, str(ROOT / "dags"), file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    imported = json.loads(done.stdout.partition("RESULT")[2])
    heavy = [m for m in imported if m.startswith(HEAVY)]
    assert heavy == []


@pytest.fixture(scope="module")
def bag() -> Any:
    from airflow.dag_processing.dagbag import BundleDagBag

    found = BundleDagBag(str(ROOT / "dags"), bundle_path=ROOT / "dags", bundle_name="dags")
    assert found.import_errors == {}
    return found


def test_a_text_that_may_be_left_empty_says_so(bag: Any) -> None:
    """Airflow's forms require what has a type without null, and make null of a field that is cleared."""
    tasks = [task for dag in bag.dags.values() for task in dag.tasks]
    texts = {
        (owner, name): owner.params.get_param(name)
        for owner in (*bag.dags.values(), *tasks)
        for name in owner.params
    }
    may_be_empty = {key: p for key, p in texts.items() if p.value in ("", None) and p.schema.get("type")}
    assert {name for _, name in may_be_empty} >= {"case_id", "note", "from", "since"}
    for key, param in may_be_empty.items():
        assert param.has_value is False, key
        assert param.resolve() is None, key


def test_every_contract_has_its_landing_dag(bag: Any) -> None:
    streams = {f.name.removesuffix(".odcs.yaml") for f in (ROOT / "include/contracts").glob("*.odcs.yaml")}
    assert {f"land_{s}" for s in streams} <= set(bag.dag_ids)
    for stream in streams:
        dag = bag.dags[f"land_{stream}"]
        assert dag.task_dict["land"].max_active_tis_per_dag == 1
        assert [a.name for a in dag.task_dict["land"].outlets] == [f"raw_{stream}"]
