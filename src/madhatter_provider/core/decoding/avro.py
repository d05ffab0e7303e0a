"""Decode Avro messages whose schemas a registry keeps.

Each message is read by the schema it was written with, so one batch may hold messages of several versions. Of
a record the fields are taken that the contract has columns for; a field that a version does not have is null,
and the contract's rules judge that.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from madhatter_provider.core.contracts.contract import Contract
from madhatter_provider.core.decoding.decoded import BadRow, Decoded, Fault, RowJudge, in_order
from madhatter_provider.core.decoding.registered_schemas import (
    Bodies,
    FramedMessages,
    RegisteredSchema,
    SchemaSource,
    references_of,
)
from madhatter_provider.core.decoding.value_columns import ValueColumns
from madhatter_provider.core.optional_packages import required_package

if TYPE_CHECKING:
    import pyarrow as pa

ReadBody = Callable[[bytes], Mapping[str, Any]]
"""Decodes one body; raises one of :data:`UNREADABLE`."""
UNREADABLE: Final = (ArithmeticError, EOFError, LookupError, RecursionError, TypeError, ValueError)
"""What decoders raise on bytes that are not what the schema says."""


class RecordDecoder:
    """Decodes framed messages into rows by a reader for each schema.

    :param malformed: the rule that a body breaks which its reader cannot read.
    """

    def __init__(self, contract: Contract, framed: FramedMessages[ReadBody], malformed: str) -> None:
        self._judge, self._columns = RowJudge(contract), ValueColumns(contract)
        self.schema: pa.Schema = self._judge.schema
        self._framed, self._malformed = framed, malformed

    def decode(self, values: Sequence[bytes | None]) -> Decoded:
        """Decode a batch.

        :param values: message values; ``None`` is a tombstone.
        """
        bad: list[BadRow] = []
        parts, faults = [], dict[int, Fault]()
        for read, bodies in self._framed.sort(values, bad):
            rows, places = self._rows(read, bodies, bad)
            table, wrong = self._columns.table(rows)
            parts.append((table, places))
            faults |= {places[row]: fault for row, fault in wrong.items()}
        table, good = in_order(self.schema, parts)
        return self._judge.judge(
            table, good, bad, {row: faults[p] for row, p in enumerate(good) if p in faults}
        )

    def _rows(
        self, read: ReadBody, bodies: Bodies, bad: list[BadRow]
    ) -> tuple[list[Mapping[str, Any]], list[int]]:
        try:
            return list(map(read, bodies.contents)), bodies.places
        except UNREADABLE:
            pass  # one of them cannot be read: find it
        rows, places = [], []
        for place, content in zip(bodies.places, bodies.contents, strict=True):
            try:
                rows.append(read(content))
            except UNREADABLE as err:
                bad.append(BadRow(place, self._malformed, (str(err) or "ends too early")[:200]))
            else:
                places.append(place)
        return rows, places


def open_avro(contract: Contract, schemas: SchemaSource | None) -> RecordDecoder:
    """Decoder of a contract with format ``avro``.

    :raises ConfigurationError: there is no registry, or fastavro is not installed.
    """
    fastavro = required_package("fastavro", "formats")

    def prepare(schema: RegisteredSchema) -> ReadBody:
        parsed = parse_avro(schema, schemas, fastavro)  # type: ignore[arg-type]
        read = fastavro.schemaless_reader

        def body(content: bytes) -> Mapping[str, Any]:
            stream = io.BytesIO(content)
            record: Mapping[str, Any] = read(stream, parsed, None)
            if rest := len(content) - stream.tell():
                raise ValueError(f"{rest} bytes are left over")
            return record

        return body

    return RecordDecoder(contract, FramedMessages(contract, schemas, "AVRO", prepare), "malformed_avro")


def parse_avro(schema: RegisteredSchema, schemas: SchemaSource, fastavro: Any) -> Any:
    """A record's schema as fastavro wants it.

    :raises ValueError: it cannot be used.
    """
    named: dict[str, Any] = {}
    references = references_of(schema, schemas).values()
    try:
        for needed in references:
            fastavro.parse_schema(json.loads(needed.text), named_schemas=named)
        parsed = fastavro.parse_schema(json.loads(schema.text), named_schemas=named)
    except (fastavro.schema.SchemaParseException, *UNREADABLE) as err:
        raise ValueError(f"cannot be used: {err}") from err
    if not isinstance(parsed, dict) or parsed.get("type") != "record":
        raise ValueError("is not a record")
    if _recursive(parsed, named, ()):
        raise ValueError("holds itself: a message of it can be nested so deeply that it ends the process")
    return parsed


def _recursive(schema: Any, named: Mapping[str, Any], above: tuple[str, ...]) -> bool:
    """Whether a record is found below itself."""
    if isinstance(schema, str):
        if schema in above:
            return True
        return schema in named and _recursive(named[schema], named, above)
    if isinstance(schema, list):
        return any(_recursive(branch, named, above) for branch in schema)
    if schema["type"] in ("record", "error"):
        inside = (*above, schema["name"])
        return any(_recursive(field["type"], named, inside) for field in schema["fields"])
    below = [schema[key] for key in ("items", "values") if key in schema]
    below += [schema["type"]] if isinstance(schema["type"], dict | list) else []
    return any(_recursive(part, named, above) for part in below)
