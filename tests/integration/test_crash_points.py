"""kill -9 at every named boundary between two steps; the next try heals it, whatever else dies on the way.

``MADHATTER_CRASH_SEEDS`` says how many kills each boundary gets; every one of them must hit.
"""

from __future__ import annotations

import os
import random
import signal
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from madhatter_provider.core.crash_points import POINTS
from madhatter_provider.testing.kafka import RunningKafka
from madhatter_provider.testing.snowflake import RunningSnowflake

from .crash_streams import CrashStream, Death, Worker

pytestmark = [pytest.mark.integration, pytest.mark.slow]
KILLS = int(os.environ.get("MADHATTER_CRASH_SEEDS", "1"))
TRIES_PER_KILL = 6
MakeRow = Callable[..., bytes]
Run = Callable[[str, Death | None], int]


def _of(*areas: str) -> list[str]:
    return [point for point in POINTS if point.split(".")[0] in areas]


_LANDING, _REPLAY, _QUARANTINE = _of("claim", "land", "ingest", "ledger"), _of("replay"), _of("quarantine")


def test_every_boundary_is_tried() -> None:
    """Those of the audit's repairs are in its own tests."""
    assert {*_LANDING, *_REPLAY, *_QUARANTINE} == set(POINTS) - {*_of("audit")}


@pytest.fixture(scope="module")
def worker(madhatter_kafka: RunningKafka, shared_snowflake: RunningSnowflake) -> Iterator[Worker]:
    connections = {
        "AIRFLOW_CONN_KAFKA_DEFAULT": madhatter_kafka.airflow_connection,
        "AIRFLOW_CONN_SNOWFLAKE_DEFAULT": shared_snowflake.airflow_connection,
    }
    started = Worker({**shared_snowflake.trust, **connections})
    yield started
    started.stop()


@pytest.fixture
def stream(
    madhatter_kafka: RunningKafka, snowflake: RunningSnowflake, worker: Worker, tmp_path: Path
) -> CrashStream:
    return CrashStream(f"crash_{uuid.uuid4().hex[:8]}", madhatter_kafka, snowflake, worker, tmp_path)


def kill_until_enough(point: str, run: Run, rng: random.Random) -> Iterator[str]:
    """Begin runs that die at a boundary until it has killed often enough; give each for its next try."""
    killed = 0
    for n in count(1):
        if killed == KILLS:
            return
        assert n <= TRIES_PER_KILL * KILLS, f"{point} has killed {killed} of {n - 1} runs"
        run_id = f"run-{n}"
        yield f"before {run_id}"
        struck = run(run_id, (point, 1 if n == 1 else rng.randint(1, 2)))
        assert struck in (0, signal.SIGKILL)
        killed += bool(struck)
        yield run_id


@pytest.mark.parametrize("point", _LANDING)
def test_landing_survives_kill_nine(stream: CrashStream, point: str, search_row: MakeRow) -> None:
    rng = random.Random(point)
    sent = 0
    for step in kill_until_enough(point, stream.land, rng):
        if step.startswith("before"):
            some = rng.randint(20, 60)
            sent += stream.send(b"oops" if i % 20 == 13 else search_row(sent + i) for i in range(some))
            continue
        if rng.random() < 0.3:  # death on the way back
            stream.land(step, (rng.choice(_LANDING), 1))
        assert stream.land(step) == 0
    assert stream.land("last") == 0
    verdict = stream.verdict()
    assert verdict.ok, verdict
    assert (verdict.produced, stream.ledger()["UNLOADED"]) == (sent, 0)


_FEW = ("land.after_rename", "ingest.after_insert", "ledger.before_loaded")


def test_the_detailed_composition_survives_kill_nine(stream: CrashStream, search_row: MakeRow) -> None:
    """At every boundary if more than one kill is asked for; else at some, as the steps are those of above."""
    rng = random.Random("detailed")
    sent = 0

    def run(point: str, run_id: str, death: Death | None = None) -> int:
        return stream.land(f"{point} {run_id}", death, activity="detailed")

    for point in _LANDING if KILLS > 1 else _FEW:
        run_here = partial(run, point)
        for step in kill_until_enough(point, run_here, rng):
            if step.startswith("before"):
                sent += stream.send(b"oops" if i == 13 else search_row(sent + i) for i in range(20))
                continue
            if rng.random() < 0.3:
                run_here(step, (rng.choice(_LANDING), 1))
            assert run_here(step) == 0
    verdict = stream.verdict()
    assert verdict.ok, verdict
    assert (verdict.produced, stream.ledger()["UNLOADED"]) == (sent, 0)


def _damage(stream: CrashStream, rng: random.Random) -> None:
    """Some rows are lost, some doubled; some of the quarantine is lost too."""
    table = f"RAW.{stream.contract.table}"
    lost, doubled = rng.sample([o for o in range(20) if o != 13], 2)
    stream.sql.execute(f"INSERT INTO {table} SELECT * FROM {table} WHERE _OFFSET = {doubled}")
    stream.sql.execute(f"DELETE FROM {table} WHERE _OFFSET = {lost} OR _OFFSET IN (17, 18)")
    stream.sql.execute(f"DELETE FROM RAW.QUARANTINE WHERE STREAM = '{stream.name}' AND _OFFSET < 20")


@pytest.mark.parametrize("point", _REPLAY)
def test_replay_survives_kill_nine(stream: CrashStream, point: str, search_row: MakeRow) -> None:
    """Half of the range is read from Kafka, half from landing files, as retention has it."""
    rng = random.Random(point)
    for partition in (0, 1):
        stream.send((b"oops" if i % 20 == 13 else search_row(i) for i in range(30)), partition)
    stream.land("landed")
    before = stream.content(), stream.ledger()
    admin = AdminClient({"bootstrap.servers": stream.kafka.bootstrap_servers})
    for deleted in admin.delete_records([TopicPartition(stream.name, p, 10) for p in (0, 1)]).values():
        deleted.result()

    def run(run_id: str, death: Death | None = None) -> int:
        run_id = f"{stream.name} {run_id}"
        return stream.worker.run("replay", death=death, run_id=run_id, start="0", end="20", **stream.places)

    for step in kill_until_enough(point, run, rng):
        if step.startswith("before"):
            _damage(stream, rng)
            continue
        if rng.random() < 0.3:
            run(step, (rng.choice(_REPLAY), 1))
        assert run(step) == 0
    assert (stream.content(), stream.ledger()) == before


@pytest.mark.parametrize("point", _QUARANTINE)
def test_replay_of_the_quarantine_survives_kill_nine(
    stream: CrashStream, point: str, search_row: MakeRow
) -> None:
    """One message in ten has more results than the contract allows, until it is mended."""
    rng = random.Random(point)
    mended = stream.write_contract("mended", **{"maximum: 100000": "maximum: 900000"}).path
    sent = 0

    def run(run_id: str, death: Death | None = None) -> int:
        places = stream.places | {"contract": mended}
        run_id = f"{stream.name} {run_id}"
        return stream.worker.run("quarantine", death=death, run_id=run_id, **places)

    for step in kill_until_enough(point, run, rng):
        if step.startswith("before"):
            sent += stream.send(search_row(i, results=200_000 if i % 20 == 13 else 7) for i in range(40))
            stream.land(step)
            assert stream.verdict().quarantined == 2
            continue
        if rng.random() < 0.3:
            run(step, (rng.choice(_QUARANTINE), 1))
        assert run(step) == 0
        assert stream.verdict().quarantined == 0
    verdict = stream.verdict()
    assert verdict.ok, verdict
    ledger = stream.ledger()
    assert (ledger["LOADED"], ledger["QUARANTINED"], ledger["UNLOADED"]) == (sent, 0, 0)
