"""Messages of registered schemas (Confluent's wire format), made of JSON: what a producer does.

For ``madhatter local send`` and the test kit. What does not fit its schema is refused, never sent.
"""

from __future__ import annotations

import base64
import io
import json
import struct
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Final

from madhatter_provider.core.contracts.contract import Contract
from madhatter_provider.core.decoding.avro import UNREADABLE, parse_avro
from madhatter_provider.core.decoding.json_schema import schema_checks
from madhatter_provider.core.decoding.protobuf import first_message_type
from madhatter_provider.core.decoding.registered_schemas import RegisteredSchema, SchemaSource
from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.core.optional_packages import required_package

Encode = Callable[[bytes | Mapping[str, Any]], bytes]
"""Makes a message of JSON text, or of a mapping; raises :class:`ValueError` if it does not fit."""

KINDS: Final[Mapping[str, str]] = {"avro": "AVRO", "protobuf": "PROTOBUF", "jsonschema": "JSON"}
"""What a registry calls the schemas of a contract's format."""
_FIRST_TYPE: Final = b"\0"
"""The path of a Protobuf file's first message type."""


def subject_of(contract: Contract) -> str:
    """The subject of a stream's schemas: the contract's, else the one that producers use by themselves."""
    return contract.subject or f"{contract.topic}-value"


def open_encoder(contract: Contract, schema: RegisteredSchema, schemas: SchemaSource) -> Encode:
    """Encoder of one schema.

    :raises ConfigurationError: the schema is not of the contract's format, or a package is missing.
    :raises ValueError: the schema cannot be used.
    """
    if schema.kind != KINDS[contract.format]:
        raise ConfigurationError(
            f"Schema {schema.id} is {schema.kind}, the contract says {contract.format}",
            where=f"{schemas.where}, subject {subject_of(contract)}",
            remedy="Register a schema of that format, or mend the contract.",
        )
    body = {"AVRO": _avro, "PROTOBUF": _protobuf, "JSON": _json}[schema.kind](schema, schemas)
    header = struct.pack(">bI", 0, schema.id)

    def encode(value: bytes | Mapping[str, Any]) -> bytes:
        try:
            return header + body(value)
        except (AttributeError, struct.error, *UNREADABLE) as err:
            raise ValueError(str(err) or type(err).__name__) from err

    return encode


def schema_text(contract: Contract, content: bytes) -> str:
    """What is registered of a schema's file: its text or, for Protobuf, what ``protoc --descriptor_set_out``
    has made of it.

    :raises ValueError: it is no such file, or one that imports other files than Google's.
    """
    if contract.format != "protobuf":
        return content.decode()
    required_package("google.protobuf.descriptor_pb2", "formats")
    from google.protobuf.descriptor_pb2 import FileDescriptorSet
    from google.protobuf.message import DecodeError

    try:
        files = FileDescriptorSet.FromString(content).file
    except DecodeError as err:
        raise ValueError(f"protoc --descriptor_set_out has not made it: {err}") from err
    if not files:
        raise ValueError("it holds no file")
    others = [name for name in files[-1].dependency if not name.startswith("google/")]
    if others:
        raise ValueError(f"it imports {others[0]}: have a producer register it")
    return base64.b64encode(files[-1].SerializeToString()).decode()


def _json_text(value: bytes | Mapping[str, Any]) -> bytes:
    import msgspec

    return value if isinstance(value, bytes) else msgspec.json.Encoder(decimal_format="number").encode(value)


def _json(schema: RegisteredSchema, schemas: SchemaSource) -> Encode:
    check = schema_checks(schemas)(schema)

    def body(value: bytes | Mapping[str, Any]) -> bytes:
        text = _json_text(value)
        json.loads(text)
        if broken := check(text):
            raise ValueError(broken)
        return text

    return body


def _protobuf(schema: RegisteredSchema, schemas: SchemaSource) -> Encode:
    kind = first_message_type(schema, schemas)
    from google.protobuf.json_format import Parse, ParseError

    def body(value: bytes | Mapping[str, Any]) -> bytes:
        try:
            return _FIRST_TYPE + bytes(Parse(_json_text(value), kind()).SerializeToString())
        except ParseError as err:
            raise ValueError(str(err)) from err

    return body


def _avro(schema: RegisteredSchema, schemas: SchemaSource) -> Encode:
    fastavro = required_package("fastavro", "formats")
    parsed = parse_avro(schema, schemas, fastavro)
    values = _AvroValues(parsed["__named_schemas"], fastavro.validate)

    def body(value: bytes | Mapping[str, Any]) -> bytes:
        record = json.loads(value, parse_float=Decimal) if isinstance(value, bytes) else value
        if not isinstance(record, Mapping):
            raise ValueError("it is no JSON object")
        out = io.BytesIO()
        fastavro.schemaless_writer(out, parsed, values.of(parsed, record), strict_allow_default=True)
        return out.getvalue()

    return body


class _AvroValues:
    """Values as Avro's writer wants them, of values that JSON has: times, decimals and bytes are text there.

    :param named: schemas by name.
    :param fits: tells whether a value is one of a schema.
    """

    def __init__(self, named: Mapping[str, Any], fits: Callable[..., bool]) -> None:
        self._named, self._fits = named, fits

    def of(self, schema: Any, value: Any) -> Any:
        """A value of this schema.

        :raises ValueError: it cannot be one; so do the other errors of :data:`UNREADABLE`.
        """
        if isinstance(schema, list):
            return self._branch(schema, value)
        if isinstance(schema, str):
            return self.of(self._named[schema], value) if schema in self._named else _plain(schema, value)
        kind = schema["type"]
        if convert := _LOGICAL.get(schema.get("logicalType", "")):
            return convert(value)
        if kind == "record":
            types = {f["name"]: f["type"] for f in schema["fields"]}
            return {name: self.of(types[name], v) if name in types else v for name, v in value.items()}
        if kind == "array":
            return [self.of(schema["items"], v) for v in value]
        if kind == "map":
            return {name: self.of(schema["values"], v) for name, v in value.items()}
        return value if kind == "enum" else _plain(kind, value)

    def _branch(self, union: list[Any], value: Any) -> Any:
        why = ""
        for branch in union:
            try:
                made = self.of(branch, value)
            except UNREADABLE as err:
                why = f": {err}"
                continue
            named = self._named.get(branch, branch) if isinstance(branch, str) else branch
            if self._fits(made, named, raise_errors=False):
                return made
        raise ValueError(f"{value!r} is none of {', '.join(map(_name, union))}{why}")


def _name(schema: Any) -> str:
    return schema if isinstance(schema, str) else str(schema.get("name") or schema["type"])


def _plain(kind: str, value: Any) -> Any:
    if kind in ("float", "double") and isinstance(value, Decimal | int) and not isinstance(value, bool):
        return float(value)
    if kind in ("bytes", "fixed") and isinstance(value, str):
        return base64.b64decode(value, validate=True)
    return value


def _moment(value: Any) -> Any:
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    if isinstance(moment, datetime) and moment.tzinfo is None:
        raise ValueError(f"{value} names no offset from UTC")
    return moment


def _decimal(value: Any) -> Decimal:
    if isinstance(value, bool | float):
        raise TypeError(f"{value!r} is no exact number")
    return Decimal(value)


_LOGICAL: Final[Mapping[str, Callable[[Any], Any]]] = {
    **dict.fromkeys(("timestamp-millis", "timestamp-micros"), _moment),
    **dict.fromkeys(
        ("local-timestamp-millis", "local-timestamp-micros"),
        lambda value: datetime.fromisoformat(value) if isinstance(value, str) else value,
    ),
    **dict.fromkeys(
        ("time-millis", "time-micros"),
        lambda value: time.fromisoformat(value) if isinstance(value, str) else value,
    ),
    "date": lambda value: date.fromisoformat(value) if isinstance(value, str) else value,
    "decimal": _decimal,
}
