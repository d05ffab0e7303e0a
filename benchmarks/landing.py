"""Landing speed and memory, against the official ConsumeFromTopicOperator and against loops written by hand.

All read the same topic of a real local Kafka, in turns, each in a process of its own, with the same settings
of the client::

    .madhatter/venv/bin/python benchmarks/landing.py --messages 1000000 --rounds 3
    .madhatter/venv/bin/python benchmarks/landing.py --messages 10000000 --rounds 1 --ways typed raw

* ``official``: ``ConsumeFromTopicOperator`` with a function that parses each message and writes NDJSON.
* ``by_hand``: what a good engineer writes with confluent-kafka and pyarrow: typed Parquet with coordinates,
  no checks, no quarantine, nothing that survives a crash.
* ``bytes_by_hand``: a plain ``consume()`` loop that writes the values as NDJSON.
* ``lines_by_hand``: the same, with the coordinates that our NDJSON has: it writes the same bytes.
* ``typed``: ours, typed, checked against a contract, Parquet with coordinates.
* ``typed_2``: the same in two processes.
* ``raw``: ours, NDJSON without validation.
* ``avro`` (with ``--avro``): ours, from Avro in Confluent's wire format; ``official_avro``: the official
  operator with a function that decodes each message with fastavro and writes NDJSON.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from madhatter_provider.core.contracts.contract import Contract, parse_contract
from madhatter_provider.core.decoding.registered_schemas import RegisteredSchema
from madhatter_provider.core.landing.files import PARQUET, FileOptions
from madhatter_provider.core.landing.land import Landing
from madhatter_provider.core.landing.local_store import LocalStore
from madhatter_provider.core.slices.offsets import OffsetRange, Slice
from madhatter_provider.hooks.kafka import KafkaSliceHook
from madhatter_provider.hooks.kafka_reader import reader_config
from madhatter_provider.transfers.landing_step import land_slice

PARTITIONS = 4
KINDS = ["view", "cart", "buy"]
SCHEMA_ID = 7
AVRO = {
    "type": "record",
    "name": "bench",
    "fields": [
        {"name": "event_id", "type": "string"},
        {"name": "event_time", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "user_id", "type": "long"},
        {"name": "kind", "type": "string"},
        {"name": "amount", "type": "double"},
        {"name": "page", "type": ["null", "string"]},
    ],
}


def contract(message_format: str = "json") -> Contract:
    """Six columns with the rules that are usual: required, range, enumeration, length."""
    rows = [
        (
            "event_id",
            "string",
            {"required": True, "primaryKey": True, "logicalTypeOptions": {"maxLength": 32}},
        ),
        ("event_time", "timestamp", {"required": True}),
        ("user_id", "integer", {"required": True, "logicalTypeOptions": {"minimum": 0}}),
        (
            "kind",
            "string",
            {"quality": [{"metric": "invalidValues", "arguments": {"validValues": ["view", "cart", "buy"]}}]},
        ),
        ("amount", "number", {"logicalTypeOptions": {"minimum": 0, "maximum": 10_000}}),
        ("page", "string", {}),
    ]
    return parse_contract(
        {
            "apiVersion": "v3.1.0",
            "kind": "DataContract",
            "customProperties": [{"property": "format", "value": message_format}],
            "schema": [
                {
                    "name": "bench",
                    "properties": [{"name": n, "logicalType": t, **more} for n, t, more in rows],
                }
            ],
        }
    )


class OneSchema:
    """A registry that knows one schema, without the requests that would be made once anyway."""

    where = "the benchmark itself"

    def by_id(self, schema_id: int) -> RegisteredSchema | None:
        """The schema."""
        return RegisteredSchema(SCHEMA_ID, "AVRO", json.dumps(AVRO)) if schema_id == SCHEMA_ID else None

    def by_version(self, subject: str, version: int) -> RegisteredSchema | None:
        """There are no references."""
        return None

    def subjects_of(self, schema_id: int) -> frozenset[str]:
        """No subject's versions are asked for."""
        return frozenset()


def row(i: int, event_time: str | int) -> dict[str, Any]:
    """A row that keeps the contract."""
    return {
        "event_id": f"{i:016d}",
        "event_time": event_time,
        "user_id": i % 5000,
        "kind": KINDS[i % 3],
        "amount": i % 977 / 10,
        "page": f"/p/{i % 1000}",
    }


def json_message(i: int) -> bytes:
    """About 130 bytes."""
    event_time = f"2026-11-24T06:{i // 60 % 60:02d}:{i % 60:02d}Z"
    return json.dumps(row(i, event_time), separators=(",", ":")).encode()


def avro_message() -> Callable[[int], bytes]:
    """The same row in Confluent's wire format."""
    from fastavro import parse_schema, schemaless_writer

    parsed = parse_schema(AVRO)

    def encode(i: int) -> bytes:
        out = io.BytesIO(b"\0" + SCHEMA_ID.to_bytes(4, "big"))
        out.seek(5)
        schemaless_writer(out, parsed, row(i, 1_764_000_000_000_000 + i))
        return out.getvalue()

    return encode


def produce(bootstrap: str, topic: str, messages: int, message: Callable[[int], bytes]) -> None:
    """Fill a new topic."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(30)
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "linger.ms": 50,
            "compression.type": "lz4",
            "batch.size": 1_000_000,
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    for i in range(messages):
        producer.produce(topic, message(i), partition=i % PARTITIONS)
        if i % 10_000 == 0:
            producer.poll(0)
            while len(producer) > 500_000:
                producer.poll(0.05)
    producer.flush()


def consumer(bootstrap: str, topic: str) -> Consumer:
    """A client tuned as ours is."""
    config = reader_config({"bootstrap.servers": bootstrap, "group.id": "bench"}, PARTITIONS)
    made = Consumer({**config, "enable.partition.eof": False})
    made.assign([TopicPartition(topic, p, 0) for p in range(PARTITIONS)])
    return made


def bytes_by_hand(bootstrap: str, topic: str, messages: int, out: Path) -> int:
    """A plain loop."""
    reader, done = consumer(bootstrap, topic), 0
    with (out / "raw.ndjson").open("wb") as file:
        while done < messages:
            values = [m.value() for m in reader.consume(10_000, 1.0) if m.error() is None]
            done += len(values)
            file.write(b"\n".join(v for v in values if v is not None) + b"\n")
    reader.close()
    return done


def lines_by_hand(bootstrap: str, topic: str, messages: int, out: Path) -> int:
    """The plain loop, with coordinates."""
    from datetime import UTC, datetime

    reader, done = consumer(bootstrap, topic), 0
    line = (
        b'{"_topic_id":"id","_partition":%d,"_offset":%d,"_timestamp":"%b","_key":null,"_headers":null,'
        b'"value":%b}\n'
    )
    with (out / "raw.ndjson").open("wb") as file:
        while done < messages:
            arrived = [m for m in reader.consume(10_000, 1.0) if m.error() is None]
            done += len(arrived)
            file.writelines(
                line
                % (
                    m.partition(),
                    m.offset(),
                    datetime.fromtimestamp(m.timestamp()[1] / 1000, UTC).isoformat().encode(),
                    m.value(),
                )
                for m in arrived
            )
    reader.close()
    return done


def by_hand(bootstrap: str, topic: str, messages: int, out: Path) -> int:
    """Typed Parquet in batches of 50,000, one file, coordinates too."""
    import pyarrow as pa
    import pyarrow.json as pj
    import pyarrow.parquet as pq

    time_type = pa.timestamp("us", "UTC")
    names = ["event_id", "event_time", "user_id", "kind", "amount", "page"]
    types = [pa.string(), time_type, pa.int64(), pa.string(), pa.float64(), pa.string()]
    schema = pa.schema(list(zip(names, types, strict=True)))
    parse = pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    reader, done, writer, batch = consumer(bootstrap, topic), 0, None, []
    while done < messages:
        arrived = [m for m in reader.consume(10_000, 1.0) if m.error() is None]
        batch += arrived
        done += len(arrived)
        if len(batch) < 50_000 and done < messages:
            continue
        joined = b"\n".join([m.value() for m in batch])
        table = pj.read_json(
            io.BytesIO(joined), parse_options=parse, read_options=pj.ReadOptions(block_size=len(joined) + 1)
        )
        table = table.append_column("_partition", pa.array([m.partition() for m in batch], pa.int32()))
        table = table.append_column("_offset", pa.array([m.offset() for m in batch], pa.int64()))
        table = table.append_column("_timestamp", pa.array([m.timestamp()[1] for m in batch], pa.int64()))
        table = table.append_column("_key", pa.array([m.key() for m in batch], pa.binary()))
        writer = writer or pq.ParquetWriter(out / "typed.parquet", table.schema, compression="zstd")
        writer.write_table(table)
        batch = []
    assert writer is not None
    writer.close()
    reader.close()
    return done


Write = Callable[[TextIO, Any], bool]


def write_line(file: TextIO, message: Any) -> bool:
    """What a user's function does for each message."""
    file.write(json.dumps(json.loads(message.value())) + "\n")
    return True


def write_avro_line() -> Write:
    """The same for Avro."""
    from fastavro import parse_schema, schemaless_reader

    parsed = parse_schema(AVRO)

    def write(file: TextIO, message: Any) -> bool:
        decoded = schemaless_reader(io.BytesIO(message.value()[5:]), parsed, None)
        file.write(json.dumps(decoded, default=str) + "\n")
        return True

    return write


def official(bootstrap: str, topic: str, messages: int, out: Path, write: Write = write_line) -> int:
    """The official operator, tuned as ours is, with the largest batches it takes."""
    from airflow.providers.apache.kafka.operators.consume import ConsumeFromTopicOperator

    tuned = reader_config({"bootstrap.servers": bootstrap}, PARTITIONS)
    extra = {
        **tuned,
        "group.id": f"official-{uuid.uuid4().hex}",
        "auto.offset.reset": "earliest",
        "enable.auto.offset.store": True,
        "enable.partition.eof": False,
    }
    os.environ["AIRFLOW_CONN_BENCH"] = json.dumps({"conn_type": "kafka", "extra": extra})
    with (out / "official.ndjson").open("w") as file:
        ConsumeFromTopicOperator(
            task_id="consume",
            kafka_config_id="bench",
            topics=[topic],
            max_messages=messages,
            max_batch_size=10_000,
            poll_timeout=5,
            apply_function=lambda m: write(file, m),
        ).execute({})
    return sum(1 for _ in (out / "official.ndjson").open())


def ours(
    bootstrap: str,
    topic: str,
    out: Path,
    *,
    options: FileOptions = PARQUET,
    message_format: str = "json",
    processes: int = 1,
) -> int:
    """Our landing, as the operators do it."""
    extra = {"bootstrap.servers": bootstrap}
    os.environ["AIRFLOW_CONN_BENCH"] = json.dumps({"conn_type": "kafka", "extra": extra})
    hook = KafkaSliceHook("bench")
    bounds = hook.bounds(topic)
    owned = Slice(topic, bounds.topic_id, tuple(OffsetRange(p, 0, end) for p, end in bounds.ends.items()))
    schemas = OneSchema() if message_format == "avro" else None
    store = LocalStore(out / "landing")
    job = Landing(contract(message_format), owned, "bench", store, options, schemas)
    return land_slice(job, hook, processes=processes).landed


LINES = FileOptions("ndjson", "none", validate=False)
WAYS: dict[str, Callable[[str, str, int, Path], int]] = {
    "official": official,
    "by_hand": by_hand,
    "bytes_by_hand": bytes_by_hand,
    "lines_by_hand": lines_by_hand,
    "typed": lambda bootstrap, topic, _, out: ours(bootstrap, topic, out),
    "typed_2": lambda bootstrap, topic, _, out: ours(bootstrap, topic, out, processes=2),
    "raw": lambda bootstrap, topic, _, out: ours(bootstrap, topic, out, options=LINES),
    "official_avro": lambda bootstrap, topic, n, out: official(bootstrap, topic, n, out, write_avro_line()),
    "avro": lambda bootstrap, topic, _, out: ours(bootstrap, topic, out, message_format="avro"),
}
AVRO_WAYS = ("official_avro", "avro")
PAIRS = [
    ("typed", "official"),
    ("typed", "by_hand"),
    ("typed_2", "typed"),
    ("raw", "lines_by_hand"),
    ("raw", "bytes_by_hand"),
    ("typed_2", "official"),
    ("avro", "official_avro"),
]


def one_way(way: str, bootstrap: str, topic: str, messages: int) -> None:
    """Carry out one way, in this process; say seconds and peak memory."""
    out = Path(tempfile.mkdtemp())
    began, idle = time.monotonic(), sum(os.times()[:4])
    try:
        read = WAYS[way](bootstrap, topic, messages, out)
    finally:
        seconds = time.monotonic() - began
        shutil.rmtree(out)
    if read != messages:
        raise SystemExit(f"{way} read {read} of {messages} messages")
    peak = max(own_peak(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
    cpu = sum(os.times()[:4]) - idle
    print(json.dumps({"seconds": seconds, "cpu": cpu, "megabytes": peak / 1024}))


def own_peak() -> int:
    """Most kilobytes that this process held, on Linux. What getrusage says begins with the peak of the
    process that started this one, here the one that filled the topic.
    """
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])


def measured(way: str, bootstrap: str, topic: str, messages: int) -> dict[str, float]:
    """Seconds, seconds of CPU and megabytes of one way in a process of its own."""
    command = [sys.executable, __file__, "--bootstrap-servers", bootstrap, "--messages", str(messages)]
    done = subprocess.run([*command, "--one", way, "--topic", topic], stdout=subprocess.PIPE, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def report(rounds: dict[str, list[dict[str, float]]], messages: int) -> None:
    """Rates with CPU and memory, then ratios within the rounds."""
    for name, found in rounds.items():
        rate = messages / statistics.median(f["seconds"] for f in found)
        cpu = statistics.median(f["cpu"] for f in found) / messages * 1e6
        peak = max(f["megabytes"] for f in found)
        print(f"{name:14} {rate:10,.0f} messages/s, {cpu:5.1f} µs of CPU each, peak {peak:,.0f} MB")
    for mine, other in PAIRS:
        if mine in rounds and other in rounds:
            for what in ("seconds", "cpu"):
                pairs = zip(rounds[mine], rounds[other], strict=True)
                ratios = [theirs[what] / own[what] for own, theirs in pairs]
                low, high = min(ratios), max(ratios)
                print(f"{mine} / {other}, {what}: {statistics.median(ratios):.2f} ({low:.2f} to {high:.2f})")


def main() -> None:
    """Run the rounds and print the tables."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--bootstrap-servers", default=os.environ.get("KAFKA_BOOTSTRAP_SERVERS", ""))
    options.add_argument("--messages", type=int, default=1_000_000)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--ways", nargs="*", choices=WAYS, default=[w for w in WAYS if w not in AVRO_WAYS])
    options.add_argument("--avro", action="store_true", help="Avro too, from a topic of its own")
    options.add_argument("--one", choices=WAYS, help=argparse.SUPPRESS)
    options.add_argument("--topic", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if not chosen.bootstrap_servers:
        options.error('start it first: madhatter local up; eval "$(madhatter local env)"')
    if chosen.one:
        one_way(chosen.one, chosen.bootstrap_servers, chosen.topic, chosen.messages)
        return
    ways = [*chosen.ways, *(AVRO_WAYS if chosen.avro else ())]
    topics = dict.fromkeys(ways, f"bench-{uuid.uuid4().hex[:8]}")
    produce(chosen.bootstrap_servers, topics[ways[0]], chosen.messages, json_message)
    if chosen.avro:
        topics |= dict.fromkeys(AVRO_WAYS, f"{topics['avro']}-avro")
        produce(chosen.bootstrap_servers, topics["avro"], chosen.messages, avro_message())
    rounds: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for _ in range(chosen.rounds):
        for way in ways:
            rounds[way].append(measured(way, chosen.bootstrap_servers, topics[way], chosen.messages))
    report(rounds, chosen.messages)


if __name__ == "__main__":
    main()
