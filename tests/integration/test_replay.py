"""Replays against real Kafka and the local Snowflake, judged by the oracle."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from madhatter_provider.core.contract import Contract
from madhatter_provider.testing.snowflake import RunningSnowflake

from .replays import Stream

pytestmark = pytest.mark.integration


@pytest.fixture
def stream(
    kafka_broker: str,
    topic: Any,
    snowflake: RunningSnowflake,
    contracts: dict[str, Contract],
    search_row: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Stream:
    connection = {"conn_type": "kafka", "extra": {"bootstrap.servers": kafka_broker}}
    monkeypatch.setenv("AIRFLOW_CONN_KAFKA_DEFAULT", json.dumps(connection))
    return Stream(kafka_broker, topic(2), snowflake, contracts["searches"], search_row)


def stricter(contract: Contract) -> Contract:
    """Fewer results are allowed: a good part of the rows breaks it."""
    columns = tuple(
        dataclasses.replace(c, maximum=9.0) if c.name == "results" else c for c in contract.columns
    )
    return dataclasses.replace(contract, columns=columns, version="2.0.0")


def test_a_replay_of_what_is_right_changes_nothing(stream: Stream) -> None:
    stream.send(40)
    stream.land("r1")
    stream.send(20)
    stream.land("r2")
    before = stream.rows(), stream.held()
    done = stream.replay()
    assert (stream.rows(), stream.held()) == before
    assert (done.offsets, done.rows_before, done.rows_after, done.quarantined_after) == (60, 54, 54, 6)
    assert stream.verdict().ok
    assert stream.conserved()
    assert stream.ledger("STATE", "DEEP_GATE", "REPLAY_ID") == [("loaded", None, done.id)] * 4
    assert list(stream.tidy()) == []
