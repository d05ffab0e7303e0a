"""Who calls which Snowflake account, and the key-pair token that proves it. No Airflow in here."""

from __future__ import annotations

import base64
import hashlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from madhatter_provider.core.errors import ConfigurationError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

_TOKEN_SECONDS = 59 * 60
_RENEW_SECONDS = 54 * 60
_KEY_REMEDY = (
    "Set private_key_file (a path) or private_key_content (PEM or base64) in the connection's extra."
)


@dataclass(frozen=True, slots=True)
class SnowflakeProfile:
    """Account, user, key and session defaults.

    :param private_key: PEM text of the RSA private key (PKCS#8).
    :param host: host to talk to; empty: ``<account>.snowflakecomputing.com``.
    :param check_revocation: whether the connector asks OCSP about certificates; the REST clients never do.
    """

    account: str
    user: str
    private_key: str = field(repr=False)
    passphrase: str | None = field(default=None, repr=False)
    host: str = ""
    port: int = 443
    database: str | None = None
    schema: str | None = None
    warehouse: str | None = None
    role: str | None = None
    check_revocation: bool = True
    source: str = ""

    def __post_init__(self) -> None:
        for name in ("account", "user", "private_key"):
            if not getattr(self, name):
                remedy = _KEY_REMEDY if name == "private_key" else "Add it to the connection."
                raise ConfigurationError(
                    f"Snowflake connection without {name}", where=self.source, remedy=remedy
                )

    @property
    def base_url(self) -> str:
        """``https://host:port``."""
        host = self.host or f"{self.account.lower().replace('_', '-')}.snowflakecomputing.com"
        return f"https://{host}" if self.port == 443 else f"https://{host}:{self.port}"

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None, **overrides: Any) -> Self:
        """Build from ``SNOWFLAKE_ACCOUNT``, ``_USER``, ``_PRIVATE_KEY_FILE``, ``_HOST``, ``_PORT``,
        ``_DATABASE`` …

        :raises ConfigurationError: a variable is missing, or the key file cannot be read.
        """
        env = os.environ if env is None else env
        given: dict[str, Any] = {
            k: env.get(f"SNOWFLAKE_{k.upper()}")
            for k in ("account", "user", "host", "database", "warehouse", "role")
        }
        given |= {k: v for k, v in overrides.items() if v is not None}
        file = given.pop("private_key_file", None) or env.get("SNOWFLAKE_PRIVATE_KEY_FILE")
        for name, value in (
            ("ACCOUNT", given["account"]),
            ("USER", given["user"]),
            ("PRIVATE_KEY_FILE", file),
        ):
            if not value:
                raise ConfigurationError(
                    f"SNOWFLAKE_{name} is not set", remedy="Set it, or pass the option of this name."
                )
        given["port"] = _port(given.get("port") or env.get("SNOWFLAKE_PORT"), "SNOWFLAKE_PORT")
        return cls(
            private_key=_read_key(str(file)),
            passphrase=env.get("SNOWFLAKE_PRIVATE_KEY_PASSPHRASE"),
            source="environment SNOWFLAKE_*",
            **{k: v for k, v in given.items() if v},
        )

    @classmethod
    def from_connection(cls, conn: Any) -> Self:
        """Build from an Airflow connection of type ``snowflake`` (needs ``login``, ``password``, ``schema``,
        ``extra_dejson``).

        :raises ConfigurationError: no key pair, or it cannot be read.
        """
        where = f"connection {conn.conn_id}"
        extra = {
            k.removeprefix("extra__snowflake__"): v
            for k, v in conn.extra_dejson.items()
            if v not in (None, "")
        }
        file, content = extra.get("private_key_file"), extra.get("private_key_content")
        if file and content:
            raise ConfigurationError(
                "private_key_file and private_key_content are both set", where=where, remedy="Remove one."
            )
        if not file and not content:
            raise ConfigurationError(
                "Snowflake connection without a key pair", where=where, remedy=_KEY_REMEDY
            )
        account = str(extra.get("account") or "")
        if region := extra.get("region"):
            account = f"{account}.{region}"
        return cls(
            account=account,
            user=conn.login or "",
            private_key=_read_key(str(file)) if file else _decoded(str(content), where),
            passphrase=(conn.password or "").strip() or None,
            host=str(extra.get("host") or ""),
            port=_port(extra.get("port"), where),
            database=extra.get("database"),
            schema=conn.schema or None,
            warehouse=extra.get("warehouse"),
            role=extra.get("role"),
            check_revocation=not extra.get("insecure_mode", False),
            source=where,
        )


def _port(value: Any, where: str) -> int:
    try:
        return int(value or 443)
    except ValueError as err:
        raise ConfigurationError(f"{value!r} is not a port", where=where, remedy="Give a number.") from err


def _read_key(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigurationError(
            f"Cannot read the private key: {err}", where=file, remedy=_KEY_REMEDY
        ) from err


def _decoded(content: str, where: str) -> str:
    if content.lstrip().startswith("-----"):
        return content
    try:
        return base64.b64decode("".join(content.split()), validate=True).decode()
    except ValueError as err:
        raise ConfigurationError(
            "private_key_content is neither PEM nor base64 of PEM", where=where, remedy=_KEY_REMEDY
        ) from err


class KeyPairSigner:
    """Signs the token that Snowflake's REST APIs want, and keeps it until shortly before it ends."""

    def __init__(self, profile: SnowflakeProfile) -> None:
        self._profile = profile
        self._token, self._renew_at = "", 0.0

    def token(self) -> str:
        """A valid JWT.

        :raises ConfigurationError: the private key is no RSA key in PEM, or its passphrase is wrong.
        """
        if time.time() >= self._renew_at:
            import jwt

            now = int(time.time())
            key = load_private_key(self._profile)
            subject = f"{_account_of(self._profile.account)}.{self._profile.user.upper()}"
            claims = {
                "iss": f"{subject}.{_fingerprint(key)}",
                "sub": subject,
                "iat": now,
                "exp": now + _TOKEN_SECONDS,
            }
            self._token, self._renew_at = jwt.encode(claims, key, algorithm="RS256"), now + _RENEW_SECONDS
        return self._token

    def renew(self) -> None:
        """Forget the token: the next one is new."""
        self._renew_at = 0.0


def load_private_key(profile: SnowflakeProfile) -> RSAPrivateKey:
    """The profile's private key.

    :raises ConfigurationError: it is no RSA key in PEM, or its passphrase is wrong.
    """
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    passphrase = profile.passphrase.encode() if profile.passphrase else None
    try:
        key = load_pem_private_key(profile.private_key.encode(), passphrase)
    except (TypeError, ValueError) as err:
        raise ConfigurationError(
            f"Cannot use the private key: {err}",
            where=profile.source,
            remedy="Expected RSA in PEM (PKCS#8); the connection's password is its passphrase.",
        ) from err
    if not isinstance(key, RSAPrivateKey):
        raise ConfigurationError("The private key is not RSA", where=profile.source, remedy=_KEY_REMEDY)
    return key


def _account_of(account: str) -> str:
    """The account as a token names it: upper case, without region and cloud."""
    return account.partition("." if ".global" not in account.lower() else "-")[0].upper()


def _fingerprint(key: RSAPrivateKey) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return "SHA256:" + base64.b64encode(hashlib.sha256(der).digest()).decode()
