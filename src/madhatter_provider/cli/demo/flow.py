"""What a demo does, stage by stage:

1. Start the platform from nothing (the local data of the last one is deleted).
2. Write the customers' profiles, and have Airflow ensure that the streaming job runs.
3. Send labelled traffic while everything else works.
4. Drain: wait until every message of every topic is in the ledger as loaded, and every alert acted on.
5. Run the deep gate over all slices.
6. Compare everything with the broker and the labels.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from madhatter_provider.cli.demo import measure
from madhatter_provider.cli.demo.airflow_api import AirflowApi
from madhatter_provider.cli.demo.measure import FunctionRecord
from madhatter_provider.cli.demo.verdict import Facts
from madhatter_provider.core.contract import Contract, load_contracts
from madhatter_provider.core.errors import ConfigurationError, JobError
from madhatter_provider.hooks.snowflake_profile import SnowflakeProfile
from madhatter_provider.hooks.snowflake_rest import SnowflakeRest
from madhatter_provider.local.oracle import Sql, read_topic
from madhatter_provider.local.platform import Platform
from madhatter_provider.local.supervisor import Event
from madhatter_provider.local.traffic.generate import STREAMS
from madhatter_provider.local.traffic.score import read_labels, score_alerts

QUIET_SECONDS = 6.0
DRAIN_SECONDS = 300.0
DAG_SECONDS = 240.0


@dataclass(frozen=True, slots=True)
class Options:
    """What a person asked for. ``broken`` is the stream whose producer breaks its contract in mid-run."""

    seconds: float
    rate: float
    seed: int
    keep: bool = False
    broken: str | None = None


@dataclass(slots=True)
class Demo:
    """One demo run."""

    options: Options
    console: Console
    began: float = field(default_factory=time.time)
    seconds: dict[str, float | None] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def run(self) -> Facts:
        """All stages.

        :raises MadHatterError: a stage could not be done; the platform is stopped unless ``keep``.
        """
        platform = Platform(report=self._service_line)
        self._forget_last(platform)
        try:
            with self._timed("up", "Starting the platform"):
                platform.start()
            facts = self._play(platform)
        except BaseException:
            if not self.options.keep:
                platform.stop()
            raise
        if self.options.keep:
            password = platform.airflow_passwords["admin"]
            self.say(
                f"Airflow runs at {platform.airflow_url} (admin / {password}); end it: madhatter local down"
            )
        else:
            platform.stop()
        return facts

    def say(self, text: str) -> None:
        """One line, with the time since the beginning."""
        self.console.print(f"[dim]{time.time() - self.began:6.1f} s[/]  {text}", highlight=False)

    def _play(self, platform: Platform) -> Facts:
        # The clients of this process must trust the local Snowflake's certificate.
        os.environ.update({k: platform.env[k] for k in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")})
        contracts = load_contracts(platform.home.project / "include/contracts")
        if self.options.broken and self.options.broken not in STREAMS:
            raise ConfigurationError(
                f"No stream is named {self.options.broken!r}",
                where="--break",
                remedy=f"Choose of {', '.join(STREAMS)}.",
            )
        work = platform.home.root / "demo"
        work.mkdir(parents=True, exist_ok=True)
        airflow = AirflowApi(platform.airflow_url, "admin", platform.airflow_passwords["admin"])
        self._dags_ready(
            airflow, {f"land_{s}" for s in contracts} | {"stream_processing", "quality", "fraud_response"}
        )
        self._streaming_job(platform, airflow, work)
        labels = self._traffic(platform, work)
        sql = SnowflakeRest(SnowflakeProfile.from_env(platform.env, database="MADHATTER"), 120)
        record = function_record(platform)
        with self._timed("drain", "Draining: every message in the ledger, every alert acted on"):
            self._drain(platform, sql, contracts, record)
        with self._stage("Deep gate: Great Expectations over all slices"):
            state = airflow.wait("quality", airflow.trigger("quality"), DAG_SECONDS)
            if state != "success" and self.options.broken is None:
                self.notes.append("the DAG run of the deep gate failed: look at DAG quality")
        with self._stage("Comparing broker, Snowflake, function and labels"):
            return self._facts(platform, sql, contracts, read_labels(labels), record)

    def _forget_last(self, platform: Platform) -> None:
        if any(s.alive for s in platform.services):
            raise ConfigurationError(
                "The local platform is running; a demo starts from an empty one",
                where=str(platform.home.root),
                remedy="madhatter local down",
            )
        for folder in ("data", "landing", "demo", "logs", "airflow"):
            shutil.rmtree(platform.home.root / folder, ignore_errors=True)

    def _dags_ready(self, airflow: AirflowApi, wanted: set[str]) -> None:
        with self._stage(f"Waiting for {len(wanted)} DAGs"):
            if not _wait_until(lambda: wanted <= airflow.dag_ids(), DAG_SECONDS):
                problems = "; ".join(airflow.import_errors()) or "none reported"
                missing = ", ".join(sorted(wanted - airflow.dag_ids()))
                raise JobError(
                    f"Airflow did not parse {missing}", where="dags/", remedy=f"Import errors: {problems}"
                )

    def _streaming_job(self, platform: Platform, airflow: AirflowApi, work: Path) -> None:
        profiles = work / f"profiles-{self.options.seed}.ndjson"
        with self._stage("Writing customer profiles; ensuring the streaming job"):
            rate = f"--rate={self.options.rate}"
            done = platform.run(*_madhatter("traffic", "profiles", f"--out={profiles}", *self._seed(), rate))
            if done.returncode:
                raise JobError("Customer profiles could not be written", remedy=done.stderr.strip()[-300:])
            run_id = airflow.trigger("stream_processing", {"profiles": str(profiles)})
            if airflow.wait("stream_processing", run_id, DAG_SECONDS) != "success":
                raise JobError(
                    "The streaming job does not run",
                    where=f"DAG stream_processing, run {run_id}",
                    remedy="Look at madhatter local logs dataflow.",
                )

    def _traffic(self, platform: Platform, work: Path) -> Path:
        labels, options = work / "labels.ndjson", self.options
        command = [
            "traffic",
            f"--seconds={options.seconds}",
            f"--rate={options.rate}",
            *self._seed(),
            f"--labels={labels}",
        ]
        if options.broken:
            command.append(f"--break={options.broken}")
        record = function_record(platform)
        with self._timed(
            "traffic", f"Traffic: {options.seconds:.0f} s at {options.rate:.0f} events/s, seed {options.seed}"
        ):
            log = (work / "traffic.log").open("w")
            sender = subprocess.Popen(
                _madhatter(*command), env=platform.env, cwd=platform.home.project, stdout=log, stderr=log
            )
            shown = 0.0
            while sender.poll() is None:
                time.sleep(0.2)
                acted = executed(record)
                if acted and "first_alert" not in self.seconds:
                    self.seconds["first_alert"] = time.time() - self.began
                    self.say("First fraud alert acted on by the function")
                if time.time() - shown > 10:
                    shown = time.time()
                    self.say(f"  … {len(acted)} alerts acted on")
        if sender.returncode:
            raise JobError("Traffic ended with an error", remedy=(work / "traffic.log").read_text()[-500:])
        return labels

    def _drain(
        self, platform: Platform, sql: Sql, contracts: Mapping[str, Contract], record: FunctionRecord | None
    ) -> None:
        bootstrap = platform.env["KAFKA_BOOTSTRAP_SERVERS"]
        quiet_since, before, deadline = time.monotonic(), None, time.monotonic() + DRAIN_SECONDS
        while time.monotonic() < deadline:
            behind = _behind(bootstrap, sql, contracts)
            now = (behind, len(executed(record)))
            if now != before:
                quiet_since, before = time.monotonic(), now
            if not any(behind.values()) and time.monotonic() - quiet_since > QUIET_SECONDS:
                return
            time.sleep(1.0)
        self.notes.append(f"not drained after {DRAIN_SECONDS:.0f} s: {before}")

    def _facts(
        self,
        platform: Platform,
        sql: Sql,
        contracts: Mapping[str, Contract],
        labels: list[dict[str, Any]],
        record: FunctionRecord | None,
    ) -> Facts:
        bootstrap = platform.env["KAFKA_BOOTSTRAP_SERVERS"]
        published = measure.published_alerts(bootstrap, contracts["fraud_alerts"].topic)
        acted = executed(record)
        score = score_alerts(labels, published)
        payments = read_topic(bootstrap, contracts["transactions"].topic)
        self.seconds["total"] = time.time() - self.began
        self.notes += [f"{a.name} did not run: {a.reason}" for a in platform.catalog.absent]
        return Facts(
            streams={name: measure.stream_facts(sql, bootstrap, c, labels) for name, c in contracts.items()},
            alerts=measure.alert_facts(sql, published, record),
            fraud={
                **{
                    k: getattr(score, k)
                    for k in ("cases", "caught", "alerts", "alerted_cases", "false_alerted_cases")
                },
                "recall": round(score.recall, 4),
                "precision": round(score.precision, 4),
                "event_to_function_seconds": measure.payment_to_function(payments, published, dict(acted)),
            },
            quality=measure.quality(sql),
            gate_failures=measure.gate_failures(sql),
            services=[
                {
                    "name": s.name,
                    "version": s.version,
                    "kind": s.kind,
                    "ready_seconds": s.ready_seconds,
                    "rss_mb": s.rss_mb,
                }
                for s in platform.services
            ],
            seconds={k: self.seconds.get(k) for k in ("up", "first_alert", "traffic", "drain", "total")},
            broken_stream=self.options.broken,
            notes=self.notes,
        )

    def _seed(self) -> list[str]:
        return [f"--seed={self.options.seed}"]

    def _service_line(self, event: Event) -> None:
        if event.what in ("ready", "done", "absent", "moved"):
            took = "" if event.seconds is None else f" {event.seconds:.1f} s"
            self.say(f"  {event.name} {event.what}{took} {event.text}")

    @contextmanager
    def _stage(self, text: str) -> Iterator[None]:
        self.say(f"[bold]{text}[/]")
        yield

    @contextmanager
    def _timed(self, name: str, text: str) -> Iterator[None]:
        started = time.monotonic()
        with self._stage(text):
            yield
        self.seconds[name] = time.monotonic() - started


def _behind(bootstrap: str, sql: Sql, contracts: Mapping[str, Contract]) -> dict[str, int]:
    """Offsets of each stream that are not loaded yet, by the broker's ends and the ledger's rows."""
    from confluent_kafka import IsolationLevel, TopicPartition
    from confluent_kafka.admin import AdminClient, OffsetSpec

    admin = AdminClient({"bootstrap.servers": bootstrap})
    asked = {
        TopicPartition(c.topic, p): OffsetSpec.latest()
        for c in contracts.values()
        for p in range(c.partitions)
    }
    found = admin.list_offsets(asked, isolation_level=IsolationLevel.READ_COMMITTED)
    ends: dict[str, int] = {}
    for place, future in found.items():
        ends[place.topic] = ends.get(place.topic, 0) + future.result().offset
    rows = sql.execute(
        "SELECT STREAM, SUM(END_OFFSET - START_OFFSET) AS N FROM OPS.SLICES "
        "WHERE STATE = 'loaded' GROUP BY STREAM"
    )
    loaded = {str(r["STREAM"]): int(r["N"]) for r in rows}
    return {name: ends[c.topic] - loaded.get(name, 0) for name, c in contracts.items()}


def function_record(platform: Platform) -> FunctionRecord | None:
    """What the function did; ``None`` if the alert leg does not run here."""
    if not any(s.name == "function" for s in platform.services):
        return None
    return FunctionRecord(Path(platform.env["ALERT_STORE"]), platform.home.data / "webhook.ndjson")


def executed(record: FunctionRecord | None) -> list[tuple[str, float]]:
    """Alerts acted on so far."""
    return [] if record is None else record.executed()


def _madhatter(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "madhatter_provider.cli.main", *arguments)


def _wait_until(probe: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not probe():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)
    return True
