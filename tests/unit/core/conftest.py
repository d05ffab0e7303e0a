"""Snowflake SQL without a server: the local engine in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

Execute = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="session")
def execute(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Execute]:
    """``execute(statement, bindings)`` against an empty database with the schemas RAW and OPS."""
    from madhatter_provider.local.snowflake.engine import LocalSnowflake

    engine = LocalSnowflake(Path(tmp_path_factory.mktemp("engine")))
    setup = engine.connect().cursor()
    for statement in (
        "CREATE DATABASE MADHATTER",
        "CREATE SCHEMA MADHATTER.RAW",
        "CREATE SCHEMA MADHATTER.OPS",
    ):
        setup.execute(statement)
    connection = engine.connect("MADHATTER")

    def run(statement: str, bindings: Sequence[Any] = ()) -> list[dict[str, Any]]:
        cursor = connection.cursor()
        cursor._use_dict_result = True
        cursor.execute(statement, binding_params=list(bindings) or None, server=True)
        rows: Any = cursor.fetchall()
        return list(rows)

    yield run
    engine.close()
