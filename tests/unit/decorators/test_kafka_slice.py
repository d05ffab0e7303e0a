"""What ``@task.kafka_slice`` accepts, and what its function gets."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, Asset

from madhatter_provider.core.contracts.contract import load_contract
from madhatter_provider.core.decoding.decoders import open_decoder
from madhatter_provider.core.errors import ConfigurationError, ConservationError
from madhatter_provider.core.landing.batch import Batch
from madhatter_provider.core.landing.slice_batches import SliceBatches
from madhatter_provider.core.slices.offsets import OffsetRange, Slice
from madhatter_provider.decorators.kafka_slice import KafkaSliceDecoratedOperator, kafka_slice_task

CONTRACT = Path(__file__).parents[3] / "include/contracts/searches.odcs.yaml"
TOPIC = Asset("topic")
OWNED = Slice("t", "id", (OffsetRange(0, 0, 6),))


def built(function: Callable[..., Any], *args: Any, **options: Any) -> KafkaSliceDecoratedOperator:
    with DAG("d", schedule=[TOPIC], start_date=datetime(2026, 1, 1)) as dag:
        kafka_slice_task(topic="t", asset=TOPIC, **options)(function)(*args)
    task = dag.tasks[0]
    assert isinstance(task, KafkaSliceDecoratedOperator)
    return task


def no_parameter() -> None: ...


def keyword_only(*, batches: object) -> None: ...


def yields(batches: object) -> Iterator[int]:
    yield 1


async def is_async(batches: object) -> None: ...


async def yields_async(batches: object) -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (no_parameter, "no parameter for the messages"),
        (keyword_only, "no parameter for the messages"),
        (yields, "would not run when it is called"),
        (is_async, "would not run when it is called"),
        (yields_async, "would not run when it is called"),
    ],
)
def test_functions_that_cannot_read_are_refused(function: Callable[..., Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        built(function)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"on_bad": "quarantine"}, "on_bad='quarantine' is not understood"),
        ({"start": "soon"}, "start='soon'"),
        ({"max_active_tis_per_dag": 3}, "max_active_tis_per_dag=1"),
    ],
)
def test_options_that_mean_nothing_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        built(lambda batches: None, **options)


def test_other_parameters_are_those_of_any_task() -> None:
    def function(batches: object, factor: int, run_id: str | None = None) -> None: ...

    task = built(function, 3)
    assert (task.task_id, task.op_args) == ("function", (3,))
    assert (task.inlets, task.max_active_tis_per_dag) == ([TOPIC], 1)
    with pytest.raises(TypeError, match="factor"):
        built(function)


def batch(*values: bytes, first: int = 0) -> Batch:
    n = len(values)
    return Batch(0, list(range(first, first + n)), [0] * n, [None] * n, list(values), [None] * n)


def test_empty_batches_are_left_out_and_all_must_be_read() -> None:
    sent = [batch(), batch(b"a", b"b"), batch(b"c", first=2), batch()]
    batches = SliceBatches(OWNED, iter(sent))
    assert next(batches).column("value").to_pylist() == [b"a", b"b"]
    with pytest.raises(ConservationError, match="read 2 rows and left the rest"):
        batches.finish()
    batches = SliceBatches(OWNED, iter(sent))
    assert [b.num_rows for _, b in zip(range(2), batches, strict=False)] == [2, 1]
    batches.finish()  # the last one was read, if nobody has noticed
    assert batches.rows == 3


def search(i: int) -> bytes:
    """A good message of stream ``searches``."""
    row = {
        "event_id": f"{i:016d}",
        "event_time": "2026-11-24T06:00:00Z",
        "session_id": "s1234567",
        "customer_id": f"C{i:06d}",
        "device_id": "d1234567",
        "query": "hat",
        "results": 3,
        "country": "US",
        "latency_ms": 12,
    }
    return json.dumps(row).encode()


def test_skipped_messages_are_counted_by_rule(caplog: pytest.LogCaptureFixture) -> None:
    sent = [batch(b"oops", search(1)), batch(b"oops", b"", first=2), batch(search(2), first=4)]
    batches = SliceBatches(OWNED, iter(sent), open_decoder(load_contract(CONTRACT)), "skip")
    assert [b.column("_offset").to_pylist() for b in batches] == [[1], [4]]
    with caplog.at_level(logging.WARNING):
        batches.finish()
    assert "Skipped 3 messages that break the contract (empty: 1, malformed_json: 2)" in caplog.text
