"""Decode JSON messages whose JSON Schemas a registry keeps.

The body after the header is decoded as any JSON message. If the contract says ``validate``, each message is
checked against its own schema before; else the contract alone says what is good.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from madhatter_provider.core.contracts.contract import Contract
from madhatter_provider.core.decoding.decoded import BadRow, Decoded
from madhatter_provider.core.decoding.json_messages import JsonDecoder
from madhatter_provider.core.decoding.nested import DEEPEST, deeper_than
from madhatter_provider.core.decoding.registered_schemas import (
    FramedMessages,
    RegisteredSchema,
    SchemaSource,
    references_of,
)
from madhatter_provider.core.optional_packages import required_package

if TYPE_CHECKING:
    import pyarrow as pa

Check = Callable[[bytes], str | None]
"""Says what a message breaks of its schema, or nothing."""


class JsonSchemaDecoder:
    """Decoder of a contract with format ``jsonschema``.

    :raises ConfigurationError: there is no registry, or jsonschema-rs is not installed.
    """

    def __init__(self, contract: Contract, schemas: SchemaSource | None) -> None:
        self._json = JsonDecoder(contract)
        self.schema: pa.Schema = self._json.schema
        prepare = schema_checks(schemas) if contract.validate else _unchecked
        self._framed = FramedMessages(contract, schemas, "JSON", prepare)

    def decode(self, values: Sequence[bytes | None]) -> Decoded:
        """Decode a batch.

        :param values: message values; ``None`` is a tombstone.
        """
        bad: list[BadRow] = []
        bodies: list[tuple[int, bytes]] = []
        for check, framed in self._framed.sort(values, bad):
            for place, content in zip(framed.places, framed.contents, strict=True):
                if (broken := check(content)) is None:
                    bodies.append((place, content))
                else:
                    bad.append(BadRow(place, "json_schema", broken))
        bodies.sort()
        decoded = self._json.decode([content for _, content in bodies])
        places = [place for place, _ in bodies]
        bad += [BadRow(places[b.index], b.rule, b.reason, b.column) for b in decoded.bad]
        return Decoded(decoded.table, [places[i] for i in decoded.good], sorted(bad, key=lambda b: b.index))


def _unchecked(schema: RegisteredSchema) -> Check:
    return lambda content: None


def schema_checks(schemas: SchemaSource | None) -> Callable[[RegisteredSchema], Check]:
    """Makes of a schema what checks its messages; raises :class:`ValueError` if it cannot.

    :raises ConfigurationError: jsonschema-rs is not installed.
    """
    jsonschema_rs = required_package("jsonschema_rs", "formats")

    def prepare(schema: RegisteredSchema) -> Check:
        assert schemas is not None  # FramedMessages has refused that
        needed = references_of(schema, schemas)
        try:
            resources = [(name, json.loads(other.text)) for name, other in needed.items()]
            validator = jsonschema_rs.validator_for(
                json.loads(schema.text),
                registry=jsonschema_rs.Registry(resources) if resources else None,
            )
        except (ValueError, TypeError, jsonschema_rs.ReferencingError) as err:
            raise ValueError(f"cannot be used: {err}") from err
        return lambda content: _broken(validator, content)

    return prepare


def _broken(validator: Any, content: bytes) -> str | None:
    """What a message breaks; nothing, if it is no JSON: the JSON decoder says that better."""
    if deeper_than(content, DEEPEST):
        return f"is nested deeper than {DEEPEST} levels"
    try:
        message = json.loads(content)
    except ValueError:
        return None
    error = next(iter(validator.iter_errors(message)), None)
    if error is None:
        return None
    place = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in error.instance_path)
    return f"${place}: {error.message}"[:200]
