"""Several statements in one SQL API request: one session, all or nothing."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from madhatter_provider.core.errors import SqlError
from madhatter_provider.hooks.snowflake_rest import SnowflakeRest

pytestmark = pytest.mark.integration


@pytest.fixture
def table(snowflake: Any) -> str:
    name = f"OPS.T{uuid.uuid4().hex[:8].upper()}"
    snowflake.client().execute(f"CREATE TABLE {name} (N INT)")
    return name


def count(client: SnowflakeRest, table: str) -> int:
    return int(client.execute(f"SELECT COUNT(*) AS N FROM {table}")[0]["N"])


def test_all_statements_take_effect_together(snowflake: Any, table: str) -> None:
    client = snowflake.client()
    client.transact([f"INSERT INTO {table} VALUES (1), (2);", f"DELETE FROM {table} WHERE N = 1"])
    assert client.execute(f"SELECT N FROM {table}") == [{"N": 2}]


def test_a_failure_undoes_what_went_before(snowflake: Any, table: str) -> None:
    client = snowflake.client()
    with pytest.raises(SqlError, match="NOWHERE"):
        client.transact([f"INSERT INTO {table} VALUES (1)", "DELETE FROM OPS.NOWHERE"])
    assert count(client, table) == 0


def test_each_statement_has_a_handle_of_its_own(snowflake: Any, table: str) -> None:
    client = snowflake.client()
    body = {
        "statement": f"SELECT 1 AS N; SELECT 'a;b' AS T FROM {table}; SELECT 2 AS N",
        "database": "MADHATTER",
        "parameters": {"MULTI_STATEMENT_COUNT": "0"},
    }
    headers = {
        "Authorization": f"Bearer {client._signer.token()}",
        "X-Snowflake-Authorization-Token-Type": "KEYPAIR_JWT",
    }
    done = snowflake.http("POST", "/api/v2/statements", json=body, headers=headers).json()
    assert done["data"] == [["Multiple statements executed successfully."]]
    parts = [
        snowflake.http("GET", f"/api/v2/statements/{handle}", headers=headers).json()["data"]
        for handle in done["statementHandles"]
    ]
    assert parts == [[["1"]], [], [["2"]]]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"parameters": {"MULTI_STATEMENT_COUNT": "3"}},
            "count 2 did not match the desired statement count 3",
        ),
        ({}, "count 2 did not match the desired statement count 1"),
        (
            {
                "parameters": {"MULTI_STATEMENT_COUNT": "2"},
                "bindings": {"1": {"type": "FIXED", "value": "1"}},
            },
            "Bind variables are not supported",
        ),
    ],
)
def test_requests_that_snowflake_refuses(snowflake: Any, changes: dict[str, Any], words: str) -> None:
    headers = {
        "Authorization": f"Bearer {snowflake.client()._signer.token()}",
        "X-Snowflake-Authorization-Token-Type": "KEYPAIR_JWT",
    }
    body = {"statement": "SELECT ?; SELECT 2", **changes}
    answer = snowflake.http("POST", "/api/v2/statements", json=body, headers=headers)
    assert answer.status_code == 422
    assert words in answer.json()["message"]
