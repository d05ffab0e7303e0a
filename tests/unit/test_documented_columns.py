"""Whoever queries the database finds every column described: exact, short, with its unit."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import sqlglot
from sqlglot import exp

from madhatter_provider.core.contracts.contract import load_contracts
from madhatter_provider.core.warehouse.sql import script

INCLUDE = Path(__file__).parents[2] / "include"
# What people query. The rest (RECO, ROLLUPS, work tables of single steps) is described where it is needed.
DESCRIBED = ("MARTS", "OPS", "CORE", "RAW", "FRAUD")
# Steps of a DAG, read by nobody else.
STEPS = {
    "OPS.APPLIED_RANGES", "OPS.PENDING_RANGES", "OPS.BATCH_RANGES", "FRAUD.CASE_CANDIDATES",
    "FRAUD.OPEN_CASES", "FRAUD.CASES_TO_ASK",
}  # fmt: skip


def comments(create: exp.Create) -> dict[str, str]:
    """Comment by column; empty without one. A view that names no column has the column ``*``."""
    if not isinstance(create.this, exp.Schema):
        return {"*": ""}
    found = {}
    for column in create.this.expressions:
        if isinstance(column, exp.ColumnDef | exp.Identifier):
            kinds = [c.kind for c in getattr(column, "constraints", [])]
            texts = [k.this.name for k in kinds if isinstance(k, exp.CommentColumnConstraint)]
            found[column.name] = texts[0] if texts else ""
    return found


def created() -> dict[str, dict[str, str]]:
    """Columns with their comments, of every view and table."""
    level, found = logging.root.manager.disable, {}
    logging.disable(logging.CRITICAL)
    try:
        contracts = load_contracts(INCLUDE / "contracts")
        for statement in script(INCLUDE / "sql", contracts, landing_root="file:///landing"):
            if statement.text.startswith("CREATE"):
                create = sqlglot.parse_one(statement.text, read="snowflake")
                if isinstance(create, exp.Create) and create.kind in ("VIEW", "TABLE"):
                    name = create.find(exp.Table)
                    assert name is not None
                    found[f"{name.db}.{name.name}"] = comments(create)
    finally:
        logging.disable(level)
    return found


CREATED = created()
ASKED = sorted(n for n in CREATED if n.startswith(DESCRIBED) and n not in STEPS)


def test_nothing_is_overlooked() -> None:
    assert set(CREATED) >= STEPS
    assert sum(name.startswith("MARTS.") for name in ASKED) >= 26
    assert {"OPS.SLICES", "CORE.CLICKS", "RAW.QUARANTINE", "FRAUD.CASES", "OPS.HEALTH"} <= set(ASKED)
    assert set(CREATED["OPS.SLICES"]) >= {"STREAM", "ACKNOWLEDGED_REASON"}
    assert CREATED["MARTS.SERVICE_SLO"]["SLOW_MS"] == "a request that takes longer is slow, milliseconds"


@pytest.mark.parametrize("name", ASKED)
def test_every_column_is_described(name: str) -> None:
    assert [column for column, text in CREATED[name].items() if not text.strip()] == []
