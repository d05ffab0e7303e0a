"""From a contract to the decoder of its messages.

A decoder turns a batch of message values into typed columns and says which rows are not what the contract
says. What becomes of a message never depends on its neighbours in the batch. What is not a row's fault, such
as a registry that does not answer, is raised: the task retries, and nothing is quarantined.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from madhatter_provider.core.contracts.contract import Contract
from madhatter_provider.core.decoding.avro import open_avro
from madhatter_provider.core.decoding.decoded import Decoded, RowJudge
from madhatter_provider.core.decoding.json_messages import JsonDecoder
from madhatter_provider.core.decoding.json_schema import JsonSchemaDecoder
from madhatter_provider.core.decoding.protobuf import open_protobuf
from madhatter_provider.core.decoding.registered_schemas import SchemaSource

__all__ = ["Decoder", "RawDecoder", "SchemaSource", "open_decoder"]

if TYPE_CHECKING:
    import pyarrow as pa


class Decoder(Protocol):
    """Decodes messages of one contract."""

    @property
    def schema(self) -> pa.Schema:
        """Columns of a decoded table, without coordinates."""

    def decode(self, values: Sequence[bytes | None]) -> Decoded:
        """Decode a batch.

        :param values: message values; ``None`` is a tombstone.
        """


def open_decoder(contract: Contract, schemas: SchemaSource | None = None) -> Decoder:
    """The decoder of a contract's format.

    :param schemas: the registry of the formats that need one.
    :raises ConfigurationError: the format needs a registry, and there is none; or a package is missing.
    """
    match contract.format:
        case "avro":
            return open_avro(contract, schemas)
        case "protobuf":
            return open_protobuf(contract, schemas)
        case "jsonschema":
            return JsonSchemaDecoder(contract, schemas)
        case "raw":
            return RawDecoder(contract)
    return JsonDecoder(contract)


class RawDecoder:
    """Messages as they come, in the one BINARY column that the contract has. A tombstone is a null."""

    def __init__(self, contract: Contract) -> None:
        self._judge = RowJudge(contract)
        self.schema: pa.Schema = self._judge.schema

    def decode(self, values: Sequence[bytes | None]) -> Decoded:
        """Decode a batch."""
        import pyarrow as pa

        table = pa.table([pa.array(values, pa.binary())], schema=self.schema)
        return self._judge.judge(table, list(range(len(values))), [])
