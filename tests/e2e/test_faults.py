"""Processes die in mid-run, one after the other, while the whole platform works: it recovers by itself, no
message is lost or doubled, and every alert is acted on exactly once.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.sent_traffic import sent_traffic

from madhatter_provider.cli.demo import measure
from madhatter_provider.cli.demo.airflow_api import AirflowApi
from madhatter_provider.cli.demo.alert_leg import function_record
from madhatter_provider.cli.demo.broker import Broker
from madhatter_provider.cli.demo.drain import drain
from madhatter_provider.core.contracts.contract import Contract, load_contracts
from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.hooks.snowflake_profile import SnowflakeProfile
from madhatter_provider.hooks.snowflake_rest import SnowflakeRest
from madhatter_provider.local.platform import Platform
from madhatter_provider.local.service import get_json, wait_until
from madhatter_provider.local.traffic.score import read_labels
from madhatter_provider.testing.platform import running_platform

pytestmark = pytest.mark.e2e

REPOSITORY = Path(__file__).resolve().parents[2]
_RATE = 150.0
_TRAFFIC_SECONDS = 14.0
_FAULT_AFTER_SECONDS = 6.0  # two of them are spent before the first message
_DOWN_SECONDS = 3.0
_RECOVERY_SECONDS = 120.0
_START_SECONDS = 240.0


@dataclass(frozen=True, slots=True)
class Thread:
    """The running platform, and what became of what was sent through it."""

    platform: Platform
    contracts: Mapping[str, Contract]
    sql: SnowflakeRest

    @property
    def servers(self) -> str:
        return self.platform.env["KAFKA_BOOTSTRAP_SERVERS"]

    @contextmanager
    def traffic(self, seed: int) -> Iterator[None]:
        """Traffic runs while the block does; all of it must arrive."""
        traffic = {"seconds": _TRAFFIC_SECONDS, "rate": _RATE, "patience": _RECOVERY_SECONDS}
        with sent_traffic(self.platform, seed=seed, **traffic) as sender:
            time.sleep(_FAULT_AFTER_SECONDS)
            assert sender.poll() is None, "the fault falls into traffic"
            yield
        assert sender.returncode == 0

    def outage(self, service: str) -> None:
        """SIGKILL, a while without it, start again."""
        self.platform.kill(service)
        time.sleep(_DOWN_SECONDS)
        self.platform.restart(service)

    def waiting_alerts(self) -> int:
        """Alerts on the topic that the function has not acted on."""
        record = function_record(self.platform)
        assert record is not None
        published = {alert["alert_id"] for alert in self.published()}
        return len(published - set(record.acts()))

    def published(self) -> list[dict[str, Any]]:
        return measure.published_alerts(self.servers, self.contracts["fraud_alerts"].topic)

    def failed_runs(self) -> list[str]:
        """Runs that Airflow has given up."""
        airflow = AirflowApi(self.platform.airflow_url, "admin", self.platform.airflow_passwords["admin"])
        return [
            f"{dag} {run['dag_run_id']}"
            for dag in airflow.dag_ids()
            for run in airflow.runs(dag)
            if run["state"] == "failed"
        ]

    def judge(self) -> int:
        """Wait for the recovery, compare everything sent so far; returns the number of alerts."""
        record = function_record(self.platform)
        broker = Broker(self.servers, self.contracts)
        drained = drain(self.sql, broker, record, seconds=_RECOVERY_SECONDS)
        assert drained.behind == {}, "everything is loaded in time, without anyone's help"
        labels = [
            label for file in self.platform.home.root.glob("labels-*.ndjson") for label in read_labels(file)
        ]
        for stream, contract in self.contracts.items():
            facts = measure.stream_facts(self.sql, self.servers, contract, labels, drained.ends[stream])
            wrong = (facts.gaps, facts.overlaps, facts.duplicates, facts.wrong_reasons, facts.innocent)
            assert wrong == (0, 0, 0, [], []), f"{stream}: {facts}"
            assert facts.produced == facts.loaded + facts.quarantined > 0, f"{stream}: {facts}"
        alerts = measure.alert_facts(self.sql, self.published(), record)
        assert alerts.published == alerts.recorded
        if alerts.executed is not None:
            assert sorted(alerts.executed) == sorted(alerts.published), "each acted on, none twice"
        assert self.failed_runs() == []
        return len(alerts.published)


@pytest.fixture(scope="module")
def thread(tmp_path_factory: pytest.TempPathFactory, madhatter_cache: Path) -> Iterator[Thread]:
    home = tmp_path_factory.mktemp("faults") / "home"
    with running_platform(home, REPOSITORY, madhatter_cache) as platform:
        _wait_for_job(platform)
        profile = SnowflakeProfile.from_env(platform.env, database="MADHATTER")
        contracts = load_contracts(REPOSITORY / "include/contracts")
        yield Thread(platform, contracts, SnowflakeRest(profile, 60))


def _wait_for_job(platform: Platform) -> None:
    airflow = AirflowApi(platform.airflow_url, "admin", platform.airflow_passwords["admin"])

    def runs() -> bool:
        known = "stream_processing" in airflow.dag_ids()
        return known and any(run["state"] == "success" for run in airflow.runs("stream_processing"))

    assert wait_until(runs, seconds=_START_SECONDS, pause=0.5), airflow.import_errors()


def test_broker_killed(thread: Thread) -> None:
    with thread.traffic(seed=1):
        thread.outage("kafka")
    assert thread.judge() > 0


def test_snowflake_killed(thread: Thread) -> None:
    with thread.traffic(seed=2):
        thread.outage("snowflake")
    thread.judge()


def test_function_answers_500_and_is_killed(thread: Thread) -> None:
    if "function" not in thread.platform.catalog.nodes:
        pytest.skip("no Pub/Sub emulator here")
    before = len({alert["alert_id"] for alert in thread.published()})
    with thread.traffic(seed=3):
        thread.platform.kill("webhook")  # without it the function answers 500
        assert wait_until(lambda: thread.waiting_alerts() > 0, seconds=30, pause=0.5)
        time.sleep(_DOWN_SECONDS)
        thread.platform.kill("function")
        time.sleep(_DOWN_SECONDS)
        assert thread.waiting_alerts() > 0
        thread.platform.restart("function")  # and the webhook, which it needs
    assert thread.judge() > before


def test_airflow_is_up_for_those_who_may(thread: Thread) -> None:
    platform = thread.platform
    health = get_json(f"{platform.airflow_url}/api/v2/monitor/health")
    parts = ("metadatabase", "scheduler", "triggerer", "dag_processor")
    assert {part: health[part]["status"] for part in parts} == dict.fromkeys(parts, "healthy")
    with pytest.raises(ConfigurationError, match="401"):
        AirflowApi(platform.airflow_url, "admin", "wrong")
    viewer = AirflowApi(platform.airflow_url, "viewer", platform.airflow_passwords["viewer"])
    assert viewer.import_errors() == []
    dags = viewer.read("/api/v2/dags")["dags"]
    paused = {d["dag_id"]: d["is_paused"] for d in dags if d["dag_id"].startswith("land_")}
    assert set(paused.values()) == {False}, "landing starts by itself"
    assert sum(s.rss_mb for s in platform.services) < 8 * 1024
