"""A real local Snowflake server for integration tests: over TLS, with key pairs, with its database set up."""

from __future__ import annotations

import dataclasses
import json
import os
import ssl
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import certifi
import httpx
import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from madhatter_provider.cli.sql import apply_sql
from madhatter_provider.core.contract import Contract, load_contracts
from madhatter_provider.core.landing import Batch, Landing, land
from madhatter_provider.core.manifest import Manifest
from madhatter_provider.core.offsets import OffsetRange, Slice
from madhatter_provider.core.sql import script
from madhatter_provider.hooks.object_store import open_store
from madhatter_provider.hooks.snowflake_profile import SnowflakeProfile
from madhatter_provider.hooks.snowflake_rest import SnowflakeRest
from madhatter_provider.local.process import ProcessId, end, free_port, spawn, tail

INCLUDE = Path(__file__).parents[2] / "include"
TRUSTED = "snowflake-bundle.pem"
_START_SECONDS = 60


def _private_key(file: Path) -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    file.write_bytes(key.private_bytes(serialization.Encoding.PEM, *pem))
    public = serialization.PublicFormat.SubjectPublicKeyInfo
    file.with_suffix(".pub").write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, public))
    return file.read_text()


class RunningSnowflake:
    """The server as a process of its own, which tests may kill and start again; its data stays."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder, self.port, self._options = folder, free_port(), options
        self.landing = folder / "landing"
        self.landing.mkdir()
        self.key, self.other_key = _private_key(folder / "user.p8"), _private_key(folder / "other.p8")
        self._certify()
        self._log = folder / "server.log"
        self._mark = f"snowflake@{folder}"
        self._process: ProcessId | None = None

    def _certify(self) -> None:
        authority = trustme.CA()
        issued = authority.issue_cert("127.0.0.1")
        issued.private_key_pem.write_to_path(str(self.folder / "tls.key"))
        (self.folder / "tls.pem").write_bytes(b"".join(p.bytes() for p in issued.cert_chain_pems))
        bundle = Path(certifi.where()).read_bytes() + b"\n" + authority.cert_pem.bytes()
        (self.folder / "bundle.pem").write_bytes(bundle)

    @property
    def bundle(self) -> str:
        """CA bundle that trusts the server."""
        return str(self.folder / "bundle.pem")

    @property
    def landing_root(self) -> str:
        """URL of the landing folder."""
        return self.landing.as_uri()

    @property
    def profile(self) -> SnowflakeProfile:
        """How to reach it."""
        return SnowflakeProfile(
            "LOCAL", "TESTER", self.key, host="127.0.0.1", port=self.port, database="MADHATTER"
        )

    @property
    def airflow_connection(self) -> str:
        """The same as an Airflow connection (JSON)."""
        extra = {
            "account": "LOCAL",
            "database": "MADHATTER",
            "warehouse": "MADHATTER",
            "role": "MADHATTER",
            "host": "127.0.0.1",
            "port": self.port,
            "private_key_file": str(self.folder / "user.p8"),
            "insecure_mode": True,
            "region": "",
        }
        return json.dumps({"conn_type": "snowflake", "login": "TESTER", "extra": extra})

    def client(self, **changes: Any) -> SnowflakeRest:
        """A client, with changes to its profile; ``timeout`` too."""
        timeout = changes.pop("timeout", 30.0)
        return SnowflakeRest(dataclasses.replace(self.profile, **changes), timeout)

    def start(self) -> None:
        """Start the process and wait until it answers."""
        command = [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "madhatter_provider.local.snowflake",
            "--port",
            str(self.port),
            "--data-dir",
            str(self.folder / "data"),
            "--certfile",
            str(self.folder / "tls.pem"),
            "--keyfile",
            str(self.folder / "tls.key"),
            "--public-key",
            f"TESTER={self.folder / 'user.pub'}",
            "--faults",
            *self._options,
        ]
        child, self._process = spawn(command, env=os.environ, log=self._log, cwd=self.folder, mark=self._mark)
        deadline = time.monotonic() + _START_SECONDS
        while not self._healthy():
            if child.poll() is not None or time.monotonic() > deadline:
                self.stop(grace=0)
                pytest.fail(f"Local Snowflake did not start:\n{tail(self._log, 30)}")
            time.sleep(0.1)

    def _healthy(self) -> bool:
        try:
            return self.http("GET", "/health").status_code == 200
        except httpx.TransportError:
            return False

    def http(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """A bare request."""
        context = ssl.create_default_context(cafile=self.bundle)
        return httpx.request(method, f"https://127.0.0.1:{self.port}{path}", verify=context, **arguments)

    def fault(self, path: str, status: int | str, times: int = 1, seconds: float = 0.0) -> None:
        """Make the next requests to a path fail."""
        body = {"path": path, "status": status, "times": times, "seconds": seconds}
        assert self.http("POST", "/_faults", json=body).status_code == 200

    def stop(self, *, grace: float = 10.0) -> None:
        """End it; ``grace=0`` kills it."""
        end(self._process, self._mark, grace=grace)

    def apply_sql(self, contracts: dict[str, Contract]) -> None:
        """What ``madhatter sql apply`` does."""
        statements = script(INCLUDE / "sql", contracts, landing_root=self.landing_root)
        apply_sql(self.profile, statements, contracts, self.landing_root)


@pytest.fixture(scope="session")
def contracts() -> dict[str, Contract]:
    """The platform's contracts."""
    return load_contracts(INCLUDE / "contracts")


StartSnowflake = Callable[..., RunningSnowflake]


@pytest.fixture(scope="session")
def start_snowflake(
    tmp_path_factory: pytest.TempPathFactory, contracts: dict[str, Contract]
) -> Iterator[StartSnowflake]:
    """Factory of servers with the database set up; takes the server's options. All end with the session.

    The CA bundle of the newest server is set in the environment, where every client looks.
    """
    servers: list[RunningSnowflake] = []
    with pytest.MonkeyPatch.context() as patch:

        def start(*options: str) -> RunningSnowflake:
            server = RunningSnowflake(tmp_path_factory.mktemp("snowflake"), *options)
            servers.append(server)
            server.start()
            trusted = server.folder.parent / TRUSTED
            with trusted.open("ab") as out:
                out.write(Path(server.bundle).read_bytes())
            patch.setenv("SSL_CERT_FILE", str(trusted))
            patch.setenv("REQUESTS_CA_BUNDLE", str(trusted))
            server.apply_sql(contracts)
            return server

        yield start
        for server in servers:
            server.stop(grace=0)


@pytest.fixture(scope="session")
def shared_snowflake(start_snowflake: StartSnowflake) -> RunningSnowflake:
    """One server for the whole session. Tests use streams, tables and topic ids of their own."""
    return start_snowflake()


@pytest.fixture
def snowflake(shared_snowflake: RunningSnowflake, monkeypatch: pytest.MonkeyPatch) -> RunningSnowflake:
    """The shared server, without faults, as Airflow's connection ``snowflake_default``."""
    # Platforms that ran in between have set bundles of their own.
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.setenv(name, str(shared_snowflake.folder.parent / TRUSTED))
    shared_snowflake.http("DELETE", "/_faults")
    monkeypatch.setenv("AIRFLOW_CONN_SNOWFLAKE_DEFAULT", shared_snowflake.airflow_connection)
    return shared_snowflake


def search(i: int, **changes: Any) -> bytes:
    """A good message of stream ``searches``, with changes."""
    row = {
        "event_id": f"{i:016d}",
        "event_time": "2026-11-24T06:00:00.123456Z",
        "session_id": "s1234567",
        "customer_id": f"C{i:06d}",
        "device_id": "d1234567",
        "query": 'top hat\'s \\ "size"',
        "results": i % 100,
        "country": "US",
        "latency_ms": 12,
    }
    return json.dumps(row | changes).encode()


@pytest.fixture(scope="session")
def search_row() -> Callable[..., bytes]:
    """``search_row(i, **changes)`` makes a good message of stream ``searches``, with changes."""
    return search


class Lander:
    """Lands messages below a landing root, as a landing DAG does; a call goes on where the last ended."""

    def __init__(self, contract: Contract, root: str) -> None:
        self.contract, self._root = contract, root
        self.topic_id = f"id-{uuid.uuid4().hex[:12]}"
        self._next: dict[int, int] = {}

    def land(self, values: Sequence[bytes], partition: int = 0) -> Manifest:
        """Land one slice of one partition."""
        start = self._next.get(partition, 0)
        end = self._next[partition] = start + len(values)
        owned = Slice(self.contract.topic, self.topic_id, (OffsetRange(partition, start, end),))
        n, sent = len(values), 1_764_000_000_000
        batch = Batch(partition, list(range(start, end)), [sent] * n, [b"key"] * n, list(values), [None] * n)
        return land(Landing(self.contract, owned, f"run-{start}", open_store(self._root)), [batch])


@pytest.fixture
def lander(snowflake: RunningSnowflake, contracts: dict[str, Contract]) -> Lander:
    """Lands searches for the shared server, in a topic epoch of this test's own."""
    return Lander(contracts["searches"], snowflake.landing_root)
