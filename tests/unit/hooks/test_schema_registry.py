"""The registry's client: what is asked, how often, and what other answers mean."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from madhatter_provider.core.contracts.contract import Contract
from madhatter_provider.core.decoding.registered_schemas import RegisteredSchema, SchemaReference
from madhatter_provider.core.errors import ConfigurationError, RegistryUnavailable
from madhatter_provider.hooks.schema_registry import SchemaRegistry, open_schemas

AVRO, JSON = (
    Contract("things", "1", "things", "things", "THINGS", "at", (), format=name) for name in ("avro", "json")
)


def client(server: HTTPServer, **options: Any) -> SchemaRegistry:
    return SchemaRegistry(server.url_for("").rstrip("/"), "test", **{"timeout": 0.4, **options})


def test_a_schema_is_asked_for_once_with_the_login(httpserver: HTTPServer) -> None:
    login = {"Authorization": "Basic " + base64.b64encode(b"u:p").decode()}
    httpserver.expect_ordered_request("/schemas/ids/7", headers=login).respond_with_json({"schema": '"int"'})
    found = client(httpserver, user="u", password="p")
    assert found.by_id(7) == found.by_id(7) == RegisteredSchema(7, "AVRO", '"int"')
    httpserver.check()


def test_protobuf_comes_as_a_descriptor(httpserver: HTTPServer) -> None:
    text = {"schemaType": "PROTOBUF", "schema": "message T {}"}
    reference = {"name": "a.proto", "subject": "a b", "version": 2}
    httpserver.expect_request("/schemas/ids/7", query_string="format=serialized").respond_with_json(
        {**text, "schema": "CgZ0", "references": [reference]}
    )
    httpserver.expect_request("/schemas/ids/7").respond_with_json(text)
    found = client(httpserver).by_id(7)
    assert found == RegisteredSchema(7, "PROTOBUF", "CgZ0", (SchemaReference("a.proto", "a b", 2),))


def test_subjects_are_quoted(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/subjects/a/b c/versions/2").respond_with_json({"id": 3, "schema": "{}"})
    assert client(httpserver).by_version("a/b c", 2) == RegisteredSchema(3, "AVRO", "{}")


def test_the_newest_version_of_a_subject(httpserver: HTTPServer) -> None:
    path = "/subjects/things-value/versions/latest"
    httpserver.expect_request(path).respond_with_json({"id": 3, "schema": "{}"})
    assert client(httpserver).latest("things-value") == RegisteredSchema(3, "AVRO", "{}")


@pytest.mark.parametrize("code", [40401, 40402, 40403])
def test_unknown_is_an_answer(httpserver: HTTPServer, code: int) -> None:
    httpserver.expect_request("/schemas/ids/7").respond_with_json({"error_code": code}, status=404)
    assert client(httpserver).by_id(7) is None


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_passes_is_asked_again(httpserver: HTTPServer, status: int) -> None:
    httpserver.expect_oneshot_request("/schemas/ids/7").respond_with_data("busy", status=status)
    httpserver.expect_oneshot_request("/schemas/ids/7").respond_with_json({"schema": '"int"'})
    assert client(httpserver, timeout=5.0).by_id(7) is not None


def test_what_does_not_pass_in_time_is_transient(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/schemas/ids/7").respond_with_data("busy", status=503)
    with pytest.raises(RegistryUnavailable, match="HTTP 503") as caught:
        client(httpserver).by_id(7)
    assert caught.value.transient
    assert "GET /schemas/ids/7" in caught.value.where
    with pytest.raises(RegistryUnavailable, match="ConnectError"):
        SchemaRegistry("http://127.0.0.1:1", "test", timeout=0.1).by_id(7)


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (401, "{}", "refuses user ''"),
        (403, "no", "refuses user ''"),
        (404, "<html>", "not a schema registry"),
        (404, '{"error_code": 404}', "not a schema registry"),
        (422, '{"error_code": 42201, "message": "bad"}', "not a schema registry"),
        (200, "<html>", "not a schema registry"),
        (200, "[]", "not a schema registry"),
        (200, '{"schemaType": "AVRO"}', "not a schema registry"),
        (200, '{"schema": "{}", "references": [{"name": 1}]}', "not a schema registry"),
    ],
)
def test_wrong_credentials_and_wrong_services_are_terminal(
    httpserver: HTTPServer, status: int, body: str, says: str
) -> None:
    httpserver.expect_request("/schemas/ids/7").respond_with_data(body, status=status)
    with pytest.raises(ConfigurationError) as caught:
        client(httpserver).by_id(7)
    assert says in caught.value.what
    assert not caught.value.transient
    assert caught.value.remedy


@pytest.mark.parametrize("url", ["registry", "ftp://registry", "http://a:port"])
def test_what_is_no_address_is_said(url: str) -> None:
    with pytest.raises(ConfigurationError, match="not an address"):
        SchemaRegistry(url, "test", timeout=0.1).by_id(7)


def test_a_missing_certificate_is_said() -> None:
    with pytest.raises(ConfigurationError, match=r"ssl.ca.location /none.pem"):
        SchemaRegistry("https://127.0.0.1:1", "test", ca_file="/none.pem").by_id(7)


@pytest.mark.parametrize(
    ("connection", "url"),
    [
        ({"host": "registry"}, "http://registry"),
        ({"host": "registry", "port": 8081, "schema": "https"}, "https://registry:8081"),
        ({"host": "https://registry/path"}, "https://registry/path"),
    ],
)
def test_connections(monkeypatch: pytest.MonkeyPatch, connection: dict[str, Any], url: str) -> None:
    extra = {"ssl.ca.location": "/ca.pem"}
    given = {"conn_type": "http", "login": "u", "password": "p", "extra": extra, **connection}
    monkeypatch.setenv("AIRFLOW_CONN_REGISTRY", json.dumps(given))
    found = open_schemas(AVRO, "registry")
    assert found == SchemaRegistry(url, f"registry ({url})", "u", "p", "/ca.pem")


def test_only_formats_that_need_a_registry_ask_for_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_schemas(JSON, "nowhere") is None
    with pytest.raises(ConfigurationError, match="no connection 'schema_registry_default'") as caught:
        open_schemas(AVRO)
    assert "stream things" in caught.value.where
    monkeypatch.setenv("AIRFLOW_CONN_SCHEMA_REGISTRY_DEFAULT", '{"conn_type": "http", "host": "registry"}')
    found = open_schemas(AVRO)
    assert isinstance(found, SchemaRegistry)
    assert found.url == "http://registry"


def test_connections_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_REGISTRY", json.dumps({"conn_type": "http"}))
    with pytest.raises(ConfigurationError, match="has no host"):
        open_schemas(AVRO, "registry")
    with pytest.raises(ConfigurationError, match="no connection 'nowhere'"):
        open_schemas(AVRO, "nowhere")
