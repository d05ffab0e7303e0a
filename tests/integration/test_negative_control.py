"""The oracle under which our landing is judged must fail for something that loses messages: the official
``ConsumeFromTopicOperator`` on a default connection, when one message makes the user's function raise.

If this ever passes without a gap, either the operator has been mended or the oracle is blind.
"""

from __future__ import annotations

import contextlib
import gc
import json
import uuid
from collections.abc import Iterable
from typing import Any

import pytest
from airflow.providers.apache.kafka.operators.consume import ConsumeFromTopicOperator
from confluent_kafka import Producer

from madhatter_provider.core.slices.offsets import OffsetRange, Slice
from madhatter_provider.local.oracle import compare, read_topic

pytestmark = pytest.mark.integration
MESSAGES, POISON = 40, 20


def test_the_official_operator_loses_what_follows_a_poison_message(
    kafka_broker: str, topic: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = topic(1)
    producer = Producer({"bootstrap.servers": kafka_broker})
    for i in range(MESSAGES):
        producer.produce(name, b"oops" if i == POISON else b'{"n": 1}')
    producer.flush()
    extra = {
        "bootstrap.servers": kafka_broker,
        "group.id": f"official-{uuid.uuid4().hex}",
        "auto.offset.reset": "earliest",
    }
    monkeypatch.setenv("AIRFLOW_CONN_OFFICIAL", json.dumps({"conn_type": "kafka", "extra": extra}))
    processed: list[int] = []

    def process(message: Any) -> None:
        json.loads(message.value())
        processed.append(message.offset())

    for _ in range(2):  # a task and its retry
        task: Any = ConsumeFromTopicOperator(
            task_id="consume",
            kafka_config_id="official",
            topics=[name],
            apply_function=process,
            max_messages=MESSAGES,
            poll_timeout=8,
        )
        with contextlib.suppress(json.JSONDecodeError):
            task.execute({})
        del task
        gc.collect()  # the operator leaves its consumer to the end of the process; this is that end

    content = read_topic(kafka_broker, name)

    def places(offsets: Iterable[int]) -> Slice:
        return Slice(name, content.topic_id, tuple(OffsetRange(0, o, o + 1) for o in offsets))

    poison = [o for _, o, value in content.rows if value == b"oops"]
    verdict = compare(
        places(o for _, o, _ in content.rows), places(processed), len(processed), places(poison), len(poison)
    )
    assert verdict.produced == MESSAGES
    assert not verdict.ok
    assert verdict.gaps == MESSAGES - POISON - 1, "everything behind the poison message"
