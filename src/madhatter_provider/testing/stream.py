"""One stream under test: its topic, its tables, and the verdict over both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from madhatter_provider.core.contracts.contract import Contract
from madhatter_provider.local.oracle import StreamVerdict, judge_stream
from madhatter_provider.testing.kafka import Broker
from madhatter_provider.testing.snowflake import RunningSnowflake


@dataclass(frozen=True, slots=True)
class StreamUnderTest:
    """A contract's topic on a broker, and its tables in a Snowflake."""

    contract: Contract
    broker: Broker
    snowflake: RunningSnowflake

    def send(self, values: Iterable[bytes | str | Mapping[str, Any] | None]) -> int:
        """Send messages, mappings as JSON; their number."""
        return self.broker.send(self.contract.topic, values)

    def rows(self) -> list[dict[str, Any]]:
        """The stream's table, in the order of the topic."""
        return self.snowflake.client().execute(
            f"SELECT * FROM RAW.{self.contract.table} ORDER BY _PARTITION, _OFFSET"
        )

    def verdict(self) -> StreamVerdict:
        """What became of every message, asked of the broker and of Snowflake alone."""
        return judge_stream(
            self.broker.bootstrap_servers,
            self.snowflake.client(),
            self.contract.topic,
            f"RAW.{self.contract.table}",
        )
