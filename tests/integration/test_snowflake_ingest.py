"""From landing files to proved rows, through the local server's Snowpipe API."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from airflow.sdk import DAG, task

from madhatter_provider.core.errors import ConfigurationError, ConservationError, LoadError, LoadTimeout
from madhatter_provider.core.landing.manifest import LandedFile, Manifest
from madhatter_provider.core.warehouse.gate import compile_gate, judge
from madhatter_provider.core.warehouse.ingest import Ingest, ingest, ingests_of
from madhatter_provider.hooks.snowpipe import SnowpipeHook
from madhatter_provider.operators.snowpipe import SnowpipeIngestOperator
from madhatter_provider.testing.snowflake import RunningSnowflake

from .conftest import Lander, search

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

pytestmark = pytest.mark.integration
CONTRACT = str(Path(__file__).parents[2] / "include/contracts/searches.odcs.yaml")


@pytest.fixture
def hook(snowflake: RunningSnowflake) -> SnowpipeHook:
    return SnowpipeHook("snowflake_default", timeout=20)


def load(hook: SnowpipeHook, *manifests: Manifest, timeout: float = 20.0) -> list[tuple[str, int, int]]:
    wanted = ingests_of(manifests, "SEARCHES")
    done = [ingest(hook, hook.client, w, poll_seconds=0.1, timeout=timeout) for w in wanted]
    return [(w.table, d.files, d.rows) for w, d in zip(wanted, done, strict=True)]


class TestIngest:
    def test_good_and_quarantined_rows_arrive_with_their_values(
        self, hook: SnowpipeHook, lander: Lander
    ) -> None:
        values = [search(i) for i in range(20)] + [b"{broken", search(21, results="many")]
        manifest = lander.land(values)
        assert load(hook, manifest) == [("RAW.SEARCHES", 1, 20), ("RAW.QUARANTINE", 1, 2)]
        row = hook.client.execute(
            "SELECT * FROM RAW.SEARCHES WHERE _TOPIC_ID = ? AND _OFFSET = 7", [lander.topic_id]
        )[0]
        assert row["QUERY"] == 'top hat\'s \\ "size"'
        assert row["EVENT_TIME"] == datetime(2026, 11, 24, 6, 0, 0, 123456, tzinfo=UTC)
        assert (row["RESULTS"], row["_PARTITION"], row["_KEY"]) == (7, 0, "key")
        bad = hook.client.execute(
            'SELECT RAW, REASON, "COLUMN" FROM RAW.QUARANTINE WHERE _TOPIC_ID = ? ORDER BY _OFFSET',
            [lander.topic_id],
        )
        assert bad[0]["RAW"] == b"{broken"
        assert bad[1]["COLUMN"] == "results"

    def test_again_loads_nothing_twice(self, hook: SnowpipeHook, lander: Lander) -> None:
        manifest = lander.land([search(i) for i in range(5)])
        assert load(hook, manifest) == load(hook, manifest)
        hook.insert_files("RAW.SEARCHES_PIPE", manifest.files)
        time.sleep(0.3)
        counted = hook.client.execute(
            "SELECT COUNT(*) AS N FROM RAW.SEARCHES WHERE _TOPIC_ID = ?", [lander.topic_id]
        )
        assert counted == [{"N": 5}]

    def test_the_same_file_named_many_times_at_once_loads_once(
        self, hook: SnowpipeHook, lander: Lander
    ) -> None:
        manifest = lander.land([search(i) for i in range(5)])
        hooks = [SnowpipeHook("snowflake_default") for _ in range(8)]
        threads = [
            threading.Thread(target=h.insert_files, args=("RAW.SEARCHES_PIPE", manifest.files * 3))
            for h in hooks
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert load(hook, manifest) == [("RAW.SEARCHES", 1, 5)]

    def test_a_refused_file_ends_it_and_spares_its_neighbours(
        self, hook: SnowpipeHook, lander: Lander, snowflake: RunningSnowflake
    ) -> None:
        good, bad = lander.land([search(1)]), lander.land([search(2)])
        path = snowflake.landing / bad.files[0].path
        table = pq.read_table(path)
        results = pa.array(["many"] * table.num_rows)
        pq.write_table(table.set_column(table.column_names.index("results"), "results", results), path)
        with pytest.raises(LoadError, match="many") as caught:
            load(hook, good, bad)
        assert bad.files[0].path in caught.value.what
        assert load(hook, good) == [("RAW.SEARCHES", 1, 1)]

    def test_a_missing_file_is_named(self, hook: SnowpipeHook, lander: Lander) -> None:
        file = LandedFile("searches/gone/0/1.parquet", 0, 0, 1, rows=1, bytes=1)
        with pytest.raises(LoadError, match=r"searches/gone/0/1\.parquet"):
            ingest(
                hook,
                hook.client,
                Ingest("RAW.SEARCHES_PIPE", "RAW.SEARCHES", lander.topic_id, (file,)),
                timeout=20,
            )

    def test_rows_too_many_and_too_few_are_told(self, hook: SnowpipeHook, lander: Lander) -> None:
        manifest = lander.land([search(i) for i in range(3)])
        load(hook, manifest)
        file = manifest.files[0]
        for rows in (2, 4):
            wrong = LandedFile(file.path, 0, 0, 3, rows=rows, bytes=file.bytes)
            wanted = Ingest("RAW.SEARCHES_PIPE", "RAW.SEARCHES", lander.topic_id, (wrong,))
            with pytest.raises((ConservationError, LoadTimeout)):
                ingest(hook, hook.client, wanted, poll_seconds=0.05, timeout=0.5)

    def test_a_paused_pipe_times_out_and_a_later_try_finishes(
        self, hook: SnowpipeHook, lander: Lander
    ) -> None:
        manifest = lander.land([search(1)])
        hook.client.execute("ALTER PIPE RAW.SEARCHES_PIPE SET PIPE_EXECUTION_PAUSED = TRUE")
        try:
            with pytest.raises(LoadTimeout, match="1 of 1 files"):
                load(hook, manifest, timeout=0.5)
            status = hook.pipe_status("RAW.SEARCHES_PIPE")
            assert (status["executionState"], status["pendingFileCount"]) == ("PAUSED", 1)
        finally:
            hook.client.execute("ALTER PIPE RAW.SEARCHES_PIPE SET PIPE_EXECUTION_PAUSED = FALSE")
        assert load(hook, manifest) == [("RAW.SEARCHES", 1, 1)]

    def test_an_unknown_pipe_is_named(self, hook: SnowpipeHook, lander: Lander) -> None:
        with pytest.raises(ConfigurationError, match="404") as caught:
            hook.insert_report("RAW.NO_SUCH_PIPE")
        assert "MADHATTER.RAW.NO_SUCH_PIPE" in caught.value.where

    @pytest.mark.parametrize("status", [429, 500, "drop", "drop-after"])
    def test_faults_of_the_api_are_survived(
        self, hook: SnowpipeHook, lander: Lander, snowflake: RunningSnowflake, status: int | str
    ) -> None:
        manifest = lander.land([search(i) for i in range(3)])
        snowflake.fault("insertFiles", status, times=2)
        snowflake.fault("insertReport", status, times=2)
        assert load(hook, manifest) == [("RAW.SEARCHES", 1, 3)]

    def test_more_files_than_one_call_takes(self, hook: SnowpipeHook) -> None:
        files = [LandedFile(f"nowhere/{i}.parquet", 0, i, i + 1, rows=1, bytes=1) for i in range(5_001)]
        hook.client.execute(
            "CREATE OR REPLACE PIPE RAW.MANY_PIPE AS COPY INTO RAW.SEARCHES FROM @RAW.LANDING "
            "FILE_FORMAT = (FORMAT_NAME = 'RAW.PARQUET') MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE"
        )
        hook.client.execute("ALTER PIPE RAW.MANY_PIPE SET PIPE_EXECUTION_PAUSED = TRUE")
        hook.insert_files("RAW.MANY_PIPE", files)
        assert hook.pipe_status("RAW.MANY_PIPE")["pendingFileCount"] == 5_001
        hook.client.execute("DROP PIPE RAW.MANY_PIPE")

    def test_history_names_what_was_loaded(self, hook: SnowpipeHook, lander: Lander) -> None:
        began = datetime.now(UTC)
        manifest = lander.land([search(1)])
        load(hook, manifest)
        loaded = {f.path: f for f in hook.load_history_scan("RAW.SEARCHES_PIPE", began)}
        assert loaded[manifest.files[0].path].rows == 1
        assert hook.load_history_scan("RAW.SEARCHES_PIPE", began, began) == []


class TestFastGate:
    def test_a_good_slice_passes_and_counts_its_own_rows_only(
        self, hook: SnowpipeHook, lander: Lander
    ) -> None:
        before, manifest = lander.land([search(1)]), lander.land([search(i) for i in range(2, 10)])
        load(hook, before, manifest)
        statement, bindings = compile_gate(lander.contract, lander.topic_id, [(0, 1, 9)])
        result = judge(lander.contract, hook.client.execute(statement, bindings)[0])
        assert (result.decision, result.row_count) == ("pass", 8)

    def test_broken_rows_and_duplicates_are_measured(self, hook: SnowpipeHook, lander: Lander) -> None:
        manifest = lander.land([search(i % 5) for i in range(10)])
        load(hook, manifest)
        hook.client.execute(
            "UPDATE RAW.SEARCHES SET LATENCY_MS = -1, COUNTRY = NULL WHERE _TOPIC_ID = ? AND _OFFSET < 2",
            [lander.topic_id],
        )
        statement, bindings = compile_gate(lander.contract, lander.topic_id, [(0, 0, 10)])
        result = judge(lander.contract, hook.client.execute(statement, bindings)[0], quarantined=1)
        broken = {r.id: r.measured for r in result.broken}
        assert result.decision == "fail"
        assert broken == {"country.nulls": 2, "latency_ms.outside": 2, "event_id_unique": 50.0}


class TestOperator:
    @pytest.fixture
    def run(self, lander: Lander, run_dag: Callable[..., DagRun]) -> Callable[..., DagRun]:
        def run(*manifests: Manifest, **arguments: Any) -> DagRun:
            with DAG(f"ingest_{lander.topic_id}", schedule=None, start_date=datetime(2026, 1, 1)) as dag:

                @task
                def landed() -> list[dict[str, Any]]:
                    return [m.to_json() for m in manifests]

                SnowpipeIngestOperator(
                    task_id="ingest", contract=CONTRACT, manifests=landed(), poll_seconds=0.1, **arguments
                )
            return run_dag(dag)

        return run

    def test_loads_in_the_worker(self, run: Callable[..., DagRun], lander: Lander) -> None:
        done = run(lander.land([search(1), b"x"]), lander.land([search(2)]))
        assert done.state == "success"
        assert result_of(done) == {"RAW.SEARCHES": 2, "RAW.QUARANTINE": 1}

    def test_defers_when_it_takes_longer_and_goes_on(
        self, run: Callable[..., DagRun], lander: Lander, hook: SnowpipeHook
    ) -> None:
        hook.client.execute("ALTER PIPE RAW.SEARCHES_PIPE SET PIPE_EXECUTION_PAUSED = TRUE")
        resume = "ALTER PIPE RAW.SEARCHES_PIPE SET PIPE_EXECUTION_PAUSED = FALSE"
        timer = threading.Timer(6.0, lambda: SnowpipeHook("snowflake_default").client.execute(resume))
        timer.start()
        try:
            done = run(lander.land([search(1)]), defer_after=0.2, load_timeout=40)
        finally:
            timer.cancel()
            hook.client.execute(resume)
        assert done.state == "success"
        assert result_of(done) == {"RAW.SEARCHES": 1}

    def test_a_refused_file_fails_the_task_without_retry(
        self, run: Callable[..., DagRun], lander: Lander
    ) -> None:
        manifest = lander.land([search(1)])
        gone = LandedFile("searches/gone/0/2.parquet", 0, 5, 6, rows=1, bytes=1)
        broken = Manifest.from_json({**manifest.to_json(), "files": [vars_of(gone)]})
        done = run(broken, retries=3)
        assert done.state == "failed"
        (ingest_task,) = [t for t in done.get_task_instances() if t.task_id == "ingest"]
        assert ingest_task.try_number == 1


def vars_of(file: LandedFile) -> dict[str, Any]:
    return {name: getattr(file, name) for name in file.__slots__}


def result_of(done: DagRun) -> Any:
    (ingest_task,) = [t for t in done.get_task_instances() if t.task_id == "ingest"]
    return ingest_task.xcom_pull(task_ids="ingest")
