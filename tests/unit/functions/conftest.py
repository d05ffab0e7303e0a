"""The alert function's modules as they are deployed: alone, its folder on the path."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FOLDER = Path(__file__).parents[3] / "include/functions/fraud_alert"
MODULES = ("alert_store", "channels", "messages")
SETTINGS = (
    "WEBHOOK_URL", "INCIDENT_WEBHOOK_URL", "INCIDENT_KEY", "SMTP_HOST", "SMTP_PORT", "SMTP_USER",
    "SMTP_STARTTLS", "ALERT_EMAIL_FROM", "ALERT_EMAIL_TO", "ALERT_ROUTES", "ALERT_RATE",
    "ALERT_WINDOW_SECONDS", "CASE_URL", "DEAD_LETTER_TOPIC", "ALERT_LEASE_SECONDS", "ALERT_STORE",
)  # fmt: skip
ALERT: dict[str, Any] = {
    "alert_id": "a" * 32,
    "alert_time": "2026-11-24T09:00:01.000Z",
    "event_time": "2026-11-24T09:00:00.000Z",
    "customer_id": "C000001",
    "transaction_id": "t" * 32,
    "card_id": "c" * 24,
    "rule": "card_testing",
    "rule_version": "1.0.0",
    "severity": "high",
    "score": 0.9,
    "amount": 1.5,
    "currency": "EUR",
    "country": "DE",
    "reason": "9 payments of at most 5.00 EUR within a minute",
}


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The function's folder, on the path; no setting is inherited."""
    monkeypatch.syspath_prepend(str(FOLDER))
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    yield FOLDER
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.fixture
def channels(folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Module ``channels``; it does not pause between attempts."""
    module = importlib.import_module("channels")
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0)
    return module


@pytest.fixture
def messages(folder: Path) -> ModuleType:
    """Module ``messages``."""
    return importlib.import_module("messages")


@pytest.fixture
def start(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """``start(**settings)`` loads the function as a fresh instance does."""

    def load(**settings: str) -> ModuleType:
        given = {"ALERT_STORE": str(tmp_path / "alerts.sqlite"), "WEBHOOK_URL": "http://127.0.0.1:1/"}
        for name, value in (given | settings).items():
            monkeypatch.setenv(name, value)
        spec = importlib.util.spec_from_file_location("fraud_alert_main", FOLDER / "main.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load
