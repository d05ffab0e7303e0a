"""Profiles from environment and connection, and the tokens they sign."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import jwt
import pytest
from airflow.models.connection import Connection
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.hooks.snowflake_profile import KeyPairSigner, SnowflakeProfile

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key: Any = RSA, passphrase: bytes | None = None) -> str:
    how = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return str(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how).decode())


def connection(**extra: Any) -> Connection:
    return Connection(
        conn_id="sf",
        conn_type="snowflake",
        login="airflow",
        schema="RAW",
        password=extra.pop("password", None),
        extra=json.dumps({"account": "org-acct", "database": "MADHATTER", **extra}),
    )


class TestConnection:
    def test_file_content_and_base64_are_the_same_key(self, tmp_path: Path) -> None:
        file = tmp_path / "key.p8"
        file.write_text(pem())
        keys = [
            SnowflakeProfile.from_connection(connection(**extra)).private_key
            for extra in (
                {"private_key_file": str(file)},
                {"private_key_content": pem()},
                {"private_key_content": base64.b64encode(pem().encode()).decode()},
                {"extra__snowflake__private_key_file": str(file)},
            )
        ]
        assert keys == [pem()] * 4

    def test_everything_else_is_read(self) -> None:
        profile = SnowflakeProfile.from_connection(
            connection(
                private_key_content=pem(),
                host="127.0.0.1",
                port="8443",
                warehouse="W",
                role="R",
                insecure_mode=True,
            )
        )
        assert (profile.user, profile.schema, profile.warehouse, profile.role) == ("airflow", "RAW", "W", "R")
        assert profile.base_url == "https://127.0.0.1:8443"
        assert not profile.check_revocation
        assert pem() not in repr(profile)

    def test_the_address_follows_from_account_and_region(self) -> None:
        profile = SnowflakeProfile.from_connection(
            connection(private_key_content=pem(), account="My_Acct", region="eu-west-1")
        )
        assert profile.base_url == "https://my-acct.eu-west-1.snowflakecomputing.com"

    @pytest.mark.parametrize(
        ("extra", "words"),
        [
            ({}, "without a key pair"),
            ({"private_key_content": "a", "private_key_file": "b"}, "both set"),
            ({"private_key_file": "/nowhere/key.p8"}, "Cannot read the private key"),
            ({"private_key_content": "%%%"}, "neither PEM nor base64"),
            ({"private_key_content": "x", "account": ""}, "without account|neither"),
            ({"private_key_content": "-----", "port": "https"}, "not a port"),
        ],
    )
    def test_what_is_wrong_is_said(self, extra: dict[str, Any], words: str) -> None:
        with pytest.raises(ConfigurationError, match=words):
            SnowflakeProfile.from_connection(connection(**extra))


class TestEnvironment:
    def test_variables_and_overrides(self, tmp_path: Path) -> None:
        file = tmp_path / "key.p8"
        file.write_text(pem())
        env = {
            "SNOWFLAKE_ACCOUNT": "a",
            "SNOWFLAKE_USER": "u",
            "SNOWFLAKE_PRIVATE_KEY_FILE": str(file),
            "SNOWFLAKE_HOST": "127.0.0.1",
            "SNOWFLAKE_PORT": "4711",
        }
        profile = SnowflakeProfile.from_env(env, database="D", user=None)
        assert (profile.base_url, profile.user, profile.database) == ("https://127.0.0.1:4711", "u", "D")

    @pytest.mark.parametrize("missing", ["ACCOUNT", "USER", "PRIVATE_KEY_FILE"])
    def test_a_missing_variable_is_named(self, missing: str, tmp_path: Path) -> None:
        (tmp_path / "k").write_text(pem())
        env = {
            "SNOWFLAKE_ACCOUNT": "a",
            "SNOWFLAKE_USER": "u",
            "SNOWFLAKE_PRIVATE_KEY_FILE": str(tmp_path / "k"),
        }
        del env[f"SNOWFLAKE_{missing}"]
        with pytest.raises(ConfigurationError, match=f"SNOWFLAKE_{missing} is not set"):
            SnowflakeProfile.from_env(env)


class TestSigner:
    @pytest.mark.parametrize(
        ("account", "named"),
        [
            ("acct", "ACCT"),
            ("acct.eu-west-1.aws", "ACCT"),
            ("org-acct", "ORG-ACCT"),
            ("acct-xyz.global", "ACCT"),
        ],
    )
    def test_claims_are_those_that_snowflake_asks_for(self, account: str, named: str) -> None:
        token = KeyPairSigner(SnowflakeProfile(account, "bob", pem())).token()
        claims = jwt.decode(token, RSA.public_key(), algorithms=["RS256"])
        assert claims["sub"] == f"{named}.BOB"
        assert claims["iss"].startswith(f"{named}.BOB.SHA256:")
        assert claims["exp"] - claims["iat"] <= 3600

    def test_a_token_is_kept_and_renewed_before_it_ends(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = 1_764_000_000.0
        monkeypatch.setattr("madhatter_provider.hooks.snowflake_profile.time.time", lambda: now)
        signer = KeyPairSigner(SnowflakeProfile("a", "u", pem()))
        first = signer.token()
        now += 50 * 60
        assert signer.token() == first
        now += 5 * 60
        again = signer.token()
        assert again != first
        now += 1
        signer.renew()
        assert signer.token() != again

    def test_an_encrypted_key_needs_its_passphrase(self) -> None:
        locked = pem(passphrase=b"secret")
        assert KeyPairSigner(SnowflakeProfile("a", "u", locked, passphrase="secret")).token()
        for passphrase in (None, "wrong"):
            with pytest.raises(ConfigurationError, match="Cannot use the private key"):
                KeyPairSigner(SnowflakeProfile("a", "u", locked, passphrase=passphrase)).token()

    def test_other_keys_are_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="not RSA"):
            KeyPairSigner(SnowflakeProfile("a", "u", pem(ec.generate_private_key(ec.SECP256R1())))).token()
