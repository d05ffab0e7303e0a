"""A real local Snowflake server for integration tests, with its database set up, and rows to land."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from madhatter_provider.core.contracts.contract import Contract, load_contracts
from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.core.landing.land import Batch, Landing, land
from madhatter_provider.core.landing.manifest import Manifest
from madhatter_provider.core.slices.offsets import OffsetRange, Slice
from madhatter_provider.hooks.object_store import open_store
from madhatter_provider.testing.secure_kafka import SecureKafka
from madhatter_provider.testing.snowflake import RunningSnowflake

INCLUDE = Path(__file__).parents[2] / "include"
StartSnowflake = Callable[..., RunningSnowflake]


@pytest.fixture(scope="session")
def contracts() -> dict[str, Contract]:
    """The platform's contracts."""
    return load_contracts(INCLUDE / "contracts")


@pytest.fixture(scope="session")
def start_snowflake(
    madhatter_start_snowflake: StartSnowflake, contracts: dict[str, Contract]
) -> StartSnowflake:
    """Factory of servers with the database set up; takes the server's options. All end with the session."""

    def start(*options: str) -> RunningSnowflake:
        server = madhatter_start_snowflake(*options)
        server.apply_sql(contracts, INCLUDE / "sql")
        return server

    return start


@pytest.fixture(scope="session")
def shared_snowflake(start_snowflake: StartSnowflake) -> RunningSnowflake:
    """One server for the whole session. Tests use streams, tables and topic ids of their own."""
    return start_snowflake()


@pytest.fixture(scope="session")
def own_snowflake(start_snowflake: StartSnowflake) -> RunningSnowflake:
    """A second server, for tests that count all rows there are: each leaves it empty."""
    return start_snowflake()


@pytest.fixture
def snowflake(shared_snowflake: RunningSnowflake, monkeypatch: pytest.MonkeyPatch) -> RunningSnowflake:
    """The shared server, without faults, as Airflow's connection ``snowflake_default``."""
    # Platforms that ran in between have set bundles of their own.
    for name, value in shared_snowflake.trust.items():
        monkeypatch.setenv(name, value)
    shared_snowflake.http("DELETE", "/_faults")
    monkeypatch.setenv("AIRFLOW_CONN_SNOWFLAKE_DEFAULT", shared_snowflake.airflow_connection)
    return shared_snowflake


@pytest.fixture(scope="session")
def secure_kafka(madhatter_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureKafka]:
    """A Kafka node with SASL over TLS and access rules, shared by the session: topics of your own, please."""
    try:
        node = SecureKafka(tmp_path_factory.mktemp("secure-kafka"), madhatter_cache)
    except ConfigurationError as err:
        pytest.skip(f"no Kafka here: {err.what}. {err.remedy}")
    node.start()
    yield node
    node.stop(grace=0)


def search(i: int, **changes: Any) -> bytes:
    """A good message of stream ``searches``, with changes."""
    row = {
        "event_id": f"{i:016d}",
        "event_time": "2026-11-24T06:00:00.123456Z",
        "session_id": "s1234567",
        "customer_id": f"C{i:06d}",
        "device_id": "d1234567",
        "query": 'top hat\'s \\ "size"',
        "results": i % 100,
        "country": "US",
        "latency_ms": 12,
    }
    return json.dumps(row | changes).encode()


@pytest.fixture(scope="session")
def search_row() -> Callable[..., bytes]:
    """``search_row(i, **changes)`` makes a good message of stream ``searches``, with changes."""
    return search


class Lander:
    """Lands messages below a landing root, as a landing DAG does; a call goes on where the last ended."""

    def __init__(self, contract: Contract, root: str) -> None:
        self.contract, self._root = contract, root
        self.topic_id = f"id-{uuid.uuid4().hex[:12]}"
        self._next: dict[int, int] = {}

    def land(self, values: Sequence[bytes], partition: int = 0) -> Manifest:
        """Land one slice of one partition."""
        start = self._next.get(partition, 0)
        end = self._next[partition] = start + len(values)
        owned = Slice(self.contract.topic, self.topic_id, (OffsetRange(partition, start, end),))
        n, sent = len(values), 1_764_000_000_000
        batch = Batch(partition, list(range(start, end)), [sent] * n, [b"key"] * n, list(values), [None] * n)
        return land(Landing(self.contract, owned, f"run-{start}", open_store(self._root)), [batch])


@pytest.fixture
def lander(snowflake: RunningSnowflake, contracts: dict[str, Contract]) -> Lander:
    """Lands searches for the shared server, in a topic epoch of this test's own."""
    return Lander(contracts["searches"], snowflake.landing_root)
