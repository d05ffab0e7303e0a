"""The queries of the pages on fraud run, and those for people on call."""

from __future__ import annotations

import re
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]


def queries(page: str) -> list[str]:
    """Statements of a page's SQL blocks."""
    blocks = re.findall(r"```sql\n(.*?)```", (ROOT / "docs/how-to" / page).read_text(), flags=re.DOTALL)
    return [statement.strip() for block in blocks for statement in block.split(";") if statement.strip()]


def test_the_queries_run(snowflake: Any) -> None:
    sql = snowflake.client()
    found = queries("fraud-response.md") + queries("alert-function.md")[:1]
    assert len(found) == 7
    for query in found:
        sql.execute(query)


def test_the_queries_for_people_on_call_run(snowflake: Any) -> None:
    sql = snowflake.client()
    found = queries("on-call.md")
    assert len(found) == 8
    for query in found:
        sql.execute(query)


def test_the_queries_on_the_functions_store_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "include/functions/fraud_alert"))
    from alert_store import SqliteStore

    monkeypatch.delitem(sys.modules, "alert_store")
    SqliteStore(str(tmp_path / "alerts.sqlite"))
    found = queries("alert-function.md")[1:]
    assert len(found) == 2
    with sqlite3.connect(tmp_path / "alerts.sqlite") as connection:
        for query in found:
            assert connection.execute(query).fetchall() == []
