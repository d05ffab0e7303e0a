"""A registry in memory, contracts for its formats, and messages as producers frame them."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field
from typing import Any

import fastavro
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from madhatter_provider.core.contracts.contract import Contract, parse_contract
from madhatter_provider.core.decoding.registered_schemas import RegisteredSchema, SchemaReference


@dataclass
class Registry:
    """Schemas by id; ``subjects`` by (subject, version)."""

    schemas: dict[int, RegisteredSchema] = field(default_factory=dict)
    subjects: dict[tuple[str, int], int] = field(default_factory=dict)
    asked: list[int] = field(default_factory=list)
    where: str = "memory"

    def add(self, kind: str, text: str, subject: str = "s", references: Any = ()) -> int:
        """Register a schema; its id."""
        schema_id = len(self.schemas) + 1
        known = tuple(SchemaReference(*r) for r in references)
        self.schemas[schema_id] = RegisteredSchema(schema_id, kind, text, known)
        self.subjects[subject, sum(s == subject for s, _ in self.subjects) + 1] = schema_id
        return schema_id

    def by_id(self, schema_id: int) -> RegisteredSchema | None:
        self.asked.append(schema_id)
        return self.schemas.get(schema_id)

    def by_version(self, subject: str, version: int) -> RegisteredSchema | None:
        return self.schemas.get(self.subjects.get((subject, version), 0))

    def subjects_of(self, schema_id: int) -> frozenset[str]:
        return frozenset(s for (s, _), found in self.subjects.items() if found == schema_id)


def contract(message_format: str, properties: list[dict[str, Any]], **custom: Any) -> Contract:
    """A contract of these properties; its event time is Kafka's."""
    named = {"format": message_format, "eventTimeColumn": "_timestamp", **custom}
    return parse_contract(
        {
            "apiVersion": "v3.1.0",
            "kind": "DataContract",
            "schema": [{"name": "things", "properties": properties}],
            "customProperties": [{"property": k, "value": v} for k, v in named.items()],
        },
        where="things.yaml",
    )


def framed(schema_id: int, body: bytes) -> bytes:
    """A message with its header."""
    return b"\0" + schema_id.to_bytes(4, "big") + body


def avro(schema_id: int, schema: Any, record: Any) -> bytes:
    """A framed Avro message."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), record)
    return framed(schema_id, out.getvalue())


def descriptor_text(file: FileDescriptorProto) -> str:
    """A file descriptor as a registry gives it."""
    return base64.b64encode(file.SerializeToString()).decode()
