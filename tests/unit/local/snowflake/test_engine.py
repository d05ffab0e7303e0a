"""The local engine: persistence, MERGE, statements that fakesnow lacks, errors, writers side by side."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import snowflake.connector.errors as sf
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from madhatter_provider.local.snowflake.auth import fingerprint, pem_of
from madhatter_provider.local.snowflake.engine import LocalSnowflake

Run = Callable[..., list[tuple[Any, ...]]]
SETUP = (
    "CREATE DATABASE DB", "CREATE SCHEMA DB.S", "USE SCHEMA DB.S", "CREATE TABLE T (A INT, B VARCHAR)",
    "CREATE FILE FORMAT PARQUET TYPE = PARQUET", "CREATE STAGE ST URL = 'file:///landing/'",
)  # fmt: skip
COPY = "FROM @ST FILE_FORMAT = (FORMAT_NAME = 'PARQUET') MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE"
PIPE = f"CREATE PIPE P COMMENT = 'it''s' AS COPY INTO T {COPY}"


def session(engine: LocalSnowflake, database: str | None = None, schema: str | None = None) -> Run:
    connection = engine.connect(database, schema)

    def run(statement: str, *bindings: Any) -> list[tuple[Any, ...]]:
        found: Any = (
            connection.cursor()
            .execute(statement, binding_params=list(bindings) or None, server=True)
            .fetchall()
        )
        return list(found)

    return run


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[LocalSnowflake]:
    engine = LocalSnowflake(tmp_path)
    yield engine
    engine.close()


@pytest.fixture
def run(engine: LocalSnowflake) -> Run:
    run = session(engine)
    for statement in SETUP:
        run(statement)
    return run


def test_everything_is_there_after_a_restart(tmp_path: Path, engine: LocalSnowflake, run: Run) -> None:
    run("INSERT INTO T VALUES (1, 'a')")
    run("CREATE VIEW V AS SELECT A FROM T")
    run(PIPE)
    run("ALTER PIPE P SET PIPE_EXECUTION_PAUSED = TRUE")
    engine.close()
    again = LocalSnowflake(tmp_path)
    try:
        run = session(again, "DB", "S")
        assert run("SELECT A FROM V") == [(1,)]
        assert run("SHOW STAGES LIKE 'ST'")[0][4] == "file:///landing/"
        assert run("SHOW PIPES")[0][1] == "P"
        assert '"PAUSED"' in run("SELECT SYSTEM$PIPE_STATUS('P')")[0][0]
        assert run(f"COPY INTO T {COPY}") == [("Copy executed with 0 files processed.",)]
    finally:
        again.close()


class TestMerge:
    STATEMENT = (
        "MERGE INTO T AS t USING (SELECT r.VALUE:A::INT AS A, r.VALUE:B::VARCHAR AS B "
        "FROM (SELECT PARSE_JSON(?) AS DOC) AS d, LATERAL FLATTEN(INPUT => d.DOC) AS r) AS s ON t.A = s.A "
        "WHEN MATCHED AND s.B = 'gone' THEN DELETE "
        "WHEN MATCHED THEN UPDATE SET t.B = IFF(s.B > t.B, s.B, t.B) "
        "WHEN NOT MATCHED THEN INSERT (A, B) VALUES (s.A, s.B)"
    )

    def test_counts_and_effects(self, run: Run) -> None:
        assert run(self.STATEMENT, '[{"A": 1, "B": "b"}, {"A": 2, "B": "b"}]') == [(2, 0, 0)]
        assert run(self.STATEMENT, '[{"A": 1, "B": "a"}, {"A": 2, "B": "gone"}, {"A": 3}]') == [(1, 1, 1)]
        assert run("SELECT A, B FROM T ORDER BY A") == [(1, "b"), (3, None)]

    def test_the_same_text_means_another_table_in_another_schema(
        self, engine: LocalSnowflake, run: Run
    ) -> None:
        run(self.STATEMENT, '[{"A": 1}]')
        run("CREATE SCHEMA DB.OTHER")
        run("CREATE TABLE DB.OTHER.T (A INT, B VARCHAR)")
        other = session(engine, "DB", "OTHER")
        other(self.STATEMENT, '[{"A": 9}]')
        assert other("SELECT A FROM T") == [(9,)]
        assert run("SELECT A FROM DB.S.T") == [(1,)]

    def test_writers_of_the_same_row_wait_for_each_other(self, engine: LocalSnowflake, run: Run) -> None:
        run("INSERT INTO T VALUES (1, '0')")
        failures: list[Exception] = []

        def count_up() -> None:
            mine = session(engine, "DB", "S")
            for _ in range(10):
                try:
                    mine("UPDATE T SET B = (B::INT + 1)::VARCHAR WHERE A = 1")
                    mine(
                        "MERGE INTO T USING (SELECT 1 AS A) AS s ON T.A = s.A "
                        "WHEN MATCHED THEN UPDATE SET B = (B::INT + 1)::VARCHAR"
                    )
                except sf.Error as err:
                    failures.append(err)

        threads = [threading.Thread(target=count_up) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert run("SELECT B FROM T") == [("120",)]


class TestPipes:
    def test_created_once_described_and_dropped(self, run: Run) -> None:
        assert run(PIPE) == [("Pipe P successfully created.",)]
        with pytest.raises(sf.ProgrammingError, match="already exists"):
            run(PIPE)
        assert run(PIPE.replace("PIPE P", "PIPE IF NOT EXISTS P")) == [
            ("P already exists, statement succeeded.",)
        ]
        assert run("DESCRIBE PIPE DB.S.P")[0][7] == "it's"
        assert run("SHOW PIPES LIKE 'q%'") == []
        assert len(run("SHOW PIPES IN SCHEMA DB.S")) == 1
        assert run("SHOW PIPES IN SCHEMA DB.OTHER") == []
        run("DROP PIPE P")
        assert run("DROP PIPE IF EXISTS P") == [("Drop statement executed successfully.",)]
        with pytest.raises(sf.ProgrammingError, match=r"'DB\.S\.P' does not exist"):
            run("DESC PIPE P")

    @pytest.mark.parametrize(
        ("changed", "words"),
        [
            (("INTO T", "INTO NOWHERE"), r"Table 'DB\.S\.NOWHERE' does not exist"),
            (("@ST", "@NOWHERE"), r"Stage 'DB\.S\.NOWHERE' does not exist"),
            (("FROM @ST", "FROM (SELECT $1 FROM @ST)"), "without a SELECT"),
            (("MATCH_BY", "ON_ERROR = CONTINUE MATCH_BY"), "ON_ERROR = SKIP_FILE only"),
        ],
    )
    def test_what_it_cannot_do_is_refused_at_once(
        self, run: Run, changed: tuple[str, str], words: str
    ) -> None:
        with pytest.raises(sf.ProgrammingError, match=words):
            run(PIPE.replace(*changed))
        assert run("SHOW PIPES") == []


@pytest.mark.parametrize(
    "statement",
    [
        "GRANT USAGE ON DATABASE DB TO ROLE R", "USE ROLE R", "USE WAREHOUSE W", "DROP ROLE IF EXISTS R",
        "CREATE WAREHOUSE W WAREHOUSE_SIZE = XSMALL", "-- why\n/* so */ ALTER SESSION SET QUERY_TAG = 'x'",
        "CREATE OR REPLACE STORAGE INTEGRATION I TYPE = EXTERNAL_STAGE", "REVOKE ALL ON SCHEMA S FROM ROLE R",
    ],
)  # fmt: skip
def test_what_means_nothing_here_is_accepted(run: Run, statement: str) -> None:
    assert run(statement) == [("Statement executed successfully.",)]


@pytest.mark.parametrize(
    ("statement", "number"),
    [
        ("SELEC 1", 1003),
        ("SELECT * FROM NOWHERE", 2003),
        ("SELECT C FROM T", 2043),
        ("SELECT 'x'::INT", 100035),
    ],
)
def test_every_failure_is_a_snowflake_error(run: Run, statement: str, number: int) -> None:
    with pytest.raises(sf.ProgrammingError) as caught:
        run(statement)
    assert caught.value.errno == number


def test_force_false_does_not_load_again(run: Run, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"a": [1, 2]}), tmp_path / "a.parquet")
    run(f"CREATE STAGE HERE URL = '{tmp_path.as_uri()}/'")
    copy = (
        "COPY INTO T FROM @HERE FILES = ('a.parquet') FILE_FORMAT = (TYPE = PARQUET) "
        "MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE FORCE = "
    )
    run(copy + "FALSE")
    assert run(copy + "FALSE")[0][1] == "LOAD_SKIPPED"
    run(copy + "TRUE")
    assert run("SELECT COUNT(*) FROM T") == [(4,)]


def test_binaries_may_have_a_length(run: Run) -> None:
    run("CREATE TABLE B (V BINARY(4) NOT NULL)")
    run("ALTER TABLE B ADD COLUMN W VARBINARY(67108864)")
    names = run("SELECT COLUMN_NAME FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_NAME = 'B'")
    assert names == [("V",), ("W",)]


def test_results_are_not_kept_for_ever(engine: LocalSnowflake, run: Run) -> None:
    for i in range(300):
        run(f"SELECT {i}")
    assert len(engine.results_cache) <= 256


def test_keys_are_kept_by_user_and_number(engine: LocalSnowflake, run: Run) -> None:
    def key() -> str:
        public = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
        kind = serialization.PublicFormat.SubjectPublicKeyInfo
        return (
            public.public_bytes(serialization.Encoding.PEM, kind).decode().split("-----")[2].replace("\n", "")
        )

    first, second, third = key(), key(), key()
    run(f"ALTER USER bob SET RSA_PUBLIC_KEY = '{first}'")
    run(f"ALTER USER BOB SET RSA_PUBLIC_KEY_2 = '{second}'")
    run(f"ALTER USER BOB SET RSA_PUBLIC_KEY = '{third}'")
    known = [fingerprint(k) for k in engine.catalog.keys_of("Bob")]
    assert known == [fingerprint(pem_of(third)), fingerprint(pem_of(second))]
