"""What the page on message formats shows and lists is what the code does."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import yaml

from madhatter_provider.core.contracts.contract import FORMATS, parse_contract
from madhatter_provider.core.warehouse.sql import core_column, create_table
from madhatter_provider.hooks.schema_registry import DEFAULT_CONN_ID

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs/how-to/message-formats.md").read_text()
CORE = REPOSITORY / "src/madhatter_provider/core"
OF_THE_CONTRACT = {
    "required", "minimum", "maximum", "min_length", "max_length", "pattern", "known_values",
}  # fmt: skip


def _block(language: str) -> str:
    (block,) = re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)
    return str(block)


def _listed(heading: str) -> set[str]:
    """Names in the first column of the table below a heading."""
    section = PAGE.split(f"# {heading}\n")[1].split("\n#")[0]
    cells = re.findall(r"^\| ([^|]*) \|", section, flags=re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


def test_the_contract_is_one() -> None:
    contract = parse_contract(yaml.safe_load(_block("yaml")))
    assert (contract.format, contract.subject) == ("avro", "orders-value")
    assert '"BUYER" VARCHAR' in create_table(contract)
    assert core_column(contract.by_name["tags"]) == 'TRY_PARSE_JSON("TAGS") AS "TAGS"'


def test_the_dag_can_be_read() -> None:
    found: dict[str, Any] = {}
    exec(_block("python"), found)
    assert found["dag"].get_task("land").schema_registry_conn_id is None
    assert f"airflow connections add {DEFAULT_CONN_ID} " in PAGE


def test_all_formats_are_listed() -> None:
    assert _listed("Message formats") >= set(FORMATS)


def test_all_rules_are_listed() -> None:
    given: set[str] = set()
    for file in CORE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            name = getattr(getattr(node, "func", None), "id", "")
            place = {"Fault": 0, "_Misfit": 1, "_rule": 1, "BadRow": 1}.get(name)
            arguments = node.args if isinstance(node, ast.Call) else []
            for argument in [] if place is None else arguments[place : place + 1]:
                either = [argument.body, argument.orelse] if isinstance(argument, ast.IfExp) else [argument]
                given |= {str(c.value) for c in either if isinstance(c, ast.Constant)}
    malformed = {"malformed_avro", "malformed_protobuf"}  # handed on by name
    assert _listed("Rules of quarantine") == given - OF_THE_CONTRACT | malformed
