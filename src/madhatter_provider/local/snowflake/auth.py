"""Key-pair authentication: the JWT that Snowflake's drivers sign, really verified."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass

import jwt
import snowflake.connector.errors as sf
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

_LONGEST_SECONDS = 3660
"""Snowflake allows an hour; a minute on top for clocks that differ."""


class InvalidTokenError(Exception):
    """The token does not prove who is calling; the text says why, for the server's log."""


def pem_of(key: str) -> str:
    """A public key as PEM, whether it came as PEM or as bare base64 (as ``ALTER USER … SET RSA_PUBLIC_KEY``
    wants it).

    :raises snowflake.connector.errors.ProgrammingError: it is not an RSA public key.
    """
    text = key.strip()
    if not text.startswith("-----"):
        text = f"-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----"
    try:
        load_pem_public_key(text.encode())
    except ValueError as err:
        raise sf.ProgrammingError(
            msg="New public key rejected by current policy. Reason: 'Invalid public key'.",
            errno=390500,
            sqlstate="22023",
        ) from err
    return text


def fingerprint(pem: str) -> str:
    """``SHA256:<base64>`` of a public key, as it stands in a token's issuer."""
    der = load_pem_public_key(pem.encode()).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return "SHA256:" + base64.b64encode(hashlib.sha256(der).digest()).decode()


@dataclass(frozen=True, slots=True)
class Verifier:
    """Checks tokens against the keys of users.

    :param keys_of: PEM public keys of a user name.
    :param account: account name that tokens must carry; empty: any.
    """

    keys_of: Callable[[str], list[str]]
    account: str = ""

    def user(self, token: str) -> str:
        """Whose token it is.

        :raises InvalidTokenError: malformed, unknown user or key, wrong signature, wrong account, expired, or
        valid for too long.
        """
        try:
            claims = jwt.decode(token, options={"verify_signature": False})
            account, user, *print_parts = str(claims["iss"]).split(".", 2)
        except (jwt.InvalidTokenError, KeyError, ValueError) as err:
            raise InvalidTokenError(f"not a key-pair token: {err}") from err
        if self.account and account.upper() != self.account.upper():
            raise InvalidTokenError(f"account {account!r} is not {self.account!r}")
        if str(claims.get("sub")).upper() != f"{account}.{user}".upper():
            raise InvalidTokenError(f"subject {claims.get('sub')!r} does not fit issuer {claims['iss']!r}")
        key = next((k for k in self.keys_of(user) if fingerprint(k) == "".join(print_parts)), None)
        if key is None:
            raise InvalidTokenError(f"no such key registered for user {user!r}")
        try:
            checked = jwt.decode(
                token,
                key,
                algorithms=["RS256"],
                options={"require": ["exp", "iat"], "verify_aud": False},
                leeway=30,
            )
        except jwt.InvalidTokenError as err:
            raise InvalidTokenError(str(err)) from err
        if checked["exp"] - time.time() > _LONGEST_SECONDS:
            raise InvalidTokenError("valid for longer than an hour")
        return user.upper()
