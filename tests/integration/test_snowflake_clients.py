"""The local server speaks to clients that nobody has changed: hook, connector, SQLAlchemy, and ours."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from decimal import Decimal
from typing import Any

import httpx
import jwt
import pytest
import snowflake.connector
import sqlalchemy as sa
from airflow.providers.snowflake.hooks.snowflake import SnowflakeHook

from madhatter_provider.core.errors import ConfigurationError, SnowflakeUnavailable, SqlError
from madhatter_provider.hooks.snowflake_profile import KeyPairSigner
from madhatter_provider.hooks.snowflake_rest import SnowflakeRestHook

pytestmark = pytest.mark.integration

EVERY_TYPE = """
SELECT 1::NUMBER(38,0) AS N, 1.50::NUMBER(10,2) AS D, 2.5::FLOAT AS F, TRUE AS B, 'a''b\nc' AS T, NULL AS U,
  DATE '2026-11-24' AS DAY, TIME '13:14:15.5' AS CLOCK, '2026-11-24 01:02:03.123456'::TIMESTAMP_NTZ AS NTZ,
  '2026-11-24T01:02:03.123456Z'::TIMESTAMP_TZ AS TZ,
  PARSE_JSON('{"a": [1, 2]}') AS V, TO_BINARY('0AFF', 'HEX') AS BIN
"""


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", "X-Snowflake-Authorization-Token-Type": "KEYPAIR_JWT"}


class TestStockClients:
    def test_hook_runs_queries_statements_and_parameters(self, snowflake: Any) -> None:
        hook: Any = SnowflakeHook("snowflake_default")
        assert hook.test_connection() == (True, "Connection successfully tested")
        hook.run(
            [
                "CREATE OR REPLACE TABLE RAW.HOOK (A INT, B VARCHAR)",
                "INSERT INTO RAW.HOOK VALUES (1,'a'),(2,'b')",
            ]
        )
        assert hook.get_records("SELECT B FROM RAW.HOOK WHERE A = %s", parameters=(2,)) == [("b",)]
        with hook.get_sqlalchemy_engine().connect() as connection:
            assert connection.execute(sa.text("SELECT COUNT(*) FROM RAW.HOOK")).scalar() == 2

    def test_pipes_are_visible(self, snowflake: Any) -> None:
        hook = SnowflakeHook("snowflake_default")
        names = {row[1] for row in hook.get_records("SHOW PIPES IN SCHEMA RAW")}
        assert {"CLICKS_PIPE", "QUARANTINE_PIPE"} <= names
        assert hook.get_records("SHOW PIPES LIKE 'NO%'") == []
        assert hook.get_first("DESC PIPE RAW.CLICKS_PIPE")[4].startswith("COPY INTO RAW.CLICKS")

    def test_connector_needs_the_right_key(self, snowflake: Any) -> None:
        arguments = {
            "user": "TESTER",
            "account": "LOCAL",
            "host": "127.0.0.1",
            "port": snowflake.port,
            "insecure_mode": True,
        }
        with pytest.raises(snowflake_error(), match="JWT token is invalid"):
            connect(**arguments, private_key_file=str(snowflake.folder / "other.p8"))
        with pytest.raises(snowflake_error(), match="JWT token is invalid"):
            connect(**arguments, password="secret")
        with connect(**arguments, private_key_file=str(snowflake.folder / "user.p8")) as connection:
            assert connection.cursor().execute("SELECT 1").fetchall() == [(1,)]

    def test_a_second_key_can_be_registered(self, snowflake: Any) -> None:
        with pytest.raises(ConfigurationError, match="refused the key"):
            snowflake.client(user="SECOND", private_key=snowflake.other_key).execute("SELECT 1")
        text = (snowflake.folder / "other.pub").read_text().split("-----")[2].replace("\n", "")
        snowflake.client().execute(f"ALTER USER SECOND SET RSA_PUBLIC_KEY = '{text}'")
        assert snowflake.client(user="SECOND", private_key=snowflake.other_key).execute("SELECT 1 AS A") == [
            {"A": 1}
        ]

    def test_rollback_undoes_and_others_do_not_see_open_transactions(self, snowflake: Any) -> None:
        hook, client = SnowflakeHook("snowflake_default"), snowflake.client()
        client.execute("CREATE OR REPLACE TABLE RAW.TX (A INT)")
        with hook.get_conn() as connection, connection.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("INSERT INTO RAW.TX VALUES (1)")
            assert client.execute("SELECT COUNT(*) AS N FROM RAW.TX") == [{"N": 0}]
            cursor.execute("ROLLBACK")
            cursor.execute("INSERT INTO RAW.TX VALUES (2)")
        assert client.execute("SELECT A FROM RAW.TX") == [{"A": 2}]


def connect(**arguments: Any) -> Any:
    return snowflake.connector.connect(login_timeout=10, **arguments)


def snowflake_error() -> type[Exception]:
    return snowflake.connector.errors.DatabaseError


class TestOurClient:
    def test_values_are_those_of_the_connector(self, snowflake: Any) -> None:
        ours = list(snowflake.client().execute(EVERY_TYPE)[0].values())
        theirs = list(SnowflakeHook("snowflake_default").get_first(EVERY_TYPE))
        theirs[10] = {"a": [1, 2]}  # the connector leaves VARIANT as JSON text
        assert ours == theirs
        assert [type(v) for v in ours[:5]] == [int, Decimal, float, bool, str]

    def test_bindings_come_back_as_they_went(self, snowflake: Any) -> None:
        moment = dt.datetime(2026, 11, 24, 1, 2, 3, 123456, tzinfo=dt.UTC)
        values = ["it's ? \\ \"", 7, True, None, 2.5, moment, dt.date(2026, 2, 28), "x" * 100_000]
        names = ", ".join(f"? AS C{i}" for i in range(len(values)))
        assert list(snowflake.client().execute(f"SELECT {names}", values)[0].values()) == values

    def test_large_results_come_in_partitions(self, snowflake: Any) -> None:
        rows = snowflake.client().execute("SELECT SEQ4() AS A FROM TABLE(GENERATOR(ROWCOUNT => 25000))")
        assert [r["A"] for r in rows] == list(range(25_000))

    def test_async_statement_is_asked_for_until_it_is_done(self, snowflake: Any) -> None:
        headers = bearer(KeyPairSigner(snowflake.profile).token())
        body = {"statement": "SELECT 5 AS A", "database": "MADHATTER"}
        first = snowflake.http("POST", "/api/v2/statements?async=true", json=body, headers=headers)
        assert first.status_code == 202
        url = first.json()["statementStatusUrl"]
        deadline = time.monotonic() + 10
        while (answer := snowflake.http("GET", url, headers=headers)).status_code == 202:
            assert time.monotonic() < deadline
        assert answer.json()["data"] == [["5"]]
        assert answer.json()["resultSetMetaData"]["rowType"][0]["type"] == "fixed"

    @pytest.mark.parametrize(
        ("statement", "words"),
        [
            ("SELEC 1", "001003"),
            ("SELECT * FROM RAW.NOWHERE", "002003.*|.*does not exist"),
            ("SELECT NOTHING_LIKE_IT FROM RAW.CLICKS", "NOTHING_LIKE_IT"),
            ("INSERT INTO RAW.CLICKS (DWELL_MS) VALUES ('x')", "x"),
            ("CREATE PIPE RAW.P AS COPY INTO RAW.NOWHERE FROM @RAW.LANDING", "NOWHERE"),
            ("SELECT SYSTEM$PIPE_STATUS('RAW.NOWHERE')", "NOWHERE"),
            ("ALTER USER X SET RSA_PUBLIC_KEY = 'abc'", "public key"),
        ],
    )
    def test_refusals_are_sql_errors_that_name_the_statement(
        self, snowflake: Any, statement: str, words: str
    ) -> None:
        with pytest.raises(SqlError, match=words) as caught:
            snowflake.client().execute(statement)
        assert caught.value.where.startswith(statement[:20])

    def test_wrong_key_user_and_address_are_named(self, snowflake: Any) -> None:
        with pytest.raises(ConfigurationError, match="refused the key of user TESTER"):
            snowflake.client(private_key=snowflake.other_key).execute("SELECT 1")
        with pytest.raises(ConfigurationError, match="refused the key of user nobody"):
            snowflake.client(user="nobody").execute("SELECT 1")
        with pytest.raises(SnowflakeUnavailable, match="No answer"):
            snowflake.client(port=1, timeout=1.0).execute("SELECT 1")
        with pytest.raises(ConfigurationError, match="no connection 'missing'"):
            SnowflakeRestHook("missing").execute("SELECT 1")

    def test_untrusted_certificate_is_named_at_once(
        self, snowflake: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("SSL_CERT_FILE")
        began = time.monotonic()
        with pytest.raises(ConfigurationError, match="certificate is not trusted"):
            snowflake.client().execute("SELECT 1")
        assert time.monotonic() - began < 5

    @pytest.mark.parametrize(
        "change",
        [
            {"exp": 1_000},
            {"exp": 4_000_000_000},
            {"sub": "LOCAL.OTHER"},
            {"iss": "LOCAL.TESTER.SHA256:AAAA"},
            {"iss": "x"},
        ],
        ids=["expired", "too long", "other subject", "other key", "nonsense"],
    )
    def test_forged_tokens_are_refused(self, snowflake: Any, change: dict[str, Any]) -> None:
        good = jwt.decode(KeyPairSigner(snowflake.profile).token(), options={"verify_signature": False})
        token = jwt.encode({**good, **change}, snowflake.key, algorithm="RS256")
        for method, path in (
            ("POST", "/api/v2/statements"),
            ("GET", "/v1/data/pipes/MADHATTER.RAW.CLICKS_PIPE/insertReport"),
        ):
            assert snowflake.http(method, path, headers=bearer(token)).status_code == 401
        assert snowflake.http("POST", "/api/v2/statements", json={}).status_code == 401

    def test_hmac_token_with_the_public_key_is_refused(self, snowflake: Any) -> None:
        good = jwt.decode(KeyPairSigner(snowflake.profile).token(), options={"verify_signature": False})
        token = jwt.encode(good, "k" * 32, algorithm="HS256")
        assert snowflake.http("POST", "/api/v2/statements", headers=bearer(token), json={}).status_code == 401


class TestFaults:
    @pytest.mark.parametrize("status", [429, 500, 503, "drop"])
    def test_repeatable_statement_survives(self, snowflake: Any, status: int | str) -> None:
        snowflake.fault("statements", status, times=2)
        assert snowflake.client().execute("SELECT 1 AS A") == [{"A": 1}]

    def test_a_statement_that_may_have_run_is_not_sent_twice(self, snowflake: Any) -> None:
        client = snowflake.client()
        client.execute("CREATE OR REPLACE TABLE RAW.ONCE (A INT)")
        snowflake.fault("statements", "drop-after")
        with pytest.raises(SnowflakeUnavailable, match="No answer"):
            client.execute("INSERT INTO RAW.ONCE VALUES (1)")
        assert client.execute("SELECT COUNT(*) AS N FROM RAW.ONCE") == [{"N": 1}]

    def test_the_server_runs_a_repeated_request_once(self, snowflake: Any) -> None:
        client = snowflake.client()
        client.execute("CREATE OR REPLACE TABLE RAW.ONCE_MORE (A INT)")
        snowflake.fault("statements", "drop-after")
        client.execute("INSERT INTO RAW.ONCE_MORE VALUES (1)", repeatable=True)
        assert client.execute("SELECT COUNT(*) AS N FROM RAW.ONCE_MORE") == [{"N": 1}]

    def test_gives_up_within_the_timeout(self, snowflake: Any) -> None:
        snowflake.fault("statements", 503, times=1000)
        began = time.monotonic()
        with pytest.raises(SnowflakeUnavailable, match="slow down"):
            snowflake.client(timeout=1.0).execute("SELECT 1")
        assert time.monotonic() - began < 2.5

    @pytest.mark.asyncio
    async def test_event_loop_keeps_running(self, snowflake: Any) -> None:
        snowflake.fault("statements", "delay", seconds=0.5)
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.02)
                ticks += 1

        ticking = asyncio.create_task(tick())
        async with snowflake.client() as client:
            assert await client.aexecute("SELECT 1 AS A") == [{"A": 1}]
        ticking.cancel()
        assert ticks > 10

    def test_unknown_paths_and_bodies_get_clean_answers(self, snowflake: Any) -> None:
        headers = bearer(KeyPairSigner(snowflake.profile).token())
        answers: list[httpx.Response] = [
            snowflake.http("GET", "/nowhere"),
            snowflake.http("POST", "/api/v2/statements", content=b"{", headers=headers),
            snowflake.http("POST", "/session/v1/login-request", content=b"nonsense"),
            snowflake.http("GET", "/api/v2/statements/unknown", headers=headers),
        ]
        assert [a.status_code for a in answers] == [404, 400, 400, 404]
        assert all(a.json()["success"] is False and a.json()["message"] for a in answers)
