"""Retries, deadlines and error mapping, with scripted answers instead of a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from madhatter_provider.core.errors import ConfigurationError, MadHatterError, SnowflakeUnavailable, SqlError
from madhatter_provider.core.landing.manifest import LandedFile
from madhatter_provider.hooks.snowflake_http import Call, Deadline, Pause, SnowflakeHttp
from madhatter_provider.hooks.snowflake_profile import SnowflakeProfile
from madhatter_provider.hooks.snowflake_rest import SnowflakeRest
from madhatter_provider.hooks.snowpipe import SnowpipeRest

PEM = (
    rsa.generate_private_key(public_exponent=65537, key_size=2048)
    .private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    .decode()
)
PROFILE = SnowflakeProfile("acct", "bob", PEM, database="MADHATTER")
Scripted = int | Exception | httpx.Response


def answer(given: Scripted) -> Any:
    return httpx.Response(given, json={"code": "1", "message": "words"}) if isinstance(given, int) else given


def drive(steps: Any, script: Sequence[Scripted]) -> tuple[Any, list[Call]]:
    """Carry out steps with scripted answers; pauses take no time."""
    left, calls, given = list(script), [], None
    try:
        while True:
            step = steps.send(given)
            if isinstance(step, Pause):
                given = None
            else:
                calls.append(step)
                given = answer(left.pop(0))
    except StopIteration as done:
        return done.value, calls


def ask(script: Sequence[Scripted], *, repeatable: bool = True, seconds: float = 60.0) -> list[Call]:
    call = Call("POST", "/x", repeatable=repeatable)
    return drive(SnowflakeHttp(PROFILE).ask(call, Deadline(seconds)), script)[1]


class TestAsk:
    @pytest.mark.parametrize(
        "trouble", [429, 503, 500, 502, 504, 408, httpx.ReadTimeout("x"), httpx.ConnectError("x")]
    )
    def test_a_repeatable_request_is_repeated_under_the_same_id(self, trouble: Scripted) -> None:
        calls = ask([trouble, trouble, 200])
        assert len({c.params["requestId"] for c in calls}) == 1
        assert [c.params.get("retry") for c in calls] == [None, "true", "true"]

    @pytest.mark.parametrize("trouble", [429, 503, httpx.ConnectError("x"), httpx.ConnectTimeout("x")])
    def test_what_cannot_have_begun_is_repeated_always(self, trouble: Scripted) -> None:
        assert len(ask([trouble, 200], repeatable=False)) == 2

    @pytest.mark.parametrize("trouble", [500, 504, httpx.ReadTimeout("x"), httpx.RemoteProtocolError("x")])
    def test_what_may_have_run_is_not_repeated_unasked(self, trouble: Scripted) -> None:
        with pytest.raises(SnowflakeUnavailable):
            ask([trouble, 200], repeatable=False)

    @pytest.mark.parametrize(
        ("status", "kind", "words"),
        [
            (401, ConfigurationError, "refused the key of user bob in account acct"),
            (403, ConfigurationError, "no such thing"),
            (404, ConfigurationError, "no such thing"),
            (400, SqlError, "refused the request"),
            (429, SnowflakeUnavailable, "slow down"),
            (500, SnowflakeUnavailable, "failed"),
            (httpx.ReadTimeout("late"), SnowflakeUnavailable, "No answer"),
        ],
    )
    def test_every_refusal_has_its_class_and_words(
        self, status: Scripted, kind: type[MadHatterError], words: str
    ) -> None:
        with pytest.raises(kind, match=words) as caught:
            ask([status] * 100, seconds=0.0)
        assert caught.value.remedy
        assert "acct.snowflakecomputing.com" in caught.value.where

    def test_a_refused_token_is_renewed_once(self) -> None:
        assert len(ask([401, 200])) == 2
        with pytest.raises(ConfigurationError):
            ask([401, 401, 200])

    def test_a_page_of_html_is_no_reason_to_stumble(self) -> None:
        with pytest.raises(ConfigurationError, match="<html>"):
            ask([httpx.Response(403, text="<html>no such account</html>")])


class TestDeadline:
    def test_waits_grow_and_end(self) -> None:
        deadline = Deadline(1_000)
        waits = [deadline.next_wait() for _ in range(40)]
        assert all(w is not None and 0 <= w <= 8 for w in waits)
        assert Deadline(1).next_wait(asked=5.0) is None
        assert Deadline(10).next_wait(asked=5.0) == 5.0


def result(rows: list[list[str | None]], **meta: Any) -> httpx.Response:
    kinds = [{"name": "A", "type": "fixed", "scale": 0}]
    content = {
        "resultSetMetaData": {"rowType": kinds, **meta},
        "data": rows,
        "statementHandle": "h",
        "code": "090001",
    }
    return httpx.Response(200, json=content)


class TestStatements:
    def run(self, statement: str, script: Sequence[Scripted], **arguments: Any) -> tuple[Any, list[Call]]:
        rest = SnowflakeRest(PROFILE, timeout=30)
        return drive(rest._statement(statement, (), arguments.get("repeatable")), script)

    @pytest.mark.parametrize(
        "statement",
        ["select 1", " WITH a AS (SELECT 1) SELECT 1", "merge into t", "DELETE FROM t", "SHOW PIPES",
         "CREATE OR REPLACE VIEW v", "CREATE TABLE IF NOT EXISTS t", "DROP TABLE IF EXISTS t"],
    )  # fmt: skip
    def test_repeatable_by_their_nature(self, statement: str) -> None:
        assert self.run(statement, [500, result([["1"]])])[0] == [{"A": 1}]

    @pytest.mark.parametrize(
        "statement", ["INSERT INTO t VALUES (1)", "UPDATE t SET a = a + 1", "CREATE TABLE t (a INT)"]
    )
    def test_not_repeatable_unless_said(self, statement: str) -> None:
        with pytest.raises(SnowflakeUnavailable):
            self.run(statement, [500, result([])])
        assert self.run(statement, [500, result([])], repeatable=True)[0] == []

    def test_partitions_are_fetched(self) -> None:
        first = result([["1"]], partitionInfo=[{"rowCount": 1}, {"rowCount": 1}])
        rows, calls = self.run("SELECT 1", [first, httpx.Response(200, json={"data": [["2"]]})])
        assert rows == [{"A": 1}, {"A": 2}]
        assert (calls[1].path, calls[1].params["partition"]) == ("/api/v2/statements/h", "1")

    def test_a_running_statement_is_asked_for(self) -> None:
        running = httpx.Response(202, json={"statementHandle": "h"})
        rows, calls = self.run("SELECT 1", [running, running, result([["7"]])])
        assert rows == [{"A": 7}]
        assert [c.method for c in calls] == ["POST", "GET", "GET"]

    def test_a_locked_table_is_tried_again_and_a_refusal_is_not(self) -> None:
        locked = httpx.Response(422, json={"code": "000625", "message": "locked"})
        assert self.run("UPDATE t SET a = 1", [locked, result([["1"]])])[0] == [{"A": 1}]
        with pytest.raises(SqlError, match=r"no such table \[002003\]") as caught:
            self.run(
                "SELECT  *\nFROM t",
                [httpx.Response(422, json={"code": "002003", "message": "no such table"})],
            )
        assert caught.value.where == "SELECT * FROM t"

    def test_objects_cannot_be_bound(self) -> None:
        with pytest.raises(ConfigurationError, match="Cannot bind a list"):
            drive(SnowflakeRest(PROFILE)._statement("SELECT ?", ([1],), None), [])


class TestPipes:
    def test_files_go_in_chunks(self) -> None:
        files = [LandedFile(f"{i}", 0, 0, 1, 1, 5) for i in range(12_000)]
        pipes = SnowpipeRest(PROFILE)
        _, calls = drive(pipes._insert_files("raw.p", files), [200, 200, 200])
        assert [len(c.body["files"]) for c in calls] == [5_000, 5_000, 2_000]
        assert calls[0].path == "/v1/data/pipes/MADHATTER.RAW.P/insertFiles"
        assert calls[0].body["files"][0] == {"path": "0", "size": 5}

    def test_a_cut_report_is_read_to_its_end(self) -> None:
        def part(name: str, mark: str, *, whole: bool) -> httpx.Response:
            entry = {"path": name, "status": "LOADED", "rowsInserted": 1}
            return httpx.Response(
                200, json={"files": [entry], "nextBeginMark": mark, "completeResult": whole}
            )

        report, calls = drive(
            SnowpipeRest(PROFILE)._insert_report("RAW.P", "1_0"),
            [part("a", "1_1", whole=False), part("b", "1_2", whole=True)],
        )
        assert ([f.path for f in report.files], report.next_mark, report.active) == (["a", "b"], "1_2", 0)
        assert [c.params["beginMark"] for c in calls] == ["1_0", "1_1"]

    @pytest.mark.parametrize("name", ["P", "A.B.C.D"])
    def test_half_a_name_is_refused(self, name: str) -> None:
        with pytest.raises(ConfigurationError, match="not fully qualified"):
            SnowpipeRest(PROFILE).qualified(name)
        assert SnowpipeRest(PROFILE).qualified('raw."p"') == 'MADHATTER.RAW."p"'
