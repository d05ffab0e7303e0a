"""The local registry under Confluent's own client and serializers, and our client under both."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from confluent_kafka.schema_registry import Schema
from confluent_kafka.schema_registry import SchemaReference as Reference
from confluent_kafka.schema_registry.error import SchemaRegistryError

from madhatter_provider.core.decoding.registered_schemas import RegisteredSchema, SchemaReference
from madhatter_provider.core.errors import ConfigurationError, RegistryUnavailable
from madhatter_provider.hooks.schema_registry import SchemaRegistry

from .registries import RunningRegistry, registry  # noqa: F401

pytestmark = pytest.mark.integration
RECORD = json.dumps({"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"}]})
OTHER = json.dumps({"type": "record", "name": "R", "fields": [{"name": "b", "type": "int"}]})


def ours(registry: RunningRegistry, **changes: str) -> SchemaRegistry:  # noqa: F811
    user: dict[str, Any] = {"user": registry.USER, "password": registry.PASSWORD}
    return SchemaRegistry(registry.url, "test", **{**user, **changes})


def test_what_producers_register_is_kept_and_found(registry: RunningRegistry) -> None:  # noqa: F811
    client = registry.client
    first = client.register_schema("things-value", Schema(RECORD, "AVRO"))
    second = client.register_schema("things-value", Schema(OTHER, "AVRO"))
    assert registry.client.register_schema("things-value", Schema(RECORD, "AVRO")) == first != second
    assert registry.client.register_schema("copies-value", Schema(RECORD, "AVRO")) == first
    assert "things-value" in client.get_subjects()
    assert client.get_versions("things-value") == [1, 2]
    assert client.get_latest_version("things-value").schema_id == second
    assert client.lookup_schema("things-value", Schema(RECORD, "AVRO")).version == 1
    assert client.get_schema(first).schema_str == RECORD
    assert client.test_compatibility("things-value", Schema(OTHER, "AVRO"))
    assert client.get_compatibility() == "NONE"
    assert client.get_schema_types() == ["AVRO", "JSON", "PROTOBUF"]
    found = ours(registry)
    assert found.by_id(first) == RegisteredSchema(first, "AVRO", RECORD)
    assert found.subjects_of(first) >= {"things-value", "copies-value"}


def test_the_kits_way_to_register_is_that_of_the_client(registry: RunningRegistry) -> None:  # noqa: F811
    first = registry.register("kit-value", json.loads(RECORD))
    assert registry.register("kit-value", RECORD) == first
    newest = registry.register("kit-value", OTHER)
    assert registry.client.get_latest_version("kit-value").schema_id == newest
    assert ours(registry).latest("kit-value") == RegisteredSchema(newest, "AVRO", OTHER)
    with pytest.raises(ConfigurationError, match=r"refuses the schema: .*Invalid schema"):
        registry.register("kit-value", "{")
    registry.stop()
    try:
        with pytest.raises(RegistryUnavailable):
            registry.register("kit-value", OTHER)
    finally:
        registry.start()


def test_references_are_kept(registry: RunningRegistry) -> None:  # noqa: F811
    client = registry.client
    used = client.register_schema("part", Schema('{"type": "integer"}', "JSON"))
    whole = Schema('{"$ref": "part.json"}', "JSON", [Reference("part.json", "part", 1)])
    schema_id = client.register_schema("whole", whole)
    found = ours(registry)
    schema = found.by_id(schema_id)
    assert schema is not None
    assert schema.references == (SchemaReference("part.json", "part", 1),)
    assert found.by_version("part", 1) == RegisteredSchema(used, "JSON", '{"type": "integer"}')


def test_what_is_unknown_or_cannot_be_read_is_said(registry: RunningRegistry) -> None:  # noqa: F811
    found = ours(registry)
    assert found.by_id(99_999) is None
    assert found.by_version("nobody", 1) is None
    assert found.subjects_of(99_999) == frozenset()
    for schema in (Schema("{", "AVRO"), Schema("message T {}", "PROTOBUF"), Schema("{}", "XML")):
        with pytest.raises(SchemaRegistryError) as caught:
            registry.client.register_schema("broken", schema)
        assert caught.value.error_code == 42201
    with pytest.raises(ConfigurationError, match="refuses user 'producer'"):
        ours(registry, password="wrong").by_id(1)


def test_schemas_outlive_the_process_and_the_client_a_copy(registry: RunningRegistry) -> None:  # noqa: F811
    schema_id = registry.client.register_schema("lasting", Schema(RECORD, "AVRO"))
    before = ours(registry)
    known = before.by_id(schema_id)
    registry.stop()
    assert before.by_id(schema_id) == known  # a schema never changes under its id
    registry.start()
    copy = pickle.loads(pickle.dumps(before))
    assert copy.by_id(schema_id) == known
    assert registry.PASSWORD not in repr(copy)
