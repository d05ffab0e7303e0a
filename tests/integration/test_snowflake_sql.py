"""``madhatter sql apply`` and what its views say, on the local Snowflake."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from typer.testing import CliRunner

from madhatter_provider.cli.sql import app
from madhatter_provider.core.contracts.contract import Column, Contract
from madhatter_provider.core.errors import MadHatterError
from madhatter_provider.core.warehouse import ledger
from madhatter_provider.core.warehouse.ingest import ingest, ingests_of
from madhatter_provider.core.warehouse.ledger import LedgerRow
from madhatter_provider.hooks.snowpipe import SnowpipeHook
from madhatter_provider.testing.snowflake import RunningSnowflake

from .conftest import INCLUDE, Lander, search

pytestmark = pytest.mark.integration


def apply(server: RunningSnowflake, *options: str, **env: str) -> Any:
    known = {
        "SNOWFLAKE_ACCOUNT": "LOCAL", "SNOWFLAKE_USER": "TESTER", "SNOWFLAKE_HOST": "127.0.0.1",
        "SNOWFLAKE_PORT": str(server.port), "SNOWFLAKE_PRIVATE_KEY_FILE": str(server.folder / "user.p8"),
        "MADHATTER_LANDING_ROOT": server.landing_root,
    }  # fmt: skip
    folders = ["--include", str(INCLUDE / "sql"), "--contracts", str(INCLUDE / "contracts")]
    return CliRunner().invoke(app, ["apply", *folders, *options], env=known | env)


class TestApply:
    def test_again_changes_nothing(self, snowflake: RunningSnowflake) -> None:
        client = snowflake.client()
        columns = (
            "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME FROM INFORMATION_SCHEMA.COLUMNS ORDER BY 1, 2, 3"
        )
        before = client.execute(columns)
        done = apply(snowflake)
        assert done.exit_code == 0, done.output
        assert done.output.splitlines()[-1].endswith("0 columns added")
        assert client.execute(columns) == before

    def test_dry_run_prints_and_does_nothing(self, snowflake: RunningSnowflake) -> None:
        done = apply(snowflake, "--dry-run", SNOWFLAKE_PORT="1")
        assert done.exit_code == 0
        assert "CREATE PIPE IF NOT EXISTS RAW.CLICKS_PIPE" in done.output
        assert "CREATE WAREHOUSE" in apply(snowflake, "--dry-run", "--cloud").output

    @pytest.mark.parametrize(
        ("options", "env", "words"),
        [
            ((), {"SNOWFLAKE_USER": "NOBODY"}, "refused the key of user NOBODY"),
            ((), {"SNOWFLAKE_PRIVATE_KEY_FILE": "/nowhere.p8"}, "Cannot read the private key"),
            ((), {"MADHATTER_LANDING_ROOT": "gs://elsewhere/landing"}, "not to 'gs://elsewhere/landing/'"),
            (("--cloud",), {}, "--cloud needs --dry-run"),
            (("--contracts", "/nowhere"), {}, "No contract found"),
        ],
    )
    def test_what_is_wrong_is_said(
        self, snowflake: RunningSnowflake, options: tuple[str, ...], env: dict[str, str], words: str
    ) -> None:
        done = apply(snowflake, *options, **env)
        assert isinstance(done.exception, MadHatterError)
        assert words in str(done.exception)
        assert done.exception.remedy

    def test_a_new_column_of_a_contract_arrives(
        self, snowflake: RunningSnowflake, contracts: dict[str, Contract]
    ) -> None:
        old = contracts["iot_telemetry"]
        new = dataclasses.replace(old, columns=(*old.columns, Column("firmware", "string", "VARCHAR(32)")))
        snowflake.apply_sql({"iot_telemetry": new})
        assert snowflake.client().execute("SELECT FIRMWARE FROM CORE.IOT_TELEMETRY") == []
        snowflake.apply_sql(contracts)

    def test_a_ledger_of_an_earlier_version_gets_its_new_columns(self, snowflake: RunningSnowflake) -> None:
        client = snowflake.client()
        for column in ("ACKNOWLEDGED_AT", "ACKNOWLEDGED_BY", "ACKNOWLEDGED_REASON"):
            client.execute(f"ALTER TABLE OPS.SLICES DROP COLUMN {column}")
        assert apply(snowflake).output.splitlines()[-1].endswith("3 columns added")
        assert client.execute("SELECT ACKNOWLEDGED_REASON FROM OPS.SLICES WHERE STREAM = 'nobody'") == []


class TestViews:
    def test_every_view_answers(self, snowflake: RunningSnowflake) -> None:
        client = snowflake.client()
        views = client.execute("SELECT TABLE_SCHEMA, TABLE_NAME FROM INFORMATION_SCHEMA.VIEWS")
        assert len(views) >= 15
        for view in views:
            client.execute(f"SELECT * FROM {view['TABLE_SCHEMA']}.{view['TABLE_NAME']} LIMIT 1")

    def test_core_keeps_the_newest_of_every_key(self, snowflake: RunningSnowflake, lander: Lander) -> None:
        key = f"{lander.topic_id}-00000000"
        values = [search(1, event_id=key, results=n) for n in (1, 2, 3)] + [search(2, event_id=f"{key}-2")]
        hook = SnowpipeHook("snowflake_default")
        for wanted in ingests_of([lander.land(values)], "SEARCHES"):
            ingest(hook, hook.client, wanted, poll_seconds=0.05, timeout=20)
        found = hook.client.execute(
            "SELECT EVENT_ID, RESULTS, _OFFSET FROM CORE.SEARCHES WHERE _TOPIC_ID = ? ORDER BY 1",
            [lander.topic_id],
        )
        assert [(r["RESULTS"], r["_OFFSET"]) for r in found] == [(3, 2), (2, 3)]

    def test_freshness_and_unfinished_slices_come_from_the_ledger(self, snowflake: RunningSnowflake) -> None:
        def row(start: int, state: str, **facts: Any) -> LedgerRow:
            return LedgerRow(
                stream="fresh", topic_id="T", partition_id=0, start_offset=start, end_offset=start + 1,
                state=state, run_id="r", **facts,
            )  # fmt: skip

        client = snowflake.client()
        rows = [
            row(0, "loaded", rows_loaded=5, rows_quarantined=1, gate="fail"),
            row(1, "claimed"),
            row(2, "lost"),
        ]
        client.execute(*ledger.record(rows))
        (fresh,) = client.execute("SELECT * FROM MARTS.INGEST_FRESHNESS WHERE STREAM = 'fresh'")
        counts = ("ROWS_LOADED", "ROWS_QUARANTINED", "UNFINISHED_RANGES", "LOST_RANGES", "FAILED_GATES")
        assert [fresh[c] for c in counts] == [5, 1, 1, 1, 1]
        assert 0 <= fresh["SECONDS_SINCE_LOAD"] < 60
        (open_slice,) = client.execute("SELECT * FROM MARTS.UNFINISHED_SLICES WHERE STREAM = 'fresh'")
        assert open_slice["START_OFFSET"] == 1

    def test_the_fullest_pane_of_a_minute_counts(self, snowflake: RunningSnowflake) -> None:
        client = snowflake.client()
        window = "'2026-11-24T06:00:00Z', '2026-11-24T06:01:00Z'"
        for offset, events in enumerate((4, 7, 2)):  # the last one by a job that began again in mid-window
            client.execute(
                "INSERT INTO RAW.STREAM_METRICS (METRIC_ID, EMITTED_TIME, WINDOW_START, WINDOW_END, METRIC, "
                'DIMENSION, EVENTS, "VALUE", _TOPIC_ID, _PARTITION, _OFFSET) SELECT '
                f"'sales|fullest|XX', '2026-11-24T06:0{offset + 1}:30Z', {window}, 'sales', 'XX', "
                f"{events}, {events * 10}, 'fullest', 0, {offset}"
            )
        found = client.execute(
            "SELECT EVENTS FROM MARTS.STREAM_METRICS_PER_MINUTE WHERE DIMENSION = 'XX' AND METRIC = 'sales'"
        )
        assert [int(r["EVENTS"]) for r in found] == [7]
