"""Every Python block of the documentation that defines a DAG is a DAG file that Airflow can parse."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCKS = {
    f"{page.stem}_{number}": block
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL))
    if re.search(r"^with DAG\(", block, re.MULTILINE)
}


@pytest.mark.parametrize("name", BLOCKS)
def test_a_dag_of_the_documentation_is_parsed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.dag_processing.dagbag import BundleDagBag

    monkeypatch.setenv("MADHATTER_LANDING_ROOT", "file:///landing")
    file = tmp_path / f"documented_{name}.py"
    file.write_text(BLOCKS[name])
    bag = BundleDagBag(str(file), bundle_path=tmp_path, bundle_name="documented")
    assert bag.import_errors == {}
    (dag,) = bag.dags.values()
    steps = ["land.claim", "land.land", "land.ingest", "land.gate"]
    assert dag.task_ids == steps if "detailed=True" in BLOCKS[name] else dag.task_ids


@pytest.mark.parametrize(
    "page",
    ["README", "claims", "dataflow", "landing", "landing-files", "quality-gate", "replay", "snowpipe"],
)
def test_the_pages_of_operators_show_a_whole_dag(page: str) -> None:
    assert any(name.startswith(f"{page}_") for name in BLOCKS)
