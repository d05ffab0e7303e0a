"""A Kafka topic, Airflow's state, a mirror group and a ledger, all in memory, for tests of the claim."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from madhatter_provider.core.errors import MadHatterError
from madhatter_provider.core.runs.claiming import Claiming, ClaimingRun
from madhatter_provider.core.slices.claim_options import ClaimOptions
from madhatter_provider.core.slices.claims import Claim, TopicBounds
from madhatter_provider.core.slices.offsets import Slice
from madhatter_provider.core.slices.state import Mirror


class StateStore:
    """JSON goes in, JSON comes out."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def get(self, key: str, default: Any = None) -> Any:
        return json.loads(self.values[key]) if key in self.values else default

    def set(self, key: str, value: Any) -> None:
        self.values[key] = json.dumps(value)


@dataclass
class Topic:
    """A broker with one topic, and what its consumer groups have committed."""

    name: str = "t"
    epoch: int = 0
    starts: dict[int, int] = field(default_factory=lambda: {0: 0})
    ends: dict[int, int] = field(default_factory=lambda: {0: 0})
    groups: dict[str, dict[int, tuple[str, int]]] = field(default_factory=dict)
    times: dict[int, int] = field(default_factory=dict)
    sizes: dict[int, float] = field(default_factory=dict)
    refuses_groups: MadHatterError | None = None

    def create_again(self, n: int) -> None:
        """With so many messages. Kafka forgets what groups have committed."""
        self.epoch += 1
        self.starts, self.ends, self.groups = {0: 0}, {0: n}, {}

    @property
    def id(self) -> str:
        return f"epoch-{self.epoch}"

    def bounds(self, topic: str) -> TopicBounds:
        return TopicBounds(topic, self.id, dict(self.starts), dict(self.ends))

    def offsets_at(self, topic: str, partitions: list[int], timestamp_ms: int) -> Mapping[int, int]:
        return {p: self.times.get(p, self.ends[p]) for p in partitions}

    def bytes_per_offset(self, pending: Slice) -> Mapping[int, float]:
        return {p: self.sizes.get(p, 10.0) for p in pending.partitions}

    def mirror(self, group: str, topic: str, partitions: list[int]) -> Mirror:
        if self.refuses_groups is not None:
            raise self.refuses_groups
        return Mirror({p: at for p, at in self.groups.get(group, {}).items() if p in partitions})

    def mirror_position(
        self, group: str, topic: str, topic_id: str, position: Mapping[int, int], *, back: bool = False
    ) -> None:
        if not back:
            position = self.mirror(group, topic, sorted(position)).forward(topic_id, position)
        elif self.refuses_groups is not None:
            raise self.refuses_groups
        self.groups.setdefault(group, {}).update({p: (topic_id, o) for p, o in position.items()})


@dataclass
class Ledger:
    """What one DAG's runs have recorded."""

    claims: dict[str, Claim] = field(default_factory=dict)

    def of_run(self, run_id: str) -> RunLedger:
        return RunLedger(self, run_id)


@dataclass
class RunLedger:
    ledger: Ledger
    run_id: str

    def recorded_claim(self) -> Slice | None:
        claim = self.ledger.claims.get(self.run_id)
        return claim.slice if claim is not None and (len(claim.slice) or len(claim.lost)) else None

    def recorded_position(self, topic_id: str) -> Mapping[int, int]:
        found: dict[int, int] = {}
        for claim in self.ledger.claims.values():
            for r in (*claim.slice, *claim.lost):
                if claim.slice.topic_id == topic_id:
                    found[r.partition] = max(found.get(r.partition, 0), r.end)
        return found

    def record_claim(self, claim: Claim, parts: int = 1) -> None:
        self.ledger.claims.setdefault(self.run_id, claim)


@dataclass
class Dag:
    """One DAG on the asset, and its runs' memories."""

    dag_id: str
    topic: Topic
    asset: StateStore
    ledger: Ledger | None = None
    memories: dict[str, StateStore] = field(default_factory=dict)
    succeeded: bool = False

    def claiming(self, run_id: str, *, again: bool = False, since: int = 0, **options: Any) -> Claiming:
        run = ClaimingRun(
            self.dag_id, run_id, again, datetime.fromtimestamp(since, UTC), lambda: self.succeeded
        )
        return Claiming(
            ClaimOptions(topic=self.topic.name, **options),
            run,
            self.topic,
            self.asset,
            self.memories.setdefault(run_id, StateStore()),
            self.ledger.of_run(run_id) if self.ledger is not None else None,
        )
