"""The local schema registry as a process that tests may kill and start again."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from madhatter_provider.local.process import ProcessId, end, free_port, spawn, tail
from madhatter_provider.local.registration import register_schema
from madhatter_provider.testing.leash import leashed

_START_SECONDS = 30


class RunningSchemaRegistry:
    """One registry; its schemas stay over a restart.

    :param user: ``name:password`` that every request must bring; none: anyone may ask.
    """

    def __init__(self, folder: Path, user: str = "") -> None:
        self.folder, self.port, self._user = folder, free_port(), user
        self.url = f"http://127.0.0.1:{self.port}"
        self._log, self._mark = folder / "schema-registry.log", f"schema-registry@{folder}"
        self._process: ProcessId | None = None

    @property
    def airflow_connection(self) -> str:
        """Its Airflow connection (JSON)."""
        name, _, password = self._user.partition(":")
        login = {"login": name, "password": password} if name else {}
        return json.dumps({"conn_type": "http", "host": "127.0.0.1", "port": self.port, **login})

    def start(self) -> None:
        """Start the process and wait until it answers."""
        command = [
            sys.executable, "-W", "ignore", "-m", "madhatter_provider.local.schema_registry",
            "--port", str(self.port), "--data", str(self.folder / "schemas.json"), "--user", self._user,
        ]  # fmt: skip
        child, self._process = spawn(
            leashed(command), env=os.environ, log=self._log, cwd=self.folder, mark=self._mark
        )
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if child.poll() is not None or time.monotonic() > deadline:
                self.stop()
                pytest.fail(f"The schema registry did not start:\n{tail(self._log, 30)}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        import httpx

        try:
            return httpx.get(f"{self.url}/subjects").status_code in (200, 401)
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        """End it at once: it writes every schema before it answers."""
        end(self._process, self._mark, grace=0)

    def register(self, subject: str, schema: str | Mapping[str, Any], kind: str = "AVRO") -> int:
        """Make a schema the newest version of a subject; its id.

        :param schema: its text, or what the text says; for Protobuf a file descriptor in base64.
        :param kind: ``AVRO``, ``PROTOBUF`` or ``JSON``.
        """
        text = schema if isinstance(schema, str) else json.dumps(schema)
        name, _, password = self._user.partition(":")
        return register_schema(self.url, subject, text, kind, auth=(name, password) if name else None)
