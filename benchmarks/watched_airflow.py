"""A real Airflow on a real Kafka with two watched topics: one watched by ours, one by the official trigger.

Both DAGs have the same task: it writes a line with the time as soon as it runs.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from madhatter_provider.cli.demo.airflow_api import AirflowApi
from madhatter_provider.local.home import LocalHome, find_project
from madhatter_provider.local.platform import Platform
from madhatter_provider.local.service import wait_until

START_SECONDS = 120
_DAGS = Template("""
import json
import time
from datetime import datetime

from airflow.providers.apache.kafka.triggers.msg_queue import KafkaMessageQueueTrigger
from airflow.sdk import DAG, Asset, AssetWatcher, task

from madhatter_provider.triggers.kafka_slice import KafkaSliceTrigger

TRIGGERS = {
    "ours": KafkaSliceTrigger(
        "ours", min_messages=$min_messages, max_wait=$max_wait, reannounce_after=3600, poll_interval=$poll
    ),
    "official": KafkaMessageQueueTrigger(
        topics=["official"], kafka_config_id="official", apply_function="builtins.repr", poll_timeout=$poll,
        poll_interval=$poll,
    ),
}
for name, trigger in TRIGGERS.items():
    asset = Asset(name, uri=f"x-bench://{name}", watchers=[AssetWatcher(name=name, trigger=trigger)])
    with DAG(name, schedule=[asset], start_date=datetime(2026, 1, 1), catchup=False, max_active_runs=4):

        @task
        def first_line(dag_run=None):
            with open("$out", "a") as file:
                file.write(json.dumps([dag_run.dag_id, dag_run.run_id, time.time()]) + "\\n")

        first_line()
""")


@dataclass(frozen=True, slots=True)
class WatchedAirflow:
    """The running platform."""

    platform: Platform
    api: AirflowApi
    out: Path

    def send(self, topic: str, count: int) -> None:
        """Send small messages and wait until the broker has them."""
        from confluent_kafka import Producer

        producer = Producer(
            {"bootstrap.servers": self.platform.env["KAFKA_BOOTSTRAP_SERVERS"], "linger.ms": 1}
        )
        for number in range(count):
            producer.produce(topic, b"%d" % number, partition=0)
            producer.poll(0)
        producer.flush()

    def lines(self, dag: str) -> list[float]:
        """When tasks of a DAG wrote their lines."""
        written = self.out.read_text().splitlines() if self.out.exists() else []
        return [at for name, _, at in map(json.loads, written) if name == dag]


@contextmanager
def watched_airflow(**settings: Any) -> Iterator[WatchedAirflow]:
    """Start it, with settings of the triggers: ``min_messages``, ``max_wait``, ``poll``."""
    from confluent_kafka.admin import AdminClient
    from confluent_kafka.cimpl import NewTopic

    repository = find_project()
    with tempfile.TemporaryDirectory() as scratch:
        project = Path(scratch)
        (project / "dags").mkdir()
        (project / "include").symlink_to(repository / "include")
        out = project / "lines.ndjson"
        platform = Platform(LocalHome(project / "home", project))
        try:
            platform.start(
                f"airflow-{part}" for part in ("api-server", "scheduler", "dag-processor", "triggerer")
            )
            servers = platform.env["KAFKA_BOOTSTRAP_SERVERS"]
            topics = [NewTopic(name, 1, 1) for name in ("ours", "official")]
            admin = AdminClient({"bootstrap.servers": servers})
            for made in admin.create_topics(topics).values():
                made.result(30)
            api = AirflowApi(platform.airflow_url, "admin", platform.airflow_passwords["admin"])
            extra = {
                "bootstrap.servers": servers,
                "group.id": "official",
                "auto.offset.reset": "earliest",
                "enable.auto.commit": "false",
            }
            official = {"connection_id": "official", "conn_type": "kafka", "extra": json.dumps(extra)}
            api._ask("POST", "/api/v2/connections", json=official).raise_for_status()
            (project / "dags" / "bench.py").write_text(_DAGS.substitute(settings, out=out))
            if not wait_until(lambda: {"ours", "official"} <= api.dag_ids(), seconds=START_SECONDS):
                raise SystemExit("\n".join(api.import_errors()))
            time.sleep(5)  # until the triggers run
            yield WatchedAirflow(platform, api, out)
        finally:
            platform.stop()
