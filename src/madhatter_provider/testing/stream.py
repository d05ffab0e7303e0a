"""One stream under test: its topic, its tables, and the verdict over both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from madhatter_provider.core.contracts.contract import Contract
from madhatter_provider.local.oracle import StreamVerdict, judge_stream
from madhatter_provider.testing.kafka import Broker
from madhatter_provider.testing.schema_registry import RunningSchemaRegistry
from madhatter_provider.testing.snowflake import RunningSnowflake

if TYPE_CHECKING:
    from madhatter_provider.local.encoding import Encode


@dataclass(frozen=True, slots=True)
class StreamUnderTest:
    """A contract's topic on a broker, and its tables in a Snowflake."""

    contract: Contract
    broker: Broker
    snowflake: RunningSnowflake
    registry: RunningSchemaRegistry | None = None

    def send(self, values: Iterable[bytes | str | Mapping[str, Any] | None]) -> int:
        """Send messages; their number. Mappings are sent as JSON or, if the format needs a registry, as
        messages of the newest schema of the stream's subject.

        :raises ValueError: a mapping does not fit the schema.
        """
        encode: Callable[[Mapping[str, Any]], Any] = self._encoder() if self.registry else dict
        messages = (encode(value) if isinstance(value, Mapping) else value for value in values)
        return self.broker.send(self.contract.topic, messages)

    def _encoder(self) -> Encode:
        from madhatter_provider.hooks.schema_registry import SchemaRegistry
        from madhatter_provider.local.encoding import open_encoder, subject_of

        assert self.registry is not None
        registry, subject = SchemaRegistry(self.registry.url, self.registry.url), subject_of(self.contract)
        schema = registry.latest(subject)
        assert schema is not None, f"register a schema for {subject} first"
        return open_encoder(self.contract, schema, registry)

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
