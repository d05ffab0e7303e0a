"""Schemas of a registry, and the messages that name theirs (Confluent's wire format).

A framed message is a zero byte, the schema's id in four bytes, big-endian, and the body.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from madhatter_provider.core.contracts.contract import Contract
from madhatter_provider.core.decoding.decoded import EMPTY, TOMBSTONE, BadRow, Fault
from madhatter_provider.core.errors import ConfigurationError, MadHatterError

_HEADER = 5
T = TypeVar("T")


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
    registry refuses to answer: neither is the fault of a message.
    """

    @property
    def where(self) -> str:
        """Connection and address, for messages."""

    def by_id(self, schema_id: int) -> RegisteredSchema | None:
        """The schema of a message; ``None`` if the registry does not know it."""

    def by_version(self, subject: str, version: int) -> RegisteredSchema | None:
        """The schema that a reference names; ``None`` if the registry does not know it."""

    def subjects_of(self, schema_id: int) -> frozenset[str]:
        """Subjects that a schema is registered under."""


@dataclass(slots=True)
class Bodies:
    """What follows the header of messages of one schema, and their places in the batch, ascending."""

    places: list[int] = field(default_factory=list)
    contents: list[bytes] = field(default_factory=list)


class FramedMessages(Generic[T]):
    """Sorts messages by their schema, and prepares each schema once.

    :param kind: ``AVRO``, ``PROTOBUF`` or ``JSON``.
    :param prepare: makes of a schema what decodes its messages; raises :class:`ValueError` if it cannot.
    :raises ConfigurationError: there is no registry.
    """

    def __init__(
        self,
        contract: Contract,
        schemas: SchemaSource | None,
        kind: str,
        prepare: Callable[[RegisteredSchema], T],
    ) -> None:
        if schemas is None:
            raise ConfigurationError(
                f"Messages of format {contract.format} need a schema registry",
                where=contract.path or contract.stream,
                remedy="Give schema_registry_conn_id, the connection of the registry.",
            )
        self._schemas, self._kind, self._prepare = schemas, kind, prepare
        self._subject = contract.subject
        self._prepared: dict[int, T | Fault] = {}

    def sort(self, values: Sequence[bytes | None], bad: list[BadRow]) -> list[tuple[T, Bodies]]:
        """The messages of each schema; those without a usable one are added to ``bad``."""
        found: dict[bytes, Bodies] = {}
        for place, value in enumerate(values):
            if value is None:
                bad.append(BadRow(place, *TOMBSTONE))
                continue
            header = value[:_HEADER]
            bodies = found.get(header)
            if bodies is None:
                bodies = found[header] = Bodies()
            bodies.places.append(place)
            bodies.contents.append(value[_HEADER:])
        usable = []
        for header, bodies in found.items():
            prepared = self._of(header)
            if isinstance(prepared, Fault):
                bad += [BadRow(place, *prepared) for place in bodies.places]
            else:
                usable.append((prepared, bodies))
        return usable

    def _of(self, header: bytes) -> T | Fault:
        if len(header) < _HEADER or header[0]:
            return _unframed(header)
        schema_id = int.from_bytes(header[1:], "big")
        if schema_id not in self._prepared:
            self._prepared[schema_id] = self._look_up(schema_id)
        return self._prepared[schema_id]

    def _look_up(self, schema_id: int) -> T | Fault:
        schema = self._schemas.by_id(schema_id)
        if schema is None:
            return Fault("unknown_schema", f"schema {schema_id} is not known to {self._schemas.where}")
        if schema.kind != self._kind:
            return Fault("wrong_schema", f"schema {schema_id} is {schema.kind}, not {self._kind}")
        if self._subject and self._subject not in (subjects := self._schemas.subjects_of(schema_id)):
            known = ", ".join(sorted(subjects)) or "none"
            return Fault(
                "wrong_schema", f"schema {schema_id} is not of subject {self._subject} but of {known}"
            )
        try:
            return self._prepare(schema)
        except MadHatterError:  # some are ValueErrors too, but none is the schema's fault
            raise
        except ValueError as err:
            return Fault("wrong_schema", f"schema {schema_id}: {err}")


def references_of(schema: RegisteredSchema, schemas: SchemaSource) -> dict[str, RegisteredSchema]:
    """All schemas that one needs, by the names they are imported by; those that others need come first.

    :raises ValueError: the registry does not know one of them.
    """
    found: dict[str, RegisteredSchema] = {}
    for reference in schema.references:
        needed = schemas.by_version(reference.subject, reference.version)
        if needed is None:
            place = f"version {reference.version} of subject {reference.subject}"
            raise ValueError(f"its reference {reference.name}, {place}, is unknown")
        for name, further in references_of(needed, schemas).items():
            found.setdefault(name, further)
        found.setdefault(reference.name, needed)
    return found


def _unframed(header: bytes) -> Fault:
    if not header:
        return EMPTY
    if header[0]:
        return Fault(
            "wire_format", f"begins with the byte 0x{header[0]:02x}, not with the 0 of a registered schema"
        )
    return Fault("wire_format", f"ends after {len(header)} bytes, within the header of {_HEADER}")
