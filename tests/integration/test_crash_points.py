"""kill -9 at every named boundary between two steps; the next try heals it, whatever else dies on the way.

``MADHATTER_CRASH_SEEDS`` says how many kills each boundary gets; every one of them must hit.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from madhatter_provider.core.crash_points import POINTS
from madhatter_provider.local.oracle import StreamVerdict, judge_stream
from madhatter_provider.testing.kafka import MakeTopic, RunningKafka
from madhatter_provider.testing.snowflake import RunningSnowflake

pytestmark = pytest.mark.integration
CONTRACT = Path(__file__).parents[2] / "include/contracts/searches.odcs.yaml"
KILLS = int(os.environ.get("MADHATTER_CRASH_SEEDS", "1"))
_LANDING = [p for p in POINTS if p.split(".")[0] in ("claim", "land", "ingest", "ledger")]


class Worker:
    """Runs jobs in processes that may be killed (crash_worker.py)."""

    def __init__(self, env: Mapping[str, str]) -> None:
        command = [sys.executable, str(Path(__file__).with_name("crash_worker.py"))]
        self._process = subprocess.Popen(
            command, env={**os.environ, **env}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def run(self, activity: str, *, death: tuple[str, int] | None = None, **options: Any) -> dict[str, Any]:
        """One job; how it ended."""
        job: dict[str, Any] = {"activity": activity, "options": options}
        if death:
            job["point"], job["occurrence"] = death
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


@pytest.fixture(scope="module")
def worker(madhatter_kafka: RunningKafka, shared_snowflake: RunningSnowflake) -> Iterator[Worker]:
    connections = {
        "AIRFLOW_CONN_KAFKA_DEFAULT": madhatter_kafka.airflow_connection,
        "AIRFLOW_CONN_SNOWFLAKE_DEFAULT": shared_snowflake.airflow_connection,
    }
    started = Worker({**shared_snowflake.trust, **connections})
    yield started
    started.stop()


class Stream:
    """A topic that is landed run by run, with deaths."""

    def __init__(
        self, kafka: RunningKafka, topic: str, snowflake: RunningSnowflake, worker: Worker, state: Path
    ) -> None:
        self.kafka, self.topic, self.snowflake, self.worker = kafka, topic, snowflake, worker
        self._options = {
            "topic": topic,
            "contract": str(CONTRACT),
            "landing_root": snowflake.landing_root,
            "state": str(state),
        }
        self._tries: dict[str, int] = {}

    def turn(self, run_id: str, death: tuple[str, int] | None = None) -> int:
        """One try of a run; the signal that ended it, 0 if none did."""
        self._tries[run_id] = self._tries.get(run_id, 0) + 1
        done = self.worker.run(
            "land", death=death, run_id=run_id, try_number=self._tries[run_id], **self._options
        )
        assert done["code"] in (0, None), done["error"]
        return int(done["signal"])

    def verdict(self) -> StreamVerdict:
        servers = self.kafka.bootstrap_servers
        return judge_stream(servers, self.snowflake.client(), self.topic, "RAW.SEARCHES")

    def states(self) -> set[str]:
        rows = self.snowflake.client().execute(
            "SELECT DISTINCT STATE FROM OPS.SLICES WHERE TOPIC = ?", [self.topic]
        )
        return {str(row["STATE"]) for row in rows}


@pytest.fixture
def stream(
    madhatter_kafka: RunningKafka,
    topic: MakeTopic,
    snowflake: RunningSnowflake,
    worker: Worker,
    tmp_path: Path,
) -> Stream:
    return Stream(madhatter_kafka, topic(2, name="crash"), snowflake, worker, tmp_path / "state.json")


@pytest.mark.parametrize("point", _LANDING)
def test_landing_survives_kill_nine(stream: Stream, point: str, search_row: Callable[..., bytes]) -> None:
    rng = random.Random(point)
    sent = killed = turns = 0
    while killed < KILLS:
        turns += 1
        assert turns <= 6 * KILLS, f"{point} was hit {killed} times in {turns - 1} runs"
        some = rng.randint(20, 60)
        stream.kafka.send(
            stream.topic,
            (b"oops" if i % 20 == 13 else search_row(sent + i) for i in range(some)),
        )
        sent += some
        run_id = f"run-{turns}"
        struck = stream.turn(run_id, (point, 1 if turns == 1 else rng.randint(1, 2)))
        if not struck:
            continue
        assert struck == signal.SIGKILL
        killed += 1
        if rng.random() < 0.3:  # death on the way back
            stream.turn(run_id, (rng.choice(_LANDING), 1))
        assert stream.turn(run_id) == 0
    assert stream.turn("last") == 0
    verdict = stream.verdict()
    assert verdict.ok, verdict
    assert (verdict.produced, stream.states()) == (sent, {"loaded"})
