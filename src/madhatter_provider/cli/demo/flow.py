"""What a demo does, stage by stage:

1. Write the customers' profiles and start the platform from nothing (the data of the last one is deleted).
2. Wait until Airflow has the DAGs and one of them has made sure that the streaming job runs.
3. Send labelled traffic while everything else works.
4. Drain: wait until the streaming job has read everything and the function has acted on its alerts; then
   until all that lies in the topics at that moment is in the ledger as loaded.
5. Run the deep gate over all slices, judge services and sensors by all that is loaded, and refresh the
   recommendations from it; meanwhile answer, as the security team, what people are asked.
6. Compare everything that lay in the topics with Snowflake, the function's record and the labels.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from madhatter_provider.cli.demo import alert_leg, control_room, measure, short_run
from madhatter_provider.cli.demo.airflow_api import FINAL, AirflowApi
from madhatter_provider.cli.demo.alert_leg import FunctionRecord, function_record
from madhatter_provider.cli.demo.broker import Broker
from madhatter_provider.cli.demo.control_room import ControlRoomFacts
from madhatter_provider.cli.demo.drain import Ends, drain
from madhatter_provider.cli.demo.recommendations import recommendation_facts
from madhatter_provider.cli.demo.verdict import Facts
from madhatter_provider.core.contracts.contract import Contract, load_contracts
from madhatter_provider.core.errors import ConfigurationError, JobError
from madhatter_provider.core.operations.settings import change_settings
from madhatter_provider.core.warehouse.sql_client import Sql
from madhatter_provider.hooks.snowflake_profile import SnowflakeProfile
from madhatter_provider.hooks.snowflake_rest import SnowflakeRest
from madhatter_provider.local.oracle import read_topic
from madhatter_provider.local.platform import Platform
from madhatter_provider.local.service import wait_until
from madhatter_provider.local.supervisor import Event
from madhatter_provider.local.traffic.generate import STREAMS
from madhatter_provider.local.traffic.score import read_labels, score_alerts

DRAIN_SECONDS = 300.0
DAG_SECONDS = 240.0
ANSWER_SECONDS = 180.0


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
        check_stream(self.options.broken)
        platform = Platform(report=self._service_line)
        load_contracts(platform.home.project / "include/contracts")  # a broken one is said at once
        self._forget_last(platform)
        try:
            with self._timed("up", "Starting the platform"):
                self._write_profiles(platform)
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
        work = platform.home.root / "demo"
        work.mkdir(parents=True, exist_ok=True)
        airflow = AirflowApi(platform.airflow_url, "admin", platform.airflow_passwords["admin"])
        self._dags_ready(
            airflow,
            {f"land_{s}" for s in contracts}
            | {"stream_processing", "quality", "fraud_response", "fraud_decisions"}
            | {"operations", "platform_health", "recommendations"},
        )
        self._streaming_job(airflow)
        sql = SnowflakeRest(SnowflakeProfile.from_env(platform.env, database="MADHATTER"), 120)
        sql.execute(change_settings(short_run.SETTINGS, "madhatter demo"))
        labels = self._traffic(platform, work)
        record = function_record(platform)
        with self._timed("drain", "Draining: every alert acted on, every message in the ledger"):
            ends = self._drain(platform, sql, contracts, record)
        with self._stage("Deep gate; services, sensors and recommendations once more; the team answers"):
            rounds = {dag: airflow.trigger(dag) for dag in ("operations", "recommendations", "quality")}
            self._answer(platform, sql, read_labels(labels))
            for dag, run in rounds.items():
                if airflow.wait(dag, run, DAG_SECONDS) != "success" and self.options.broken is None:
                    self.notes.append(f"its last run failed: look at DAG {dag}")
        with self._stage("Comparing broker, Snowflake, function and labels"):
            shown = control_room.look_at(airflow, platform.airflow_url, len(contracts))
            return self._facts(platform, sql, contracts, read_labels(labels), record, ends, shown)

    def _forget_last(self, platform: Platform) -> None:
        if any(s.alive for s in platform.services):
            raise ConfigurationError(
                "The local platform is running; a demo starts from an empty one",
                where=str(platform.home.root),
                remedy="madhatter local down",
            )
        if platform.home.data.exists():
            self.say(f"Deleting the data of the last run in {platform.home.root}")
        for folder in ("data", "landing", "demo", "logs", "airflow"):
            shutil.rmtree(platform.home.root / folder, ignore_errors=True)

    def _dags_ready(self, airflow: AirflowApi, wanted: set[str]) -> None:
        with self._stage(f"Waiting for {len(wanted)} DAGs"):
            if not wait_until(lambda: wanted <= airflow.dag_ids(), seconds=DAG_SECONDS, pause=0.5):
                problems = "; ".join(airflow.import_errors()) or "none reported"
                missing = ", ".join(sorted(wanted - airflow.dag_ids()))
                raise JobError(
                    f"Airflow did not parse {missing}", where="dags/", remedy=f"Import errors: {problems}"
                )

    def _write_profiles(self, platform: Platform) -> None:
        """For this seed's customers; the streaming job enriches with them."""
        out, rate = f"--out={platform.home.profiles}", f"--rate={self.options.rate}"
        done = platform.run(*_madhatter("traffic", "profiles", out, *self._seed(), rate))
        if done.returncode:
            raise JobError("Customer profiles could not be written", remedy=done.stderr.strip()[-300:])

    def _streaming_job(self, airflow: AirflowApi) -> None:
        with self._stage("Waiting for the streaming job"):
            runs: list[dict[str, Any]] = []

            def ended() -> bool:
                runs[:] = [r for r in airflow.runs("stream_processing") if r["state"] in FINAL]
                return bool(runs)

            if not wait_until(ended, seconds=DAG_SECONDS, pause=0.5) or runs[0]["state"] != "success":
                raise JobError(
                    "The streaming job does not run",
                    where="DAG stream_processing",
                    remedy="Look at the DAG's run and at madhatter local logs dataflow.",
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
                if record is not None and time.time() - shown > 10:
                    shown = time.time()
                    self.say(f"  … {len(acted)} alerts acted on")
        if sender.returncode:
            raise JobError("Traffic ended with an error", remedy=(work / "traffic.log").read_text()[-500:])
        return labels

    def _drain(
        self, platform: Platform, sql: Sql, contracts: Mapping[str, Contract], record: FunctionRecord | None
    ) -> Ends:
        """Stage 4; returns the ends of all topics at the moment when the alerts were quiet."""
        broker = Broker(platform.env["KAFKA_BOOTSTRAP_SERVERS"], contracts)
        drained = drain(sql, broker, record, seconds=DRAIN_SECONDS)
        if drained.behind:
            left = ", ".join(f"{count} of {stream}" for stream, count in drained.behind.items())
            self.notes.append(f"not loaded after {DRAIN_SECONDS:.0f} s: {left}")
        return drained.ends

    def _answer(self, platform: Platform, sql: Sql, labels: list[dict[str, Any]]) -> None:
        published = measure.published_alerts(platform.env["KAFKA_BOOTSTRAP_SERVERS"], "fraud_alerts")
        team = alert_leg.SecurityTeam(platform, sql, labels)
        left = team.answer(len({a["alert_id"] for a in published}), seconds=ANSWER_SECONDS)
        if left:
            self.notes.append(f"not acted on in {ANSWER_SECONDS:.0f} s: answer to {', '.join(left)}")

    def _facts(
        self,
        platform: Platform,
        sql: Sql,
        contracts: Mapping[str, Contract],
        labels: list[dict[str, Any]],
        record: FunctionRecord | None,
        ends: Ends,
        shown: ControlRoomFacts,
    ) -> Facts:
        bootstrap = platform.env["KAFKA_BOOTSTRAP_SERVERS"]
        published = measure.published_alerts(bootstrap, contracts["fraud_alerts"].topic)
        acted = executed(record)
        score = score_alerts(labels, published)
        payments = read_topic(bootstrap, contracts["transactions"].topic)
        self.seconds["total"] = time.time() - self.began
        self.notes += [f"{a.name} did not run: {a.reason}" for a in platform.catalog.absent]
        return Facts(
            streams={
                name: measure.stream_facts(sql, bootstrap, c, labels, ends[name])
                for name, c in contracts.items()
            },
            alerts=measure.alert_facts(sql, published, record),
            cases=alert_leg.case_facts(sql),
            notifications=None
            if record is None
            else record.notifications(str(a["alert_id"]) for a in published),
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
            operations=measure.operations(sql, labels, short_run.GRACE_SECONDS),
            recommendations=recommendation_facts(sql, bootstrap),
            gate_failures=measure.gate_failures(sql),
            control_room=shown,
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


def check_stream(name: str | None) -> None:
    """Refuse a ``--break`` that names no stream of the traffic, before anything is started."""
    if name is not None and name not in STREAMS:
        raise ConfigurationError(
            f"No stream is named {name!r}", where="--break", remedy=f"Choose of {', '.join(STREAMS)}."
        )


def executed(record: FunctionRecord | None) -> list[tuple[str, float]]:
    """Alerts acted on so far."""
    return [] if record is None else record.executed()


def _madhatter(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "madhatter_provider.cli.main", *arguments)
