"""What the local platform makes up so that nothing has to be switched off: a CA, a key pair, passwords."""

from __future__ import annotations

import hmac
import json
import secrets
import shutil
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from madhatter_provider.local.home import LocalHome, fill_folder, write_atomic

_CERTIFICATE_DAYS = 365


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
    files = TlsFiles(*(folder / name for name in ("server.pem", "server.key", "ca.pem", "bundle.pem")))
    if folder.exists() and _expires_soon(files.certificate):
        shutil.rmtree(folder)
    if not folder.exists():
        fill_folder(folder, _issue)
    return files


def _expires_soon(certificate: Path) -> bool:
    from cryptography import x509

    loaded = x509.load_pem_x509_certificate(certificate.read_bytes())
    return loaded.not_valid_after_utc < datetime.now(UTC) + timedelta(days=7)


def _issue(folder: Path) -> None:
    import certifi
    import trustme

    authority = trustme.CA(organization_name="MadHatter local platform")
    expires = datetime.now(UTC) + timedelta(days=_CERTIFICATE_DAYS)
    issued = authority.issue_cert("127.0.0.1", "localhost", not_after=expires.replace(tzinfo=None))
    chain = "".join(pem.bytes().decode() for pem in issued.cert_chain_pems)
    ca = authority.cert_pem.bytes().decode()
    write_atomic(folder / "server.key", issued.private_key_pem.bytes().decode(), mode=0o600)
    write_atomic(folder / "server.pem", chain)
    write_atomic(folder / "ca.pem", ca)
    write_atomic(folder / "bundle.pem", Path(certifi.where()).read_text(encoding="utf-8") + "\n" + ca)


def snowflake_key(home: LocalHome) -> tuple[Path, Path]:
    """Private and public key files (PEM) of the platform's Snowflake user; made once."""
    folder = home.root / "keys" / "snowflake"
    if not folder.exists():
        fill_folder(folder, _make_key_pair)
    return folder / "private.p8", folder / "public.pem"


def _make_key_pair(folder: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    shown = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    write_atomic(folder / "private.p8", secret.decode(), mode=0o600)
    write_atomic(folder / "public.pem", shown.decode())


@dataclass(frozen=True, slots=True)
class AirflowSecrets:
    """Keys of the local Airflow and the passwords of its users, by name."""

    jwt: str
    fernet: str
    session: str
    passwords: dict[str, str]


AIRFLOW_USERS = {"admin": "admin", "security": "user", "viewer": "viewer"}
"""Role by user name; ``security`` answers whether an account is blocked."""


def airflow_secrets(home: LocalHome) -> AirflowSecrets:
    """Made once; the file is for its owner only."""
    folder = home.root / "keys" / "airflow"
    if not folder.exists():
        fill_folder(folder, _make_secrets)
    made = AirflowSecrets(**json.loads((folder / "secrets.json").read_text(encoding="utf-8")))
    # A folder of an earlier version knows fewer users. Processes must agree on the password of a new one.
    made.passwords.update({u: _derived(made.session, u) for u in AIRFLOW_USERS if u not in made.passwords})
    return made


def _derived(secret: str, user: str) -> str:
    return hmac.new(secret.encode(), user.encode(), "sha256").hexdigest()[:12]


def _make_secrets(folder: Path) -> None:
    from cryptography.fernet import Fernet

    made = AirflowSecrets(
        jwt=secrets.token_urlsafe(64),
        fernet=Fernet.generate_key().decode(),
        session=secrets.token_urlsafe(32),
        passwords={user: secrets.token_urlsafe(9) for user in AIRFLOW_USERS},
    )
    write_atomic(folder / "secrets.json", json.dumps(asdict(made), indent=1), mode=0o600)
