"""Putting SQL files in order, filling them in, splitting them."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlglot
from hypothesis import given
from hypothesis import strategies as st

from madhatter_provider.core.contracts.contract import load_contracts
from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.core.warehouse.sql import (
    add_missing_columns,
    create_table,
    landing_url,
    literal,
    quote,
    render,
    script,
    split_statements,
)

INCLUDE = Path(__file__).parents[4] / "include"
CONTRACTS = load_contracts(INCLUDE / "contracts")


class TestSplitting:
    @pytest.mark.parametrize(
        ("text", "statements"),
        [
            ("SELECT 1; SELECT 2;", ["SELECT 1", "SELECT 2"]),
            ("SELECT ';' ; SELECT \"a;b\"", ["SELECT ';'", 'SELECT "a;b"']),
            ("-- a; b\nSELECT 1 -- c; d\n;/* e; */", ["SELECT 1"]),
            (r"SELECT 'it\';s', 'it'';s'; SELECT 2", [r"SELECT 'it\';s', 'it'';s'", "SELECT 2"]),
            ("CALL p($$ a; b; $$); SELECT 1 - 2 / 3", ["CALL p($$ a; b; $$)", "SELECT 1 - 2 / 3"]),
            (";;  ;\n", []),
        ],
    )  # fmt: skip
    def test_semicolons_split_only_outside_of_literals_and_comments(
        self, text: str, statements: list[str]
    ) -> None:
        assert split_statements(text) == statements

    @given(st.lists(st.text(alphabet="ab'\\\"; -/*$\n", max_size=20), max_size=5))
    def test_any_text_as_a_literal_stays_one_statement(self, texts: list[str]) -> None:
        statements = [f"SELECT {literal(t)}" for t in texts]
        assert split_statements(";\n".join(statements)) == statements


class TestRendering:
    def test_names_are_replaced_and_unknown_ones_named(self) -> None:
        assert render("a {{ x }} {{y}}", {"x": "1", "y": "{{ x }}"}) == "a 1 {{ x }}"
        with pytest.raises(ConfigurationError, match="nope") as caught:
            render("{{ nope }}", {"x": "1"}, where="a.sql")
        assert caught.value.where == "a.sql"

    @pytest.mark.parametrize(
        ("root", "url"),
        [
            ("gs://bucket/a%20b", "gs://bucket/a%20b/"),
            ("file:///tmp/a%20b/", "file:///tmp/a b/"),
            ("s3://bucket", "s3://bucket/"),
        ],
    )
    def test_landing_root_becomes_a_stage_url(self, root: str, url: str) -> None:
        assert landing_url(root) == url

    def test_a_quote_in_the_landing_root_cannot_end_the_literal(self) -> None:
        (stage,) = [
            s.text for s in script(INCLUDE / "sql", CONTRACTS, landing_root="file:///tmp/o'brien")
            if "CREATE STAGE" in s.text
        ]  # fmt: skip
        assert "'file:///tmp/o''brien/'" in stage


class TestTables:
    def test_a_table_has_the_contracts_columns_and_the_coordinates(self) -> None:
        parsed = sqlglot.parse_one(create_table(CONTRACTS["iot_telemetry"]), read="snowflake")
        names = [c.name for c in parsed.this.expressions]
        assert names == [quote(c).strip('"') for c in CONTRACTS["iot_telemetry"].by_name] + [
            "_TOPIC_ID", "_PARTITION", "_OFFSET", "_TIMESTAMP", "_KEY", "_HEADERS",
        ]  # fmt: skip

    def test_new_columns_of_a_contract_are_added(self) -> None:
        contract = CONTRACTS["clicks"]
        assert add_missing_columns(contract, [c.name.upper() for c in contract.columns]) == []
        assert add_missing_columns(contract, [c.name for c in contract.columns if c.name != "country"]) == [
            'ALTER TABLE RAW.CLICKS ADD COLUMN "COUNTRY" VARCHAR(2)'
        ]


class TestScript:
    def test_files_come_in_order_and_the_administrators_part_stays_out(self) -> None:
        statements = script(INCLUDE / "sql", CONTRACTS, landing_root="gs://bucket/landing")
        files = [s.file for s in statements]
        assert files == sorted(files)
        assert not [f for f in files if "cloud_only" in f]
        pipe = next(s for s in statements if s.file == "15_pipes/01_streams.sql")
        assert pipe.title.startswith("CREATE PIPE IF NOT EXISTS RAW.CLICKS_PIPE")

    def test_every_statement_may_be_repeated(self) -> None:
        for statement in script(INCLUDE / "sql", CONTRACTS, landing_root="gs://bucket/landing"):
            assert "IF NOT EXISTS" in statement.text or statement.text.startswith(
                ("CREATE OR REPLACE", "MERGE INTO")
            ), statement

    def test_cloud_statements_are_snowflake_and_name_the_bucket(self) -> None:
        texts = [s.text for s in script(INCLUDE / "sql", CONTRACTS, landing_root="gs://b/l", cloud_only=True)]
        assert any("STORAGE_ALLOWED_LOCATIONS = ('gs://b/l/')" in t for t in texts)
        for text in texts:
            sqlglot.parse_one(text, read="snowflake")

    def test_in_the_cloud_the_stage_uses_the_integration(self) -> None:
        def stage(root: str) -> str:
            found = script(INCLUDE / "sql", CONTRACTS, landing_root=root)
            return next(s.text for s in found if "CREATE STAGE" in s.text)

        assert "STORAGE_INTEGRATION" in stage("gs://bucket")
        assert "STORAGE_INTEGRATION" not in stage("file:///landing")

    def test_a_folder_adds_files_and_replaces_the_package_s_own(self, tmp_path: Path) -> None:
        (tmp_path / "20_core").mkdir()
        (tmp_path / "20_core/01_streams.sql").write_text("SELECT 1;")
        (tmp_path / "20_core/02_more.sql").write_text("SELECT 2;")
        packaged = script(None, CONTRACTS, landing_root="gs://b")
        both = script(tmp_path, CONTRACTS, landing_root="gs://b")
        assert [s.text for s in both if s.file.startswith("20_core")] == ["SELECT 1", "SELECT 2"]
        assert [s for s in both if s.file < "20"] == [s for s in packaged if s.file < "20"]
        assert {s.file.split("/")[0] for s in packaged} >= {"00_setup", "10_raw", "15_pipes", "60_quality"}

    def test_an_empty_folder_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match="No SQL file"):
            script(tmp_path, CONTRACTS, landing_root="gs://b")
