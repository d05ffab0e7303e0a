"""What the local platform makes up so that nothing has to be switched off: a CA, a key pair, passwords."""

from __future__ import annotations

import json
import secrets
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from madhatter_provider.local.home import LocalHome, write_atomic

_CERTIFICATE_DAYS = 365
# Services start side by side, and each asks: only one may make what is missing.
_MAKING = threading.Lock()


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Server certificate and key, and the bundle that clients trust (public CAs and ours)."""

    certificate: Path
    key: Path
    ca: Path
    bundle: Path


def tls_files(home: LocalHome) -> TlsFiles:
    """Certificates for 127.0.0.1 from a CA of this platform alone; made again before they expire."""
    folder = home.root / "tls"
    files = TlsFiles(folder / "server.pem", folder / "server.key", folder / "ca.pem", folder / "bundle.pem")
    with _MAKING:
        if not _still_valid(files):
            _issue(files)
    return files


def _still_valid(files: TlsFiles) -> bool:
    from cryptography import x509

    if not (files.bundle.exists() and files.key.exists()):
        return False
    certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    return certificate.not_valid_after_utc > datetime.now(UTC) + timedelta(days=7)


def _issue(files: TlsFiles) -> None:
    import certifi
    import trustme

    authority = trustme.CA(organization_name="MadHatter local platform")
    expires = datetime.now(UTC) + timedelta(days=_CERTIFICATE_DAYS)
    issued = authority.issue_cert("127.0.0.1", "localhost", not_after=expires.replace(tzinfo=None))
    chain = "".join(pem.bytes().decode() for pem in issued.cert_chain_pems)
    ca = authority.cert_pem.bytes().decode()
    write_atomic(files.key, issued.private_key_pem.bytes().decode(), mode=0o600)
    write_atomic(files.certificate, chain)
    write_atomic(files.ca, ca)
    write_atomic(files.bundle, Path(certifi.where()).read_text(encoding="utf-8") + "\n" + ca)


def snowflake_key(home: LocalHome) -> tuple[Path, Path]:
    """Private and public key files (PEM) of the platform's Snowflake user; made once."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    private, public = home.root / "keys" / "snowflake.p8", home.root / "keys" / "snowflake.pub"
    with _MAKING:
        if not public.exists():
            key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            secret = key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            shown = key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            write_atomic(private, secret.decode(), mode=0o600)
            write_atomic(public, shown.decode())
    return private, public


@dataclass(frozen=True, slots=True)
class AirflowSecrets:
    """Keys of the local Airflow and the passwords of its users, by name."""

    jwt: str
    fernet: str
    session: str
    passwords: dict[str, str]


AIRFLOW_USERS = {"admin": "admin", "viewer": "viewer"}
"""Role by user name."""


def airflow_secrets(home: LocalHome) -> AirflowSecrets:
    """Made once; the file is for its owner only."""
    from cryptography.fernet import Fernet

    file = home.root / "keys" / "airflow.json"
    with _MAKING:
        if not file.exists():
            made = {
                "jwt": secrets.token_urlsafe(64),
                "fernet": Fernet.generate_key().decode(),
                "session": secrets.token_urlsafe(32),
                "passwords": {user: secrets.token_urlsafe(9) for user in AIRFLOW_USERS},
            }
            write_atomic(file, json.dumps(made, indent=1), mode=0o600)
    return AirflowSecrets(**json.loads(file.read_text(encoding="utf-8")))
