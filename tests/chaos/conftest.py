"""A whole platform under load, and the judgement of what became of every message."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from madhatter_provider.core.contracts.contract import Contract, load_contracts
from madhatter_provider.local.oracle import StreamVerdict, judge_stream
from madhatter_provider.local.platform import Platform
from madhatter_provider.local.service import wait_until
from madhatter_provider.testing.platform import running_platform

REPOSITORY = Path(__file__).resolve().parents[2]
_DRAIN_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Loaded:
    """The platform and what its tests ask of it."""

    platform: Platform
    contracts: Mapping[str, Contract]
    sql: Any

    def revive(self) -> None:
        """What a person would do: `madhatter local up`."""
        self.platform.start(service.name for service in self.platform.services)

    def drain(self) -> None:
        """Wait until the ledger shows every message of every topic as loaded."""
        assert wait_until(lambda: not self._behind(), seconds=_DRAIN_SECONDS, pause=2), self._behind()

    def _behind(self) -> dict[str, int]:
        """Messages per stream that are not yet loaded, by the ledger."""
        rows = self.sql.execute(
            "SELECT STREAM, SUM(END_OFFSET - START_OFFSET) AS N FROM OPS.SLICES WHERE STATE = 'loaded' "
            "GROUP BY STREAM"
        )
        done = {str(row["STREAM"]): int(row["N"]) for row in rows}
        ends = self._ends()
        left = {stream: ends[stream] - done.get(stream, 0) for stream in self.contracts}
        return {stream: count for stream, count in left.items() if count}

    def _ends(self) -> dict[str, int]:
        from confluent_kafka import Consumer, TopicPartition

        consumer = Consumer(
            {"bootstrap.servers": self.platform.env["KAFKA_BOOTSTRAP_SERVERS"], "group.id": "chaos"}
        )
        try:
            return {
                stream: sum(
                    consumer.get_watermark_offsets(TopicPartition(contract.topic, p), timeout=30)[1]
                    for p in range(contract.partitions)
                )
                for stream, contract in self.contracts.items()
            }
        finally:
            consumer.close()

    def judge(self) -> dict[str, StreamVerdict]:
        """Every stream, by broker and Snowflake alone."""
        servers = self.platform.env["KAFKA_BOOTSTRAP_SERVERS"]
        return {
            stream: judge_stream(servers, self.sql, contract.topic, f"RAW.{contract.table}")
            for stream, contract in self.contracts.items()
        }


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory, madhatter_cache: Path) -> Iterator[Loaded]:
    """The whole platform, the streaming job too; landing every few seconds, so that kills hit something."""
    home = tmp_path_factory.mktemp("chaos") / "home"
    with running_platform(home, REPOSITORY, madhatter_cache) as platform:
        yield Loaded(platform, load_contracts(REPOSITORY / "include" / "contracts"), _sql(platform))


def _sql(platform: Platform) -> Any:
    from madhatter_provider.hooks.snowflake_profile import SnowflakeProfile
    from madhatter_provider.hooks.snowflake_rest import SnowflakeRest

    return SnowflakeRest(SnowflakeProfile.from_env(platform.env, database="MADHATTER"), 60)
