"""``read_events``: the one place where the job differs between runners.

* ``kafka_sdf``: pure-Python reader (:mod:`beam.kafka_source`), for Prism and wherever no Java expansion
  service is at hand;
* ``kafka_managed``: Beam's KafkaIO, which Dataflow runs and upgrades itself;
* ``files``: landed Parquet files, for replay and backtest.

All give (topic, JSON bytes).
"""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Iterator, Mapping
from typing import Any

import apache_beam as beam
import msgspec
from apache_beam.pvalue import PBegin, PCollection
from apache_beam.transforms.ptransform import PTransform

from madhatter_provider.beam.kafka_source import ReadTopics, TopicsToRead
from madhatter_provider.core.contracts.contract import Contract
from madhatter_provider.core.errors import ConfigurationError

_Messages = PCollection[tuple[str, bytes]]

SOURCES = ("kafka_sdf", "kafka_managed", "files")


def read_events(
    source: str, contracts: Mapping[str, Contract], *, topics: TopicsToRead | None = None, landed: str = ""
) -> PTransform[PBegin, _Messages]:
    """A transform from the pipeline's root to (topic, JSON bytes).

    :param topics: what to read from Kafka.
    :param landed: root of the landed files.
    :raises ConfigurationError: the source is unknown or lacks its parameter.
    """
    if source == "kafka_sdf" and topics is not None:
        return _Sdf(topics)
    if source == "kafka_managed" and topics is not None:
        return _Managed(topics)
    if source == "files" and landed:
        return _Files(landed, contracts)
    raise ConfigurationError(
        f"Source {source!r} cannot be read",
        where="read_events",
        remedy=f"One of {', '.join(SOURCES)}; Kafka needs topics, files need the root of landed files.",
    )


class _Sdf(PTransform[PBegin, _Messages]):
    def __init__(self, topics: TopicsToRead) -> None:
        super().__init__()
        self._topics = topics

    def expand(self, root: PBegin) -> _Messages:
        events: _Messages = root | "What" >> beam.Create([self._topics]) | "Read" >> beam.ParDo(ReadTopics())
        return events


class _Managed(PTransform[PBegin, _Messages]):
    def __init__(self, topics: TopicsToRead) -> None:
        super().__init__()
        self._topics = topics

    def expand(self, root: PBegin) -> _Messages:
        from apache_beam.io.kafka import ReadFromKafka

        wanted = self._topics
        config = {
            **{name: str(value) for name, value in wanted.config.items()},
            "bootstrap.servers": wanted.bootstrap_servers,
            "group.id": wanted.group,
            "auto.offset.reset": wanted.start,
            "isolation.level": "read_committed",
        }
        reader = ReadFromKafka(
            consumer_config=config,
            topics=list(wanted.topics),
            with_metadata=True,
            commit_offset_in_finalize=True,
            timestamp_policy=ReadFromKafka.create_time_policy,
        )
        events: _Messages = root | "Read" >> reader | "Message" >> beam.Map(_message)
        return events


class _Files(PTransform[PBegin, _Messages]):
    def __init__(self, landed: str, contracts: Mapping[str, Contract]) -> None:
        super().__init__()
        self._landed, self._contracts = landed.rstrip("/"), contracts

    def expand(self, root: PBegin) -> _Messages:
        streams = []
        for stream, contract in self._contracts.items():
            columns = [column.name for column in contract.columns]
            streams.append(
                root
                | f"Files {stream}"
                >> beam.io.ReadFromParquetBatched(f"{self._landed}/{stream}/*/*/*.parquet", columns=columns)
                | f"Rows {stream}" >> beam.FlatMap(_messages, contract.topic)
            )
        events: _Messages = streams | "All" >> beam.Flatten()
        return events


def _message(record: Any) -> tuple[str, bytes]:
    return record.topic, record.value or b""


def _messages(table: Any, topic: str) -> Iterator[tuple[str, bytes]]:
    """Rows of an Arrow table as the messages they were landed from."""
    for row in table.to_pylist():
        yield topic, msgspec.json.encode({name: _plain(value) for name, value in row.items()})


def _plain(value: Any) -> Any:
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, datetime.datetime) and value.tzinfo is None:
        return value.replace(tzinfo=datetime.UTC)
    return value
