"""Schemas from a registry that speaks Confluent's REST API.

The connection is one of type HTTP: host (or a URL), port, schema ``https``, login and password for basic
authentication; extra ``ssl.ca.location`` names a file of certificates to trust.

httpx instead of confluent-kafka's own client: three GET requests need no more, and httpx is there already,
while that client brings packages and import time of its own into every task.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from madhatter_provider.core.contracts.contract import REGISTRY_FORMATS, Contract
from madhatter_provider.core.decoding.registered_schemas import (
    RegisteredSchema,
    SchemaReference,
    SchemaSource,
)
from madhatter_provider.core.errors import ConfigurationError, RegistryUnavailable

if TYPE_CHECKING:
    import httpx

_NOT_FOUND: Final = frozenset({40401, 40402, 40403})
"""The registry's own codes for an unknown subject, version and schema. Any other 404 comes from elsewhere."""
_LATER: Final = frozenset({408, 429, 500, 502, 503, 504})
_FIRST_WAIT: Final = 0.1
_SECONDS = 15.0
DEFAULT_CONN_ID: Final = "schema_registry_default"


@dataclass(slots=True)
class SchemaRegistry:
    """A client, and a cache of what it got: a schema never changes under its id.

    Can be pickled; the copy has a connection and a cache of its own.

    :param where: what the registry is called in messages.
    :param timeout: seconds for one question, repetitions included.
    """

    url: str
    where: str
    user: str = ""
    password: str = field(default="", repr=False)
    ca_file: str = ""
    timeout: float = field(default_factory=lambda: _SECONDS)
    _client: httpx.Client | None = field(default=None, init=False, repr=False)
    _known: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return SchemaRegistry, (
            self.url,
            self.where,
            self.user,
            self.password,
            self.ca_file,
            self.timeout,
        )

    def by_id(self, schema_id: int) -> RegisteredSchema | None:
        """The schema with an id; ``None`` if there is none.

        :raises RegistryUnavailable: no answer in time.
        :raises ConfigurationError: the registry refuses, or there is another service in its place.
        """
        return self._schema(f"schemas/ids/{schema_id}", schema_id)

    def by_version(self, subject: str, version: int) -> RegisteredSchema | None:
        """A version of a subject; ``None`` if there is none. Raises as :meth:`by_id`."""
        return self._schema(f"subjects/{quote(subject, safe='')}/versions/{version}", None)

    def latest(self, subject: str) -> RegisteredSchema | None:
        """The newest version of a subject, as it is when this is first asked; ``None`` if there is none.
        Raises as :meth:`by_id`.
        """
        return self._schema(f"subjects/{quote(subject, safe='')}/versions/latest", None)

    def subjects_of(self, schema_id: int) -> frozenset[str]:
        """Subjects that have a version with this schema. Raises as :meth:`by_id`."""
        return frozenset(self._get(f"schemas/ids/{schema_id}/subjects") or ())

    def _schema(self, path: str, schema_id: int | None) -> RegisteredSchema | None:
        found = self._get(path)
        if found is None:
            return None
        kind = str(found.get("schemaType") or "AVRO") if isinstance(found, dict) else ""
        if kind == "PROTOBUF":
            found = self._get(f"{path}?format=serialized") or {}
        try:
            references = tuple(
                SchemaReference(str(r["name"]), str(r["subject"]), int(r["version"]))
                for r in found.get("references") or ()
            )
            number = int(found["id"]) if schema_id is None else schema_id
            return RegisteredSchema(number, kind, str(found["schema"]), references)
        except (AttributeError, KeyError, TypeError, ValueError) as err:
            raise self._foreign(f"GET /{path} answers without a schema") from err

    def _get(self, path: str) -> Any:
        if path not in self._known:
            self._known[path] = self._ask(path)
        return self._known[path]

    def _ask(self, path: str) -> Any:
        import httpx

        ends, wait = time.monotonic() + self.timeout, _FIRST_WAIT
        while True:
            try:
                answer = self._open().get(path, timeout=max(1.0, ends - time.monotonic()))
                if answer.status_code not in _LATER:
                    return self._content(answer, path)
                said = f"HTTP {answer.status_code}"
            except (httpx.InvalidURL, httpx.UnsupportedProtocol) as err:
                raise self._misconfigured(f"{self.url!r} is not an address: {err}") from err
            except httpx.HTTPError as err:
                said = f"{type(err).__name__}: {err}"
            pause = random.uniform(wait / 2, wait)
            if time.monotonic() + pause >= ends:
                raise RegistryUnavailable(
                    f"The schema registry does not answer: {said}",
                    where=f"{self.where}, GET /{path}",
                    remedy="Nothing was lost, the task tries again. Is the registry up, its address right?",
                )
            time.sleep(pause)
            wait = min(2 * wait, 2.0)

    def _open(self) -> httpx.Client:
        import httpx

        if self._client is None:
            auth = (self.user, self.password) if self.user else None
            try:
                verify = _trust(self.ca_file) if self.ca_file else True
            except (OSError, ValueError) as err:
                raise self._misconfigured(f"ssl.ca.location {self.ca_file}: {err}") from err
            self._client = httpx.Client(base_url=self.url.rstrip("/") + "/", auth=auth, verify=verify)
        return self._client

    def _content(self, answer: httpx.Response, path: str) -> Any:
        try:
            content = answer.json()
        except ValueError:
            content = None
        if answer.status_code in (401, 403):
            raise self._misconfigured(
                f"The schema registry refuses user {self.user!r} (HTTP {answer.status_code})"
            )
        code = content.get("error_code") if isinstance(content, dict) else None
        if answer.status_code == 404 and code in _NOT_FOUND:
            return None
        if answer.status_code != 200 or content is None:
            raise self._foreign(f"GET /{path} answers HTTP {answer.status_code}: {answer.text[:100]!r}")
        return content

    def _foreign(self, what: str) -> ConfigurationError:
        return self._misconfigured(f"This is not a schema registry: {what}")

    def _misconfigured(self, what: str) -> ConfigurationError:
        return ConfigurationError(
            what, where=self.where, remedy="Check host, port, schema, login and password of the connection."
        )


def _trust(ca_file: str) -> Any:
    import ssl

    return ssl.create_default_context(cafile=ca_file)


def open_schemas(contract: Contract, conn_id: str | None = None) -> SchemaSource | None:
    """The registry of a connection; ``None`` if the contract's format needs none.

    :param conn_id: default: :data:`DEFAULT_CONN_ID`.
    :raises ConfigurationError: the connection is missing, or has no host.
    """
    if contract.format not in REGISTRY_FORMATS:
        return None
    schema_registry_conn_id = conn_id or DEFAULT_CONN_ID
    from airflow.providers.common.compat.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException, AirflowRuntimeError

    try:
        conn = BaseHook.get_connection(schema_registry_conn_id)
    except (AirflowNotFoundException, AirflowRuntimeError) as err:
        raise ConfigurationError(
            f"There is no connection {schema_registry_conn_id!r}",
            where=f"stream {contract.stream}, whose format is {contract.format}",
            remedy="Add a connection of type HTTP with host, port and schema of the registry, or name "
            "another one: schema_registry_conn_id.",
        ) from err
    if not conn.host:
        raise ConfigurationError(
            "The connection of the schema registry has no host",
            where=schema_registry_conn_id,
            remedy="Set its host, as registry.example.com or https://registry.example.com.",
        )
    url = conn.host if "://" in conn.host else f"{conn.schema or 'http'}://{conn.host}"
    if conn.port:
        url = f"{url}:{conn.port}"
    return SchemaRegistry(
        url,
        f"{schema_registry_conn_id} ({url})",
        conn.login or "",
        conn.password or "",
        str(conn.extra_dejson.get("ssl.ca.location") or ""),
    )
