"""Decode Protobuf messages whose file descriptors a registry keeps.

No generated code: message classes are built from the descriptors. A field that can be absent and is, is null;
one that cannot has its default. Enumerations are their names, well-known types what they stand for.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from madhatter_provider.core.contracts.contract import Contract
from madhatter_provider.core.decoding.avro import ReadBody, RecordDecoder
from madhatter_provider.core.decoding.registered_schemas import (
    FramedMessages,
    RegisteredSchema,
    SchemaSource,
    references_of,
)
from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.core.optional_packages import required_package

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, FieldDescriptor
    from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto
    from google.protobuf.descriptor_pool import DescriptorPool
    from google.protobuf.message import Message

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def open_protobuf(contract: Contract, schemas: SchemaSource | None) -> RecordDecoder:
    """Decoder of a contract with format ``protobuf``.

    :raises ConfigurationError: there is no registry, or protobuf is not installed.
    """
    required_package("google.protobuf.message_factory", "formats")

    def prepare(schema: RegisteredSchema) -> ReadBody:
        assert schemas is not None  # FramedMessages has refused that
        return _MessageReader(schema, schemas, frozenset(contract.by_name)).read

    return RecordDecoder(
        contract, FramedMessages(contract, schemas, "PROTOBUF", prepare), "malformed_protobuf"
    )


def first_message_type(schema: RegisteredSchema, schemas: SchemaSource) -> type[Message]:
    """The first message type of a schema's file: the one that producers write unless they say otherwise.

    :raises ConfigurationError: protobuf is not installed.
    :raises ValueError: the schema cannot be used.
    """
    required_package("google.protobuf.message_factory", "formats")
    return _MessageReader(schema, schemas, frozenset()).type_at((0,))[0]


class _MessageReader:
    """Reads the messages of one schema, which may hold several types: the header's path says which."""

    def __init__(self, schema: RegisteredSchema, schemas: SchemaSource, columns: frozenset[str]) -> None:
        from google.protobuf.descriptor_pool import DescriptorPool

        self._file = _descriptor(schema, schemas)
        self._pool, self._columns = DescriptorPool(), columns
        self._types: dict[tuple[int, ...], tuple[type[Message], list[FieldDescriptor]]] = {}
        try:
            for name, needed in references_of(schema, schemas).items():
                file = _descriptor(needed, schemas)
                file.name = name
                _add(self._pool, file)
            _add(self._pool, self._file)
        except (TypeError, KeyError) as err:
            raise ValueError(f"cannot be used: {err}") from err

    def read(self, content: bytes) -> Mapping[str, Any]:
        """The fields of a message that the contract has columns for.

        :raises ValueError: it is not what the schema says.
        """
        from google.protobuf.message import DecodeError

        path, start = _message_path(content)
        if path not in self._types:
            self._types[path] = self.type_at(path)
        kind, fields = self._types[path]
        try:
            message = kind.FromString(content[start:])
        except DecodeError as err:
            raise ValueError(str(err)) from err
        return {field.name: _field(message, field) for field in fields}

    def type_at(self, path: tuple[int, ...]) -> tuple[type[Message], list[FieldDescriptor]]:
        """The message type at a place in the file, and its fields that the contract has columns for.

        :raises ValueError: there is none.
        """
        from google.protobuf.message_factory import GetMessageClass

        name, among = self._file.package, self._file.message_type
        for index in path:
            if index >= len(among):
                raise ValueError(f"the schema has no message type at {list(path)}")
            found: DescriptorProto = among[index]
            name, among = f"{name}.{found.name}".lstrip("."), found.nested_type
        described: Descriptor = self._pool.FindMessageTypeByName(name)
        fields = [f for f in described.fields if f.name in self._columns]
        return GetMessageClass(described), fields


def _descriptor(schema: RegisteredSchema, schemas: SchemaSource) -> FileDescriptorProto:
    from google.protobuf.descriptor_pb2 import FileDescriptorProto
    from google.protobuf.message import DecodeError

    try:
        return FileDescriptorProto.FromString(base64.b64decode(schema.text, validate=True))
    except (binascii.Error, ValueError, DecodeError) as err:
        raise ConfigurationError(
            f"The registry gives Protobuf schema {schema.id} as text, not as a descriptor",
            where=schemas.where,
            remedy="Use a registry that knows format=serialized.",
        ) from err


def _add(pool: DescriptorPool, file: FileDescriptorProto) -> None:
    """Add a file, and before it those of Google's that it imports: registries do not keep them."""
    from google.protobuf.descriptor_pb2 import FileDescriptorProto
    from google.protobuf.descriptor_pool import Default

    for name in file.dependency:
        try:
            pool.FindFileByName(name)
        except KeyError:
            _import_well_known(name)
            known = FileDescriptorProto()
            Default().FindFileByName(name).CopyToProto(known)
            _add(pool, known)
    pool.Add(file)


def _import_well_known(name: str) -> None:
    """Put a file of Google's into the default pool: its Python module does that."""
    if name.startswith("google/"):
        required_package(name.removesuffix(".proto").replace("/", ".") + "_pb2", "formats")


def _message_path(content: bytes) -> tuple[tuple[int, ...], int]:
    """The path of the message type within its file, and where the message begins; zero alone is the first."""
    count, at = _varint(content, 0)
    if count == 0:
        return (0,), at
    if not 0 < count <= len(content):
        raise ValueError(f"has a path of {count} message types")
    path = []
    for _ in range(count):
        index, at = _varint(content, at)
        if index < 0:
            raise ValueError(f"has the message type {index} in its path")
        path.append(index)
    return tuple(path), at


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """A zigzag number, and where the next one begins."""
    number = 0
    for shift, byte in enumerate(content[at : at + 10]):
        number |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), at + shift + 1
    raise ValueError("ends within the path of its message type")


def _field(message: Message, field: FieldDescriptor) -> Any:
    if field.has_presence and not message.HasField(field.name):
        return None
    value = getattr(message, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        of = field.message_type.fields_by_name["value"]
        return {_key(k): _single(v, of) for k, v in sorted(value.items())}
    return [_single(v, field) for v in value] if field.is_repeated else _single(value, field)


def _key(key: Any) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)


def _single(value: Any, field: FieldDescriptor) -> Any:
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return value if known is None else known.name
    if field.message_type is None:
        return value
    read = _WELL_KNOWN.get(field.message_type.full_name)
    return read(value) if read else dict(_members(value))


def _members(message: Message) -> Iterator[tuple[str, Any]]:
    described: Any = message.DESCRIPTOR
    for field in described.fields:
        yield field.name, _field(message, field)


def _timestamp(value: Any) -> datetime:
    if value.nanos % 1000:
        raise ValueError(f"{value.seconds}.{value.nanos:09d} has more than six digits of a second")
    return _EPOCH + timedelta(seconds=value.seconds, microseconds=value.nanos // 1000)


def _wrapped(value: Any) -> Any:
    return value.value


def _registry_decimal(value: Any) -> Decimal:
    return Decimal(f"{int.from_bytes(value.value, 'big', signed=True)}E{-value.scale}")


def _plain(value: Any) -> Any:
    from google.protobuf.json_format import MessageToDict

    return MessageToDict(value)


_WELL_KNOWN: Final[Mapping[str, Callable[[Any], Any]]] = {
    "google.protobuf.Timestamp": _timestamp,
    "google.type.Date": lambda value: date(value.year, value.month, value.day),
    "google.type.Decimal": lambda value: Decimal(value.value),
    "confluent.type.Decimal": _registry_decimal,
    **{f"google.protobuf.{name}": _plain for name in ("Struct", "Value", "ListValue", "Duration")},
    **{
        f"google.protobuf.{name}Value": _wrapped
        for name in ("Bool", "Bytes", "Double", "Float", "Int32", "Int64", "String", "UInt32", "UInt64")
    },
}
