"""Certificates, keys and passwords that the platform makes up."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from madhatter_provider.local import credentials
from madhatter_provider.local.home import LocalHome


@pytest.fixture
def home(tmp_path: Path) -> LocalHome:
    return LocalHome(tmp_path, tmp_path)


def test_certificate_is_of_our_ca_and_lasts(home: LocalHome) -> None:
    files = credentials.tls_files(home)
    certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(files.ca.read_bytes()))
    assert certificate.not_valid_after_utc > datetime.now(UTC) + timedelta(days=300)
    trusted = ssl.create_default_context(cafile=str(files.bundle)).cert_store_stats()["x509_ca"]
    assert trusted > 50, "the public CAs are in the bundle too"


def test_certificate_is_kept_until_it_is_about_to_expire(
    home: LocalHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "_CERTIFICATE_DAYS", 3)
    first = credentials.tls_files(home).certificate.read_bytes()
    monkeypatch.setattr(credentials, "_CERTIFICATE_DAYS", 365)
    second = credentials.tls_files(home).certificate.read_bytes()
    assert first != second
    assert credentials.tls_files(home).certificate.read_bytes() == second


def test_key_pair_belongs_together_and_is_secret(home: LocalHome) -> None:
    private, public = credentials.snowflake_key(home)
    assert credentials.snowflake_key(home) == (private, public)
    key = load_pem_private_key(private.read_bytes(), None)
    assert key.public_key() == load_pem_public_key(public.read_bytes())
    assert private.stat().st_mode & 0o077 == 0


def test_passwords_differ_and_stay(home: LocalHome) -> None:
    made = credentials.airflow_secrets(home)
    assert credentials.airflow_secrets(home) == made
    assert set(made.passwords) == {"admin", "security", "viewer"}
    assert len(set(made.passwords.values())) == 3


def test_a_user_of_a_later_version_gets_a_password(home: LocalHome, monkeypatch: pytest.MonkeyPatch) -> None:
    before = credentials.airflow_secrets(home)
    monkeypatch.setattr(credentials, "AIRFLOW_USERS", {**credentials.AIRFLOW_USERS, "ada": "op"})
    after = credentials.airflow_secrets(home)
    assert after == credentials.airflow_secrets(home)
    assert {"ada": after.passwords["ada"], **before.passwords} == after.passwords


def test_many_at_once_agree(home: LocalHome) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: credentials.tls_files(home), range(8)))
        keys = set(pool.map(lambda _: credentials.snowflake_key(home)[1].read_bytes(), range(8)))
        words = list(pool.map(lambda _: credentials.airflow_secrets(home), range(8)))
    files = credentials.tls_files(home)
    assert files.ca.read_text() in files.bundle.read_text()
    assert len(keys) == 1
    assert all(word == words[0] for word in words)
