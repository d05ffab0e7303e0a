"""Watchers in a real Airflow: two triggerers, changed arguments, a paused DAG, a DAG that is deleted and
comes back, and the partitions of a roll-up. Whatever happens, the claimed slices tile the topic.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from madhatter_provider.cli.demo.airflow_api import FINAL, AirflowApi
from madhatter_provider.core.slices.offsets import Slice, gaps_and_overlaps
from madhatter_provider.core.warehouse.ledger import LedgerRow, record
from madhatter_provider.hooks.snowflake_profile import SnowflakeProfile
from madhatter_provider.hooks.snowflake_rest import SnowflakeRest
from madhatter_provider.local import airflow_services
from madhatter_provider.local.home import LocalHome
from madhatter_provider.local.platform import Platform
from madhatter_provider.local.process import end, free_port, spawn
from madhatter_provider.local.service import wait_until

pytestmark = pytest.mark.e2e

REPOSITORY = Path(__file__).resolve().parents[2]
SECONDS = 240  # a limit, not an expectation: a wait ends when what it waits for is there
QUIET_SECONDS = 4
SETTINGS = {
    # Airflow gives a trigger to a DAG, and takes it away, when the file is parsed, and at no other time: not
    # when the DAG is unpaused, say.
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "5",
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "2",
    "AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "0",
    "AIRFLOW__SCHEDULER__PARSING_CLEANUP_INTERVAL": "2",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "5",
}
DAG_FILE = """
from datetime import datetime

from airflow.sdk import DAG, Asset, AssetWatcher

from madhatter_provider.operators.kafka import KafkaClaimSliceOperator
from madhatter_provider.triggers.kafka_slice import KafkaSliceTrigger

trigger = KafkaSliceTrigger(
    "searches", min_messages={min_messages}, max_wait=3600, reannounce_after=3, poll_interval=0.2
)
watcher = AssetWatcher(name="watched", trigger=trigger)
topic = Asset("watched", uri="x-kafka://test/searches", watchers=[watcher])
with DAG("watched", schedule=[topic], start_date=datetime(2026, 1, 1), catchup=False, max_active_runs=2):
    KafkaClaimSliceOperator(task_id="claim", topic="searches", asset=topic)
"""


@dataclass
class Watched:
    """The platform with one watched topic, and what its DAG has claimed."""

    platform: Platform
    dags: Path
    api: AirflowApi
    sent: int = 0
    slices: dict[str, Slice] = field(default_factory=dict)

    def write(self, min_messages: int = 1) -> str:
        """Write the DAG file, if it changes, and wait until it is parsed; the time when it was."""
        file, content = self.dags / "watched.py", DAG_FILE.format(min_messages=min_messages)
        parsed = before = self._parsed()

        def is_parsed() -> bool:
            nonlocal parsed
            parsed = self._parsed()
            return parsed not in ("", before)

        if not file.exists() or file.read_text() != content:
            file.write_text(content)
            assert wait_until(is_parsed, seconds=SECONDS, pause=0.3), self.api.import_errors()
        return parsed

    def _parsed(self) -> str:
        """When the DAG was parsed last; empty while Airflow does not know it."""
        if "watched" not in self.api.dag_ids():
            return ""
        return str(self.api._get("/api/v2/dags/watched")["last_parsed_time"])

    def calm(self) -> None:
        """Let the trigger wait for more than any test sends, and no run be left to claim."""
        parsed = self.write(min_messages=1_000)
        assert wait_until(lambda: self._trigger_started() > parsed, seconds=SECONDS, pause=0.3)
        self.all_runs_are_over()

    def _trigger_started(self) -> str:
        """When the triggerer last started a trigger."""
        log = (self.dags.parent / "home/logs/airflow-triggerer.log").read_text()
        started: list[str] = re.findall(r"(\d{4}-\S+Z).*trigger ID \d+ starting", log)
        return max(started)

    def all_runs_are_over(self) -> None:
        def over() -> bool:
            return all(run["state"] in FINAL for run in self.api.runs("watched"))

        assert wait_until(over, seconds=SECONDS, pause=0.3), self.api.runs("watched")

    def pause(self) -> None:
        """Pause the DAG; a run that had begun has ended."""
        self.all_runs_are_over()
        self._set_paused(True)
        path = "/api/v2/dags/watched/dagRuns/~/taskInstances?state=queued&state=running"
        assert wait_until(lambda: not self.call("GET", path)["total_entries"], seconds=SECONDS, pause=0.3)

    def unpause(self) -> None:
        self._set_paused(False)

    def _set_paused(self, paused: bool) -> None:
        self.call("PATCH", "/api/v2/dags/watched?update_mask=is_paused", json={"is_paused": paused})

    def delete(self) -> None:
        """Delete DAG file and DAG when no run of it goes on: Airflow refuses it while a task runs, and its
        scheduler ends when it loses a run that it is at work on.
        """
        self.calm()
        (self.dags / "watched.py").unlink()
        self.call("DELETE", "/api/v2/dags/watched")

    def send(self, count: int) -> None:
        from confluent_kafka import Producer

        producer = Producer({"bootstrap.servers": self.platform.env["KAFKA_BOOTSTRAP_SERVERS"]})
        for number in range(count):
            producer.produce("searches", str(number))
        assert producer.flush(20) == 0
        self.sent += count

    def claimed(self) -> int:
        """Number of messages claimed by all runs, those of deleted DAGs too."""
        runs = self.api.runs("watched") if "watched" in self.api.dag_ids() else []
        for run in runs:
            run_path = f"/api/v2/dags/watched/dagRuns/{run['dag_run_id']}"
            answer = self.api._ask("GET", f"{run_path}/taskInstances/claim/xcomEntries/return_value")
            if not answer.is_error:
                value: Any = answer.json()["value"]
                self.slices[run["dag_run_id"]] = Slice.from_json(value[0])
        return sum(map(len, self.slices.values()))

    def all_is_claimed_once(self) -> None:
        """Wait until all that was sent is claimed; no offset is missing, none claimed twice."""
        assert wait_until(lambda: self.claimed() >= self.sent, seconds=SECONDS, pause=0.3), self.slices
        gaps, overlaps = gaps_and_overlaps(self.slices.values())
        assert not gaps
        assert not overlaps
        assert self.claimed() == self.sent

    def nothing_is_claimed(self) -> None:
        before = self.claimed()
        assert not wait_until(lambda: self.claimed() > before, seconds=QUIET_SECONDS, pause=0.3)

    def call(self, method: str, path: str, **arguments: Any) -> Any:
        answer = self.api._ask(method, path, **arguments)
        answer.raise_for_status()
        return answer.json() if answer.content else None


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    if shutil.which("java") is None:
        pytest.skip("no Java here: the mock broker has no topic ids")
    project = tmp_path_factory.mktemp("watchers")
    (project / "include").symlink_to(REPOSITORY / "include")
    (project / "dags").mkdir()
    for name in ("streams.py", "rollups.py", ".airflowignore"):
        shutil.copy(REPOSITORY / "dags" / name, project / "dags")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(
            "MADHATTER_CACHE", os.environ.get("MADHATTER_CACHE") or str(REPOSITORY / ".madhatter/cache")
        )
        for setting, value in SETTINGS.items():
            patch.setitem(airflow_services._SETTINGS, setting, value)
        platform = Platform(LocalHome(project / "home", project))
        try:
            parts = ("api-server", "triggerer", "scheduler", "dag-processor")
            platform.start(f"airflow-{part}" for part in parts)
            for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
                patch.setenv(name, platform.env[name])
            api = AirflowApi(platform.airflow_url, "admin", platform.airflow_passwords["admin"])
            yield Watched(platform, project / "dags", api)
        finally:
            platform.stop()


@pytest.fixture
def watched(running: Watched) -> Watched:
    """The DAG as it is at first, and a trigger that watches for it, whatever the last test left."""
    running.write()
    running.unpause()
    running.send(1)
    running.all_is_claimed_once()
    return running


def test_a_second_triggerer_takes_over(watched: Watched) -> None:
    env = {**watched.platform.env, "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port())}
    command = [sys.executable, "-m", "airflow", "triggerer"]
    log, mark = watched.dags.parent / "second.log", f"second@{watched.dags}"
    _, second = spawn(command, env=env, log=log, cwd=watched.dags, mark=mark)

    def alive() -> int:
        return int(watched.call("GET", "/api/v2/jobs?job_type=TriggererJob&is_alive=true")["total_entries"])

    try:
        assert wait_until(lambda: alive() == 2, seconds=SECONDS, pause=0.3), log.read_text()
        watched.send(5)
        watched.all_is_claimed_once()
        watched.platform.kill("airflow-triggerer")
        watched.send(5)
        watched.all_is_claimed_once()
    finally:
        end(second, mark, grace=0)
        watched.platform.restart("airflow-triggerer")


def test_a_changed_argument_takes_effect_when_the_file_is_parsed(watched: Watched) -> None:
    watched.calm()
    watched.send(5)
    watched.nothing_is_claimed()
    watched.write(min_messages=1)
    watched.all_is_claimed_once()


def test_a_paused_dag_takes_its_backlog_when_it_goes_on(watched: Watched) -> None:
    watched.pause()
    watched.send(5)
    watched.nothing_is_claimed()
    watched.unpause()
    watched.all_is_claimed_once()


def test_a_dag_that_was_deleted_goes_on_where_it_was(watched: Watched) -> None:
    """Airflow has deleted the position with the DAG; the mirror has it."""
    watched.send(5)
    watched.all_is_claimed_once()
    watched.delete()
    asset = "/api/v2/assets?uri_pattern=x-kafka://test/searches"

    def forgotten() -> bool:
        known = watched.call("GET", asset)["assets"]
        return (
            not known
            or not watched.call("GET", f"/api/v2/assets/{known[0]['id']}/state-store")["total_entries"]
        )

    assert wait_until(forgotten, seconds=SECONDS, pause=0.5)
    watched.write()
    watched.send(5)
    watched.all_is_claimed_once()


def test_touched_hours_become_partitions_that_are_computed(running: Watched) -> None:
    profile = SnowflakeProfile.from_env(running.platform.env, database="MADHATTER")
    sql, epoch = SnowflakeRest(profile, 60), uuid.uuid4().hex
    six = datetime(2026, 3, 1, 6, tzinfo=UTC)
    times = [six, six + timedelta(minutes=70)]
    rows = ", ".join(
        f"('{uuid.uuid4().hex}', '{t.isoformat(sep=' ')}'::TIMESTAMP_TZ, 'C1', 7, 'EUR', 'toys', "
        f"'authorized', '{epoch}', 0, {offset})"
        for offset, t in enumerate(times)
    )
    sql.execute(
        "INSERT INTO RAW.TRANSACTIONS (EVENT_ID, EVENT_TIME, CUSTOMER_ID, AMOUNT, CURRENCY, "
        f"MERCHANT_CATEGORY, STATUS, _TOPIC_ID, _PARTITION, _OFFSET) VALUES {rows}"
    )
    loaded = LedgerRow(
        stream="transactions", topic_id=epoch, partition_id=0, start_offset=0, end_offset=2, state="loaded",
        loaded_at=datetime.now(UTC),
    )  # fmt: skip
    sql.execute(*record([loaded]))
    assert wait_until(lambda: "sales_per_hour" in running.api.dag_ids(), seconds=SECONDS)
    for dag in ("touched_hours", "sales_per_hour"):
        running.call("PATCH", f"/api/v2/dags/{dag}?update_mask=is_paused", json={"is_paused": False})
    running.api.trigger("touched_hours")

    def computed() -> int:
        return int(sql.execute("SELECT COUNT(*) AS N FROM MARTS.SALES_PER_HOUR")[0]["N"])

    assert wait_until(lambda: computed() == 2, seconds=SECONDS, pause=0.5), running.api.runs("touched_hours")
    keys = {run["partition_key"] for run in running.api.runs("sales_per_hour")}
    assert keys == {"2026-03-01T06", "2026-03-01T07"}
