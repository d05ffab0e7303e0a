"""The job's parts one by one: rows, measures, profiles, sinks, sources."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.window import IntervalWindow

from madhatter_provider.beam import sources
from madhatter_provider.beam.kafka_source import TopicsToRead
from madhatter_provider.beam.pipeline import FraudOptions, run
from madhatter_provider.beam.transforms.aggregates import AddUp, metric_row
from madhatter_provider.beam.transforms.events import CUSTOMER_EVENTS, MEASURES, ReadRows
from madhatter_provider.beam.transforms.scoring import read_profiles
from madhatter_provider.beam.transforms.sinks import WriteTopic
from madhatter_provider.core.contracts.contract import load_contracts
from madhatter_provider.core.decoding.json_messages import JsonDecoder
from madhatter_provider.core.errors import BrokerError, ConfigurationError
from madhatter_provider.local.traffic import generate

CONTRACTS = load_contracts(Path(__file__).parents[3] / "include/contracts")
INPUTS = {stream: CONTRACTS[stream] for stream in ("clicks", "transactions", "system_logs")}


def test_rows_become_events_and_measures_and_bad_ones_vanish_here() -> None:
    reader = ReadRows(INPUTS)
    reader.setup()
    outputs: list[TaggedOutput[Any, Any]] = []
    payments = views = 0
    for m in generate(51, 300, 20):
        if m.stream in INPUTS:
            outputs += reader.process((m.stream, m.value))
            payments += m.stream == "transactions" and m.defect is None
            views += m.stream == "clicks" and m.defect is None
    events = [o.value for o in outputs if o.tag == CUSTOMER_EVENTS]
    measures = Counter(o.value.value[0][0] for o in outputs if o.tag == MEASURES)
    assert len(events) > payments
    assert all(
        customer.startswith("C") and isinstance(data, bytes) for customer, data in (e.value for e in events)
    )
    assert measures["sales"] + measures["declined"] == payments
    assert measures["page_views"] == views
    assert measures["login_failures"] > 0


def test_a_minutes_sum_fulfils_its_contract() -> None:
    add = AddUp()
    first = add.add_input(add.create_accumulator(), (1, 2.5))
    total = add.extract_output(add.merge_accumulators([first, add.add_input(first, (2, 0.25))]))
    assert total == (4, 5.25)
    row = metric_row((("sales", "DE"), total), IntervalWindow(1_795_500_000, 1_795_500_060))
    assert JsonDecoder(CONTRACTS["stream_metrics"]).decode([row]).bad == []
    assert json.loads(row)["metric_id"] == "sales|2026-11-24T06:00:00.000Z|DE"


def test_profiles_that_are_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.ndjson").write_text('{"customer_id": 1}\n')
    for name in ("bad.ndjson", "missing.ndjson"):
        with pytest.raises(ConfigurationError, match="profiles"):
            read_profiles(str(tmp_path / name))


def test_a_message_that_kafka_refuses_fails_the_bundle() -> None:
    sink = WriteTopic("127.0.0.1:1", "t", {"message.timeout.ms": 50})
    sink.setup()
    sink.process((None, b"x"))
    with pytest.raises(BrokerError, match="did not take"):
        sink.finish_bundle()


def test_landed_rows_read_back_are_the_messages_that_were_landed() -> None:
    when = pa.array([1_795_500_000_123_000], pa.timestamp("us", "UTC"))
    table = pa.table(
        {
            "t": when,
            "amount": pa.array([Decimal("12.30")]),
            "items": [2],
            "gone": pa.array([None], pa.string()),
        }
    )
    ((topic, value),) = sources._messages(table, "transactions")
    assert topic == "transactions"
    assert json.loads(value) == {"t": "2026-11-24T06:00:00.123000Z", "amount": 12.3, "items": 2, "gone": None}


def test_the_managed_reader_gets_our_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    from apache_beam.io import kafka

    asked: dict[str, Any] = {}

    class Reader:
        create_time_policy = "CreateTime"

        def __init__(self, **settings: Any) -> None:
            asked.update(settings)
            raise InterruptedError

    monkeypatch.setattr(kafka, "ReadFromKafka", Reader)
    wanted = TopicsToRead("broker:9092", ("a", "b"), "group", config={"security.protocol": "SASL_SSL"})
    transform = sources.read_events("kafka_managed", INPUTS, topics=wanted)
    with pytest.raises(InterruptedError):
        transform.expand(None)  # type: ignore[arg-type]
    assert asked["topics"] == ["a", "b"]
    assert asked["commit_offset_in_finalize"] is True
    assert asked["consumer_config"] == {
        "security.protocol": "SASL_SSL", "bootstrap.servers": "broker:9092", "group.id": "group",
        "auto.offset.reset": "earliest", "isolation.level": "read_committed",
    }  # fmt: skip


@pytest.mark.parametrize("source", ["kafka_sdf", "kafka_managed", "files", "carrier_pigeon"])
def test_a_source_without_its_parameter_is_refused(source: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        sources.read_events(source, INPUTS)


@pytest.mark.parametrize(
    "options", [["--topics", "clicks,nonsense"], ["--topics", ""], ["--topics", "searches"], []]
)
def test_wrong_options_end_the_job_with_a_remedy(options: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    contracts = str(Path(__file__).parents[3] / "include/contracts")
    with pytest.raises(ConfigurationError, match="Remedy"):
        run(["--profiles", "p", "--contracts", contracts, "--runner", "FnApiRunner", *options])


def test_the_flex_template_offers_every_option_of_the_job() -> None:
    file = Path(__file__).parents[3] / "include/beam/streaming_fraud_metadata.json"
    offered = {p["name"]: p["isOptional"] for p in json.loads(file.read_text())["parameters"]}
    parser = argparse.ArgumentParser()
    FraudOptions._add_argparse_args(parser)
    options = {
        a.option_strings[0].removeprefix("--"): not a.required for a in parser._actions if a.dest != "help"
    }
    assert offered == options
