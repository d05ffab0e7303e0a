"""The fraud job: options, graph, and running it until it is drained."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import apache_beam as beam
import msgspec
from apache_beam.options.pipeline_options import PipelineOptions, PrismRunnerOptions, StandardOptions
from apache_beam.runners.runner import PipelineState

from madhatter_provider.beam.kafka_source import STARTS, TopicsToRead, drain, source_watermark
from madhatter_provider.beam.sources import SOURCES, read_events
from madhatter_provider.beam.transforms.aggregates import AggregateMinutes
from madhatter_provider.beam.transforms.events import CUSTOMER_EVENTS, MEASURES, ReadRows
from madhatter_provider.beam.transforms.scoring import ScoreFraud
from madhatter_provider.beam.transforms.sinks import (
    PublishAlerts,
    WriteTopic,
    alert_line,
    alert_message,
    unkeyed,
)
from madhatter_provider.core.contracts.contract import Contract, load_contracts
from madhatter_provider.core.errors import ConfigurationError

_LOG = logging.getLogger(__name__)
INPUTS = ("clicks", "transactions", "system_logs")
# Where the local Dataflow service reads a running job's counters.
METRICS_FILE = "MADHATTER_JOB_METRICS"
NAMESPACES = ("rows", "fraud")
_METRICS_SECONDS = 5.0


class FraudOptions(PipelineOptions):
    """Options of the job, beside the runner's."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--source", choices=SOURCES, default="kafka_sdf", help="How events are read.")
        # Plain --bootstrap_servers belongs to one of Beam's own runners.
        parser.add_argument(
            "--kafka_bootstrap_servers",
            dest="bootstrap_servers",
            default=os.environ.get("KAFKA_BOOTSTRAP_SERVERS", ""),
            help="Kafka's address.",
        )
        parser.add_argument("--topics", default=",".join(INPUTS), help="Streams to read, joined by commas.")
        parser.add_argument(
            "--group", default="madhatter-streaming-fraud", help="Consumer group that holds positions."
        )
        parser.add_argument(
            "--start", choices=STARTS, default="earliest", help="Where an uncommitted partition begins."
        )
        parser.add_argument(
            "--lookback_seconds", type=float, default=120.0, help="What a restarted job reads again."
        )
        parser.add_argument(
            "--checkpoint_seconds", type=float, default=0.3, help="Length of a reading round."
        )
        parser.add_argument("--landed", default="", help="Root of landed files, for --source files.")
        parser.add_argument("--contracts", default="include/contracts", help="Folder of the data contracts.")
        parser.add_argument("--profiles", required=True, help="Customers' profiles (NDJSON).")
        parser.add_argument(
            "--pubsub_topic", default="", help="projects/<project>/topics/<topic> for alerts."
        )
        parser.add_argument("--alerts_topic", default="", help="Kafka topic for alerts.")
        parser.add_argument("--metrics_topic", default="", help="Kafka topic for one-minute aggregates.")
        parser.add_argument(
            "--output", default="", help="Folder for alerts.ndjson and metrics.ndjson (batch)."
        )


def build(pipeline: beam.Pipeline, options: FraudOptions, contracts: dict[str, Contract]) -> None:
    """Put the whole graph into ``pipeline``."""
    streaming = options.source != "files"
    inputs = {stream: contracts[stream] for stream in _streams(options, contracts)}
    events = (
        pipeline
        | "Events"
        >> read_events(options.source, inputs, topics=_topics(options, inputs), landed=options.landed)
        | "Rows" >> beam.ParDo(ReadRows(inputs)).with_outputs(CUSTOMER_EVENTS, MEASURES)
    )
    alerts = events[CUSTOMER_EVENTS] | "Fraud" >> ScoreFraud(options.profiles, streaming=streaming)
    if options.pubsub_topic:
        alerts = alerts | "Publish" >> beam.ParDo(PublishAlerts(options.pubsub_topic))
    if options.alerts_topic:
        sink = WriteTopic(options.bootstrap_servers, options.alerts_topic)
        alerts | "Alert" >> beam.Map(alert_message) | "To alerts topic" >> beam.ParDo(sink)
    if options.output:
        alerts | "Line" >> beam.Map(alert_line) | "To file" >> _to_file(options.output, "alerts")
    if options.metrics_topic or options.output:
        rows = events[MEASURES] | "Minutes" >> AggregateMinutes()
        if options.metrics_topic:
            sink = WriteTopic(options.bootstrap_servers, options.metrics_topic)
            rows | "Metric" >> beam.Map(unkeyed) | "To metrics topic" >> beam.ParDo(sink)
        if options.output:
            rows | "Text" >> beam.Map(bytes.decode) | "Metrics to file" >> _to_file(options.output, "metrics")


def run(argv: Sequence[str] | None = None) -> int:
    """Run the job to its end: of the files, or of a drain (SIGTERM).

    :return: the exit code, 0 for a job that ended or was drained in good order.
    """
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", force=True
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _on_signal)
    options = _defaults(PipelineOptions(list(argv) if argv is not None else None))
    fraud = options.view_as(FraudOptions)
    pipeline = beam.Pipeline(options=options)
    build(pipeline, fraud, load_contracts(fraud.contracts))
    result = pipeline.run()
    for number in (signal.SIGTERM, signal.SIGINT):  # the runner may have put its own handlers there
        signal.signal(number, _on_signal)
    return _wait(result)


def _wait(result: Any) -> int:
    """Wait for the end; report every few seconds."""
    report = JobReport(os.environ.get(METRICS_FILE))
    written = 0.0
    while not PipelineState.is_terminal(result.state):
        time.sleep(0.2)
        if result.state == PipelineState.RUNNING and time.monotonic() - written > _METRICS_SECONDS:
            written = time.monotonic()
            report.write(result)
    report.write(result)
    _LOG.info("The job ended: %s", result.state)
    return 0 if result.state in (PipelineState.DONE, PipelineState.DRAINED, PipelineState.UPDATED) else 1


def _on_signal(number: int, _frame: FrameType | None) -> None:
    _LOG.info("%s: draining", signal.Signals(number).name)
    drain()


def _defaults(options: PipelineOptions) -> PipelineOptions:
    standard, fraud = options.view_as(StandardOptions), options.view_as(FraudOptions)
    standard.streaming = fraud.source != "files"
    prism = options.view_as(PrismRunnerOptions)
    if prism.prism_log_level == "info":  # the default: a line for every bundle
        prism.prism_log_level = "warn"
    if standard.runner in (None, "FnApiRunner", "DirectRunner"):
        # The default cache sizes each entry by walking every loaded module: four times the CPU for nothing.
        from apache_beam.runners.portability.fn_api_runner import worker_handlers

        worker_handlers.STATE_CACHE_SIZE_MB = 0
    return options


def _streams(options: FraudOptions, contracts: dict[str, Contract]) -> list[str]:
    wanted = [name.strip() for name in options.topics.split(",") if name.strip()]
    unknown = sorted(set(wanted) - set(contracts) | set(wanted) - set(INPUTS))
    if unknown or not wanted:
        raise ConfigurationError(
            f"Unknown streams {unknown}" if unknown else "No stream to read",
            where="--topics",
            remedy=f"Choose of {', '.join(INPUTS)}, with a contract in --contracts.",
        )
    return wanted


def _topics(options: FraudOptions, inputs: dict[str, Contract]) -> TopicsToRead | None:
    if options.source == "files":
        return None
    if not options.bootstrap_servers:
        raise ConfigurationError(
            "Kafka's address is missing",
            where="--kafka_bootstrap_servers",
            remedy="Set it, or KAFKA_BOOTSTRAP_SERVERS.",
        )
    return TopicsToRead(
        bootstrap_servers=options.bootstrap_servers,
        topics=tuple(contract.topic for contract in inputs.values()),
        group=options.group,
        start=options.start,
        lookback_seconds=options.lookback_seconds,
        checkpoint_seconds=options.checkpoint_seconds,
    )


def _to_file(folder: str, name: str) -> Any:
    return beam.io.WriteToText(f"{folder}/{name}", file_name_suffix=".ndjson", shard_name_template="")


class JobReport:
    """State, counters and source watermark (microseconds) of a running job as JSON, where the service that
    started the job looks for them.

    :param path: file to write; None: nobody asked for it.
    """

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._counters: dict[str, int] = {}

    def write(self, result: Any) -> None:
        """Replace the file. If the runner no longer answers, the last counters are written again."""
        if not self._path:
            return
        try:
            self._counters = self._ask(result)
        except Exception as err:  # the runner may be gone already; counters are not worth a failed job
            _LOG.warning("No counters: %s", err)
        temporary = Path(f"{self._path}.part")
        mark = source_watermark()
        report = {
            "counters": self._counters,
            "watermark": None if mark is None else mark.micros,
            "state": result.state,
            "at": time.time(),
        }
        temporary.write_bytes(msgspec.json.encode(report))
        temporary.replace(self._path)

    def _ask(self, result: Any) -> dict[str, int]:
        if hasattr(result, "_metrics"):
            result._metrics = None  # else a portable runner's result repeats its first answer for ever
        counters: dict[str, int] = {}
        for counter in result.metrics().query()["counters"]:
            metric = counter.key.metric
            if metric.namespace in NAMESPACES:
                name = f"{metric.namespace}/{metric.name}"
                counters[name] = counters.get(name, 0) + (counter.result or 0)
        return counters
