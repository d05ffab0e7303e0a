"""Who acted on which alert: claimed before acting, sent after it.

A claim is a lease. Whoever dies between claim and act leaves a lease that runs out, and a later delivery
takes over. An alert that was sent is never claimed again.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

SCHEMA = """
CREATE TABLE IF NOT EXISTS alerts (
    alert_id TEXT PRIMARY KEY,
    severity TEXT NOT NULL,
    rule TEXT NOT NULL,
    customer_id TEXT NOT NULL,
    event_time TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('claimed', 'sent')),
    lease_until REAL NOT NULL,
    deliveries INTEGER NOT NULL,
    received_at REAL NOT NULL,
    sent_at REAL,
    channel TEXT
);
CREATE TABLE IF NOT EXISTS poison (
    message_id TEXT PRIMARY KEY, received_at REAL NOT NULL, reason TEXT NOT NULL, data BLOB NOT NULL
);
"""


class AlertStore(Protocol):
    """What the function needs of a store. Times are Unix seconds."""

    def claim(self, alert: dict[str, Any], now: float, lease_seconds: float) -> str:
        """``mine``: act on it; ``sent``: done before; ``busy``: another instance is at it."""

    def sent(self, alert_id: str, now: float, channel: str) -> None:
        """Note that it was acted on."""

    def release(self, alert_id: str) -> None:
        """Give a claim back, so that the next delivery need not wait for the lease."""

    def poison(self, message_id: str, now: float, reason: str, data: bytes) -> None:
        """Keep a message that is not an alert."""


class SqliteStore:
    """A store in one file; for one machine."""

    def __init__(self, path: str) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        self._path, self._local = path, threading.local()
        with self._transaction() as connection:
            for statement in filter(str.strip, SCHEMA.split(";")):
                connection.execute(statement)

    def claim(self, alert: dict[str, Any], now: float, lease_seconds: float) -> str:
        key = (alert["alert_id"],)
        with self._transaction() as connection:
            row = connection.execute(
                "SELECT state, lease_until FROM alerts WHERE alert_id = ?", key
            ).fetchone()
            if row is None:
                connection.execute(
                    "INSERT INTO alerts VALUES (?, ?, ?, ?, ?, 'claimed', ?, 1, ?, NULL, NULL)",
                    (
                        *(
                            alert[name]
                            for name in ("alert_id", "severity", "rule", "customer_id", "event_time")
                        ),
                        now + lease_seconds,
                        now,
                    ),
                )
                return "mine"
            connection.execute("UPDATE alerts SET deliveries = deliveries + 1 WHERE alert_id = ?", key)
            if row[0] == "sent":
                return "sent"
            if row[1] > now:
                return "busy"
            connection.execute(
                "UPDATE alerts SET lease_until = ? WHERE alert_id = ?", (now + lease_seconds, *key)
            )
            return "mine"

    def sent(self, alert_id: str, now: float, channel: str) -> None:
        with self._transaction() as connection:
            connection.execute(
                "UPDATE alerts SET state = 'sent', sent_at = ?, channel = ?, lease_until = 0 WHERE "
                "alert_id = ?",
                (now, channel, alert_id),
            )

    def release(self, alert_id: str) -> None:
        with self._transaction() as connection:
            connection.execute("UPDATE alerts SET lease_until = 0 WHERE alert_id = ?", (alert_id,))

    def poison(self, message_id: str, now: float, reason: str, data: bytes) -> None:
        with self._transaction() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO poison VALUES (?, ?, ?, ?)", (message_id, now, reason, data)
            )

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """One write transaction on this thread's connection."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = sqlite3.connect(
                self._path, timeout=10, isolation_level=None
            )
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
