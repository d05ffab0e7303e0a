"""A stream of a test's own that lands slices without Airflow, so that they can be replayed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from madhatter_provider.core.contracts.contract import Contract
from madhatter_provider.core.landing.land import Landing, land
from madhatter_provider.core.replay.job import Replayed, Replaying
from madhatter_provider.core.replay.plan import Plan
from madhatter_provider.core.replay.request import ReplayRequest
from madhatter_provider.core.replay.run import plan_replay, replay
from madhatter_provider.core.runs.recording import SliceRun
from madhatter_provider.core.slices.claims import Claim
from madhatter_provider.core.slices.offsets import OffsetRange, Slice
from madhatter_provider.core.warehouse.ingest import ingest, ingests_of
from madhatter_provider.hooks.kafka import KafkaSliceHook
from madhatter_provider.hooks.object_store import open_store
from madhatter_provider.hooks.snowpipe import SnowpipeHook
from madhatter_provider.local.oracle import StreamVerdict, judge_stream
from madhatter_provider.testing.snowflake import RunningSnowflake


def stricter(contract: Contract) -> Contract:
    """Fewer results are allowed: a good part of the rows breaks it."""
    columns = tuple(
        dataclasses.replace(c, maximum=9.0) if c.name == "results" else c for c in contract.columns
    )
    return dataclasses.replace(contract, columns=columns, version="2.0.0")


class Stream:
    """A topic with two partitions and the contract of searches, landed by hand."""

    def __init__(
        self,
        broker: str,
        topic: str,
        snowflake: RunningSnowflake,
        contract: Contract,
        row: Callable[..., bytes],
    ) -> None:
        self.broker, self.topic, self.snowflake, self.row = broker, topic, snowflake, row
        self.contract = dataclasses.replace(
            contract, stream=topic.replace("-", "_"), topic=topic, max_quarantine_percent=100.0
        )
        self.sql = snowflake.client()
        self.kafka = KafkaSliceHook("kafka_default")
        self.store: Any = open_store(snowflake.landing_root)
        self.lines: list[str] = []
        self._sent, self._position = 0, {0: 0, 1: 0}
        self._replays = 0

    def send(self, n: int, bad_every: int = 10, bad: bytes | None = b"oops") -> None:
        """Messages in turns to both partitions; the last of every ``bad_every`` is ``bad``."""
        producer = Producer({"bootstrap.servers": self.broker})
        for _ in range(n):
            good = self._sent % bad_every != bad_every - 1
            value = self.row(self._sent) if good else bad
            producer.produce(
                self.topic, value, key=f"k{self._sent}", partition=self._sent % 2, headers={"h": b"v"}
            )
            self._sent += 1
        producer.flush()

    def pending(self) -> Slice:
        """What is not claimed."""
        bounds = self.kafka.bounds(self.topic)
        ranges = tuple(OffsetRange(p, self._position[p], e) for p, e in bounds.ends.items())
        return Slice(self.topic, bounds.topic_id, ranges)

    def claim(self, run_id: str) -> Slice:
        """Claim everything."""
        owned = self.pending()
        self._run(run_id).record_claim(Claim(run_id, owned, Slice(owned.topic, owned.topic_id)))
        self._position |= {r.partition: r.end for r in owned}
        return owned

    def land(self, run_id: str) -> Slice:
        """Claim, land and load everything new."""
        owned, run = self.claim(run_id), self._run(run_id)
        manifest = land(Landing(self.contract, owned, run_id, self.store), self.kafka.read(owned))
        pipes = SnowpipeHook("snowflake_default").pipes
        for one in ingests_of([manifest], self.contract.table):
            ingest(pipes, self.sql, one, poll_seconds=0.05)
        run.record_loaded([manifest], run.judge(manifest))
        return owned

    def _run(self, run_id: str) -> SliceRun:
        return SliceRun(self.contract, f"land_{self.topic}", run_id, self.sql)

    def replaying(self, replay_id: str | None = None, contract: Contract | None = None) -> Replaying:
        """What a replay works with; an id of its own if none is given."""
        self._replays += 1
        name = replay_id or f"{self.contract.stream.upper()}_{self._replays}"
        return Replaying(
            contract or self.contract, self.sql, self.kafka, self.store, name, log=self.lines.append
        )

    def plan(self, start: str | None = "0", end: str | None = None, **more: Any) -> Plan:
        """A dry run."""
        return plan_replay(self.replaying(), self.request(start, end, **more))

    def replay(
        self, start: str | None = "0", end: str | None = None, *, contract: Contract | None = None,
        id: str | None = None, **more: Any,
    ) -> Replayed:  # fmt: skip
        """A replay, of everything claimed if nothing is said."""
        return replay(self.replaying(id, contract), self.request(start, end, **more))

    def request(self, start: str | None, end: str | None, **more: Any) -> ReplayRequest:
        """A request with a reason."""
        if start is not None and end is None:
            end = ",".join(f"{p}:{o}" for p, o in self._position.items())
        return ReplayRequest(start=start, end=end, **{"reason": "a test", "who": "tester", **more})

    def retention_takes(self, before: dict[int, int]) -> None:
        """Delete the messages before these offsets from the broker."""
        admin = AdminClient({"bootstrap.servers": self.broker})
        places = [TopicPartition(self.topic, p, o) for p, o in before.items()]
        for future in admin.delete_records(places).values():
            future.result(timeout=15)

    def verdict(self) -> StreamVerdict:
        """What broker and Snowflake say."""
        return judge_stream(self.broker, self.sql, self.topic, "RAW.SEARCHES")

    def rows(self) -> list[tuple[Any, ...]]:
        """Everything in the table, in order."""
        return self._all("RAW.SEARCHES")

    def held(self) -> list[tuple[Any, ...]]:
        """Everything in quarantine, in order, without the run that brought it there."""
        return self._all("RAW.QUARANTINE", "RUN_ID")

    def _all(self, table: str, *without: str) -> list[tuple[Any, ...]]:
        found = self.sql.execute(
            f"SELECT * FROM {table} WHERE _TOPIC_ID = ? ORDER BY _PARTITION, _OFFSET",
            [self.kafka.bounds(self.topic).topic_id],
        )
        return [tuple(v for c, v in r.items() if c not in without) for r in found]

    def ledger(self, *columns: str) -> list[tuple[Any, ...]]:
        """Columns of the stream's ledger rows, in order."""
        found = self.sql.execute(
            f"SELECT {', '.join(columns)} FROM OPS.SLICES WHERE STREAM = ? "
            "ORDER BY PARTITION_ID, START_OFFSET",
            [self.contract.stream],
        )
        return [tuple(r.values()) for r in found]

    def conserved(self) -> bool:
        """The ledger's counts are those of the tables."""
        counts = self.ledger("STATE", "ROWS_READ", "ROWS_LANDED", "ROWS_LOADED", "ROWS_QUARANTINED")
        loaded = [c for c in counts if c[0] == "loaded"]
        return (
            all(c[1] == c[2] + c[4] and c[2] == c[3] for c in loaded)
            and sum(c[3] for c in loaded) == len(self.rows())
            and sum(c[4] for c in loaded) == len(self.held())
        )

    def delete(self, offsets: Sequence[int]) -> None:
        """Somebody deletes rows of both partitions."""
        some = ", ".join(map(str, offsets))
        self.sql.execute(
            f"DELETE FROM RAW.SEARCHES WHERE _TOPIC_ID = ? AND _OFFSET IN ({some})",
            [self.kafka.bounds(self.topic).topic_id],
        )

    def tidy(self) -> Iterator[str]:
        """Staging tables that are left."""
        found = self.sql.execute(
            "SELECT TABLE_NAME FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = 'OPS'"
        )
        mine = self.contract.stream.upper()
        return (name for name in (str(r["TABLE_NAME"]) for r in found) if mine in name)


@pytest.fixture(name="stream")
def stream_fixture(
    kafka_broker: str,
    topic: Any,
    snowflake: RunningSnowflake,
    contracts: dict[str, Contract],
    search_row: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Stream:
    """A stream of this test's own."""
    connection = {"conn_type": "kafka", "extra": {"bootstrap.servers": kafka_broker}}
    monkeypatch.setenv("AIRFLOW_CONN_KAFKA_DEFAULT", json.dumps(connection))
    return Stream(kafka_broker, topic(2), snowflake, contracts["searches"], search_row)
