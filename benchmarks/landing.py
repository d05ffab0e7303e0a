"""Landing speed: a typed, validated Parquet landing against the official ConsumeFromTopicOperator and a raw
loop.

All read the same topic of a real local Kafka with the same client settings, in turns, in one process::

    .madhatter/venv/bin/python benchmarks/landing.py --messages 500000 --rounds 3

* ``raw``: a plain ``consume()`` loop that writes the values as NDJSON, what an engineer would write by hand.
* ``official``: ``ConsumeFromTopicOperator`` with a function that parses each message and writes NDJSON.
* ``ours``: the landing of ``KafkaToObjectStorageOperator``: typed, checked against a contract, Parquet with
  coordinates.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from madhatter_provider.core.contract import Contract, parse_contract
from madhatter_provider.core.landing import Landing, land
from madhatter_provider.core.local_store import LocalStore
from madhatter_provider.core.offsets import OffsetRange, Slice
from madhatter_provider.hooks.kafka import KafkaSliceHook
from madhatter_provider.hooks.kafka_reader import READER_DEFAULTS

PARTITIONS = 4
KINDS = ["view", "cart", "buy"]


def contract() -> Contract:
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
            "schema": [
                {
                    "name": "bench",
                    "properties": [{"name": n, "logicalType": t, **more} for n, t, more in rows],
                }
            ],
        }
    )


def produce(bootstrap: str, topic: str, messages: int) -> None:
    """Fill a new topic with JSON of about 150 bytes."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(30)
    producer = Producer(
        {"bootstrap.servers": bootstrap, "linger.ms": 50, "compression.type": "lz4", "batch.size": 1_000_000}
    )
    for i in range(messages):
        row = {
            "event_id": f"{i:016d}",
            "event_time": f"2026-11-24T06:{i // 60 % 60:02d}:{i % 60:02d}Z",
            "user_id": i % 5000,
            "kind": KINDS[i % 3],
            "amount": i % 977 / 10,
            "page": f"/p/{i % 1000}",
        }
        producer.produce(topic, json.dumps(row, separators=(",", ":")).encode(), partition=i % PARTITIONS)
        if i % 10_000 == 0:
            producer.poll(0)
    producer.flush()


def raw(bootstrap: str, topic: str, messages: int, out: Path) -> int:
    """A plain loop."""
    settings = {
        "bootstrap.servers": bootstrap,
        "group.id": "raw",
        "enable.auto.commit": False,
        **READER_DEFAULTS,
    }
    consumer = Consumer(settings)
    consumer.assign([TopicPartition(topic, p, 0) for p in range(PARTITIONS)])
    done = 0
    with (out / "raw.ndjson").open("wb") as file:
        while done < messages:
            values = [m.value() for m in consumer.consume(10_000, 1.0) if m.error() is None]
            done += len(values)
            file.write(b"\n".join(v for v in values if v is not None) + b"\n")
    consumer.close()
    return done


def write_line(file: TextIO, message: Any) -> bool:
    """What a user's function does for each message."""
    file.write(json.dumps(json.loads(message.value())) + "\n")
    return True


def official(bootstrap: str, topic: str, messages: int, out: Path) -> int:
    """The official operator, tuned as ours is, with the largest batches it takes."""
    from airflow.providers.apache.kafka.operators.consume import ConsumeFromTopicOperator

    extra = {
        "bootstrap.servers": bootstrap,
        "group.id": f"official-{uuid.uuid4().hex}",
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        **READER_DEFAULTS,
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
            apply_function=lambda m: write_line(file, m),
        ).execute({})
    return sum(1 for _ in (out / "official.ndjson").open())


def ours(bootstrap: str, topic: str, messages: int, out: Path) -> int:
    """Our landing."""
    os.environ["AIRFLOW_CONN_BENCH"] = json.dumps(
        {"conn_type": "kafka", "extra": {"bootstrap.servers": bootstrap}}
    )
    hook = KafkaSliceHook("bench")
    bounds = hook.bounds(topic)
    owned = Slice(topic, bounds.topic_id, tuple(OffsetRange(p, 0, end) for p, end in bounds.ends.items()))
    job = Landing(contract(), owned, "bench", LocalStore(out / "landing"))
    return land(job, hook.read(owned)).landed


def main() -> None:
    """Run the rounds and print a table."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--bootstrap-servers", default=os.environ.get("KAFKA_BOOTSTRAP_SERVERS", ""))
    options.add_argument("--messages", type=int, default=500_000)
    options.add_argument("--rounds", type=int, default=3)
    chosen = options.parse_args()
    if not chosen.bootstrap_servers:
        options.error('start it first: madhatter local up; eval "$(madhatter local env)"')
    topic = f"bench-{uuid.uuid4().hex[:8]}"
    produce(chosen.bootstrap_servers, topic, chosen.messages)
    ways: dict[str, Callable[[str, str, int, Path], int]] = {"raw": raw, "official": official, "ours": ours}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(chosen.rounds):
        for name, way in ways.items():
            out = Path(tempfile.mkdtemp())
            began = time.monotonic()
            read = way(chosen.bootstrap_servers, topic, chosen.messages, out)
            seconds[name].append(time.monotonic() - began)
            shutil.rmtree(out)
            if read != chosen.messages:
                raise SystemExit(f"{name} read {read} of {chosen.messages} messages")
    for name, taken in seconds.items():
        rate = chosen.messages / statistics.median(taken)
        print(f"{name:10} {rate:10,.0f} messages/s (median of {len(taken)})")
    pairs = {
        f"ours / {other}": [o / s for s, o in zip(seconds["ours"], seconds[other], strict=True)]
        for other in ("official", "raw")
    }
    for name, ratios in pairs.items():
        print(f"{name:20} {statistics.median(ratios):.2f} (min {min(ratios):.2f}, max {max(ratios):.2f})")


if __name__ == "__main__":
    main()
