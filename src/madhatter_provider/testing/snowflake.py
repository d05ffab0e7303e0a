"""The local Snowflake as a process that tests may kill and start again: over TLS, with key pairs."""

from __future__ import annotations

import dataclasses
import json
import os
import ssl
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from madhatter_provider.core.contracts.contract import Contract
from madhatter_provider.local.process import ProcessId, end, free_port, spawn, tail
from madhatter_provider.testing.leash import leashed

if TYPE_CHECKING:
    import httpx

    from madhatter_provider.hooks.snowflake_profile import SnowflakeProfile
    from madhatter_provider.hooks.snowflake_rest import SnowflakeRest

ACCOUNT, USER, DATABASE = "LOCAL", "TESTER", "MADHATTER"
_START_SECONDS = 60


class RunningSnowflake:
    """One server; its data stays over a restart.

    :param folder: keys, data and landing files.
    :param authority: folder of :func:`make_authority`: servers of one session share it, so that a client
        trusts all of them.
    :param options: further options of ``python -m madhatter_provider.local.snowflake``.
    """

    def __init__(self, folder: Path, authority: Path, *options: str) -> None:
        self.folder, self.port, self._options = folder, free_port(), options
        self._authority = authority
        self.landing = folder / "landing"
        self.landing.mkdir()
        self.key, self.other_key = _private_key(folder / "user.p8"), _private_key(folder / "other.p8")
        self._log = folder / "server.log"
        self._mark = f"snowflake@{folder}"
        self._process: ProcessId | None = None

    @property
    def bundle(self) -> str:
        """CA bundle that trusts the server."""
        return str(self._authority / "bundle.pem")

    @property
    def trust(self) -> dict[str, str]:
        """Environment in which every client trusts the server."""
        return dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"), self.bundle)

    @property
    def landing_root(self) -> str:
        """URL of the landing folder."""
        return self.landing.as_uri()

    @property
    def profile(self) -> SnowflakeProfile:
        """How to reach it."""
        from madhatter_provider.hooks.snowflake_profile import SnowflakeProfile

        return SnowflakeProfile(ACCOUNT, USER, self.key, host="127.0.0.1", port=self.port, database=DATABASE)

    @property
    def env(self) -> dict[str, str]:
        """The same for the ``madhatter`` command."""
        return {
            "SNOWFLAKE_ACCOUNT": ACCOUNT,
            "SNOWFLAKE_USER": USER,
            "SNOWFLAKE_PRIVATE_KEY_FILE": str(self.folder / "user.p8"),
            "SNOWFLAKE_HOST": "127.0.0.1",
            "SNOWFLAKE_PORT": str(self.port),
            "MADHATTER_LANDING_ROOT": self.landing_root,
        }

    @property
    def airflow_connection(self) -> str:
        """The same as an Airflow connection (JSON)."""
        extra = {
            "account": ACCOUNT,
            "database": DATABASE,
            "warehouse": "MADHATTER",
            "role": "MADHATTER",
            "host": "127.0.0.1",
            "port": self.port,
            "private_key_file": str(self.folder / "user.p8"),
            "insecure_mode": True,
            "region": "",
        }
        return json.dumps({"conn_type": "snowflake", "login": USER, "extra": extra})

    def client(self, **changes: Any) -> SnowflakeRest:
        """A client, with changes to its profile; ``timeout`` (seconds) too."""
        from madhatter_provider.hooks.snowflake_rest import SnowflakeRest

        timeout = changes.pop("timeout", 30.0)
        return SnowflakeRest(dataclasses.replace(self.profile, **changes), timeout)

    def start(self) -> None:
        """Start the process and wait until it answers."""
        command = [
            sys.executable, "-W", "ignore", "-m", "madhatter_provider.local.snowflake",
            "--port", str(self.port), "--data-dir", str(self.folder / "data"),
            "--certfile", str(self._authority / "tls.pem"), "--keyfile", str(self._authority / "tls.key"),
            "--public-key", f"{USER}={self.folder / 'user.pub'}", "--faults", *self._options,
        ]  # fmt: skip
        child, self._process = spawn(
            leashed(command), env=os.environ, log=self._log, cwd=self.folder, mark=self._mark
        )
        deadline = time.monotonic() + _START_SECONDS
        while not self._healthy():
            if child.poll() is not None or time.monotonic() > deadline:
                self.stop(grace=0)
                pytest.fail(f"Local Snowflake did not start:\n{tail(self._log, 30)}")
            time.sleep(0.1)

    def _healthy(self) -> bool:
        import httpx

        try:
            return self.http("GET", "/health").status_code == 200
        except httpx.TransportError:
            return False

    def http(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """A bare request."""
        import httpx

        context = ssl.create_default_context(cafile=self.bundle)
        return httpx.request(method, f"https://127.0.0.1:{self.port}{path}", verify=context, **arguments)

    def fault(self, path: str, status: int | str, times: int = 1, seconds: float = 0.0) -> None:
        """Make the next requests to a path fail, or wait."""
        body = {"path": path, "status": status, "times": times, "seconds": seconds}
        assert self.http("POST", "/_faults", json=body).status_code == 200

    def stop(self, *, grace: float = 10.0) -> None:
        """End it; ``grace=0`` kills it."""
        end(self._process, self._mark, grace=grace)

    def apply_sql(self, contracts: Mapping[str, Contract], include: Path | None = None) -> None:
        """What ``madhatter sql apply`` does: tables and pipes of these contracts, and the folder's SQL."""
        from madhatter_provider.cli.sql import apply_sql
        from madhatter_provider.core.warehouse.sql import script

        statements = script(include, contracts, landing_root=self.landing_root)
        apply_sql(self.profile, statements, contracts, self.landing_root)


def _private_key(file: Path) -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    file.write_bytes(key.private_bytes(serialization.Encoding.PEM, *pem))
    public = serialization.PublicFormat.SubjectPublicKeyInfo
    file.with_suffix(".pub").write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, public))
    return file.read_text()


def make_authority(folder: Path) -> Path:
    """A CA, a certificate for 127.0.0.1, and the bundle that trusts it; the folder."""
    import certifi
    import trustme

    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(str(folder / "tls.key"))
    (folder / "tls.pem").write_bytes(b"".join(p.bytes() for p in issued.cert_chain_pems))
    bundle = Path(certifi.where()).read_bytes() + b"\n" + authority.cert_pem.bytes()
    (folder / "bundle.pem").write_bytes(bundle)
    return folder
