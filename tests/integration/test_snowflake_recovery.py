"""The local server is killed with SIGKILL at bad moments and started again: nothing is lost, nothing is there
twice.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator

import pytest

from madhatter_provider.core.contracts.contract import Contract
from madhatter_provider.core.errors import SnowflakeUnavailable
from madhatter_provider.core.warehouse import ledger
from madhatter_provider.core.warehouse.ingest import ingest, ingests_of
from madhatter_provider.core.warehouse.ledger import LedgerRow
from madhatter_provider.hooks.snowflake_rest import SnowflakeRest
from madhatter_provider.hooks.snowpipe import SnowpipeRest
from madhatter_provider.testing.snowflake import RunningSnowflake

from .conftest import Lander, StartSnowflake, search

pytestmark = [pytest.mark.integration, pytest.mark.chaos]


@pytest.fixture(scope="module")
def server(start_snowflake: StartSnowflake) -> Iterator[RunningSnowflake]:
    """A server of this module's own, with an ``insertReport`` that forgets after a second."""
    running = start_snowflake("--report-seconds", "1")
    yield running
    running.stop(grace=0)


@pytest.fixture
def lander(server: RunningSnowflake, contracts: dict[str, Contract]) -> Lander:
    return Lander(contracts["searches"], server.landing_root)


def offsets(server: RunningSnowflake, lander: Lander) -> list[int]:
    found = server.client().execute(
        "SELECT _OFFSET FROM RAW.SEARCHES WHERE _TOPIC_ID = ? ORDER BY _OFFSET", [lander.topic_id]
    )
    return [r["_OFFSET"] for r in found]


@pytest.mark.parametrize("after", [1, 60])
def test_a_kill_in_mid_load_loses_nothing_and_loads_nothing_twice(
    server: RunningSnowflake, lander: Lander, after: int
) -> None:
    manifests = [lander.land([search(i) for i in range(5)]) for _ in range(150)]
    (wanted,) = ingests_of(manifests, "SEARCHES")
    pipes, client = SnowpipeRest(server.profile, timeout=20), server.client()
    pipes.insert_files(wanted.pipe, wanted.files)
    while (waiting := pending(client)) > 150 - after:
        pass
    server.stop(grace=0)
    assert waiting, "the load was over before the kill: this test proved nothing"
    server.start()
    there = offsets(server, lander)
    assert len(there) == len(set(there)), "loaded twice"
    assert len(there) % 5 == 0, "a file was loaded in part"
    done = ingest(pipes, server.client(), wanted, poll_seconds=0.1, timeout=30)
    assert done.rows == 750
    assert offsets(server, lander) == list(range(750))


def pending(client: SnowflakeRest) -> int:
    status = client.execute("SELECT SYSTEM$PIPE_STATUS('RAW.SEARCHES_PIPE') AS STATUS")[0]["STATUS"]
    return int(json.loads(status)["pendingFileCount"])


def test_what_was_accepted_is_loaded_after_the_restart(server: RunningSnowflake, lander: Lander) -> None:
    manifest = lander.land([search(i) for i in range(3)])
    pipes = SnowpipeRest(server.profile, timeout=20)
    server.client().execute("ALTER PIPE RAW.SEARCHES_PIPE SET PIPE_EXECUTION_PAUSED = TRUE")
    pipes.insert_files("RAW.SEARCHES_PIPE", manifest.files)
    server.stop(grace=0)
    server.start()
    assert offsets(server, lander) == []
    server.client().execute("ALTER PIPE RAW.SEARCHES_PIPE SET PIPE_EXECUTION_PAUSED = FALSE")
    deadline = time.monotonic() + 10
    while len(offsets(server, lander)) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(1.2)  # the report has forgotten the file; counting proves it
    (wanted,) = ingests_of([manifest], "SEARCHES")
    done = ingest(pipes, server.client(), wanted, poll_seconds=0.1, timeout=20)
    assert (done.rows, done.reported) == (3, 0)


def test_an_answered_statement_survives_and_a_client_waits_for_the_restart(server: RunningSnowflake) -> None:
    client = server.client(timeout=40)
    client.execute("CREATE OR REPLACE TABLE RAW.KEPT (A INT)")
    written = 0
    for i in range(5):
        client.execute(f"INSERT INTO RAW.KEPT VALUES ({i})")
        written += 1
    server.stop(grace=0)
    with pytest.raises(SnowflakeUnavailable):
        server.client(timeout=0.5).execute("SELECT 1")
    restart = threading.Timer(0.5, server.start)
    restart.start()
    try:
        assert client.execute("SELECT COUNT(*) AS N FROM RAW.KEPT") == [{"N": written}]
    finally:
        restart.join()


@pytest.mark.parametrize("after", [0.1, 0.3])
def test_ledger_merge_is_all_or_nothing(server: RunningSnowflake, after: float) -> None:
    rows = [
        LedgerRow(
            stream=f"kill{after}",
            topic_id="k",
            partition_id=0,
            start_offset=o,
            end_offset=o + 1,
            state="claimed",
        )
        for o in range(8_000)
    ]
    count = (f"SELECT COUNT(*) AS N FROM OPS.SLICES WHERE STREAM = 'kill{after}'", ())

    def record() -> None:
        with contextlib.suppress(SnowflakeUnavailable):
            server.client(timeout=1.0).execute(*ledger.record(rows))

    worker = threading.Thread(target=record)
    worker.start()
    time.sleep(after)
    server.stop(grace=0)
    worker.join()
    server.start()
    assert server.client().execute(*count)[0]["N"] in (0, 8_000)
    server.client().execute(*ledger.record(rows))
    assert server.client().execute(*count) == [{"N": 8_000}]


def test_objects_survive(server: RunningSnowflake, contracts: dict[str, Contract]) -> None:
    before = {r["name"] for r in server.client().execute("SHOW PIPES")}
    server.stop(grace=0)
    server.start()
    client = server.client()
    assert {r["name"] for r in client.execute("SHOW PIPES")} == before
    assert client.execute("SHOW STAGES LIKE 'LANDING' IN SCHEMA RAW")[0]["url"] == f"{server.landing_root}/"
    assert client.execute("SELECT COUNT(*) AS N FROM CORE.CLICKS") == [{"N": 0}]
    server.apply_sql(contracts)
