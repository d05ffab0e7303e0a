"""From a contract to the decoder of its messages.

A decoder turns a batch of message values into typed columns and says which rows are not what the contract
says. What becomes of a message never depends on its neighbours in the batch. What is not a row's fault, such
as a registry that does not answer, is raised: the task retries, and nothing is quarantined.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from madhatter_provider.core.contract import Contract
from madhatter_provider.core.decoded import Decoded, RowJudge
from madhatter_provider.core.decoding import JsonDecoder

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class SchemaReference:
    """A schema that another one imports, under the name it is imported by."""

    name: str
    subject: str
    version: int


@dataclass(frozen=True, slots=True)
class RegisteredSchema:
    """A schema as a registry keeps it.

    ``kind`` is ``AVRO``, ``PROTOBUF`` or ``JSON``. ``text`` is the schema; for Protobuf a file descriptor in
    base64.
    """

    id: int
    kind: str
    text: str
    references: tuple[SchemaReference, ...] = ()


class SchemaSource(Protocol):
    """Where schemas come from: a registry. Can be pickled, so that worker processes read from it too.

    Every method raises :class:`TransientError` if there is no answer, :class:`ConfigurationError` if the
    registry refuses to answer.
    """

    def by_id(self, schema_id: int) -> RegisteredSchema | None:
        """The schema of a message; ``None`` if the registry does not know it."""

    def by_version(self, subject: str, version: int) -> RegisteredSchema | None:
        """The schema that a reference names; ``None`` if the registry does not know it."""


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
    """
    return RawDecoder(contract) if contract.format == "raw" else JsonDecoder(contract)


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
