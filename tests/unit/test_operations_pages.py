"""The guide for people on call has a section for every check, and names what there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from madhatter_provider.cli.main import app

REPOSITORY = Path(__file__).parents[2]
PAGES = {
    p: (REPOSITORY / f"docs/how-to/{p}.md").read_text() for p in ("on-call", "platform-health", "operations")
}
SQL = "\n".join(f.read_text() for f in sorted((REPOSITORY / "include/sql").rglob("*.sql")))
SETTINGS = re.findall(r"^  \('(\w+\.\w+)', [\d.]+, '", SQL, re.MULTILINE)
CHECKS = {name.split(".")[0] for name in SETTINGS if name.endswith(".warning_enter")}


def test_every_check_has_a_section_that_says_what_it_means() -> None:
    sections = dict(re.findall(r"^## (\w+)\n\n(\*\*Means:\*\*.*)$", PAGES["on-call"], re.MULTILINE))
    assert set(sections) == CHECKS
    assert len(CHECKS) == 19


def test_every_check_is_in_a_table_of_what_it_measures() -> None:
    rows = set(re.findall(r"^\| `(\w+)` \|", PAGES["platform-health"] + PAGES["operations"], re.MULTILINE))
    assert rows == CHECKS


def test_every_check_that_is_measured_has_limits() -> None:
    measured = set(re.findall(r"^\s*(?:SELECT )?'(\w+)'(?: AS CHECK_NAME)?, [\w.']+", SQL, re.MULTILINE))
    assert measured & CHECKS == CHECKS


@pytest.mark.parametrize("page", PAGES)
def test_settings_and_objects_that_are_named_exist(page: str) -> None:
    packaged = "\n".join(f.read_text() for f in (REPOSITORY / "src/madhatter_provider/sql").rglob("*.sql"))
    for name in re.findall(r"\b(?:OPS|MARTS|CORE)\.[A-Z_]+\b", PAGES[page]):
        if not name.startswith(("CORE.", "OPS.STOCK")):
            assert re.search(rf"(?:VIEW|TABLE IF NOT EXISTS) {re.escape(name)}\b", SQL + packaged), name
    for name in re.findall(r"`((?:services|sensors|streams|health|freshness)\.\w+)`", PAGES[page]):
        assert name in SETTINGS


def test_commands_that_are_named_exist() -> None:
    root = get_command(app)
    commands = re.findall(r"madhatter ((?:[a-z]+ ?){1,2})", PAGES["on-call"])
    assert len(commands) > 10
    for words in commands:
        command = root
        for word in words.split():
            found = getattr(command, "commands", {}).get(word)
            if found is None:
                break
            command = found
        assert command is not root, words


def test_the_example_of_a_dag_is_one() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGES["platform-health"], re.DOTALL)
    found: dict[str, Any] = {}
    exec(
        example.replace(
            'with DAG("stock_health", schedule=timedelta(minutes=5)):',
            'with DAG("stock_health", schedule=timedelta(minutes=5)) as dag:',
        ),
        found,
    )
    task = found["dag"].get_task("stock")
    assert (task.measurements, task.checks) == ("OPS.STOCK_MEASUREMENTS", "OPS.STOCK_CHECKS")
    assert [type(c).__name__ for c in task.on_success_callback] == ["HealthNotifier"]
    assert task.max_active_tis_per_dag == 1


def anchors(text: str) -> set[str]:
    """What headings are linked by."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target, anchor in re.findall(r"\]\(([^)#]*)(?:#([\w-]+))?\)", PAGES[page]):
        path = REPOSITORY / "docs/how-to" / target if target else REPOSITORY / f"docs/how-to/{page}.md"
        assert path.exists(), target
        if anchor:
            assert anchor in anchors(path.read_text()), anchor
