"""Which notification tells of which alert: claimed before it is sent, sent after it.

A notification belongs to one channel and tells of one alert, or of several: then it is a digest. Its alerts
and its id are settled when it is first claimed and never change, so whoever sends it again sends the same
under the same id. A claim is a lease: whoever dies between claim and act leaves a lease that runs out, and
a later delivery takes over. A notification that was sent is never claimed again.

At most ``rate`` notifications of a channel are begun within ``window`` seconds. Alerts beyond that wait; the
first delivery of any of them after that makes one digest of all.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

DIGEST_SIZE = 200

SCHEMA = """
CREATE TABLE IF NOT EXISTS alerts (
    alert_id TEXT PRIMARY KEY,
    severity TEXT NOT NULL,
    rule TEXT NOT NULL,
    customer_id TEXT NOT NULL,
    event_time TEXT NOT NULL,
    deliveries INTEGER NOT NULL,
    received_at REAL NOT NULL,
    data TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS notifications (
    notification_id TEXT PRIMARY KEY,
    channel TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('claimed', 'sent')),
    lease_until REAL NOT NULL,
    begun_at REAL NOT NULL,
    sent_at REAL
);
CREATE INDEX IF NOT EXISTS notifications_begun ON notifications (channel, begun_at);
CREATE TABLE IF NOT EXISTS notices (
    alert_id TEXT NOT NULL,
    channel TEXT NOT NULL,
    notification_id TEXT,
    PRIMARY KEY (alert_id, channel)
);
CREATE INDEX IF NOT EXISTS notices_waiting ON notices (channel) WHERE notification_id IS NULL;
CREATE TABLE IF NOT EXISTS poison (
    message_id TEXT PRIMARY KEY, received_at REAL NOT NULL, reason TEXT NOT NULL, data BLOB NOT NULL
);
"""

Alert = dict[str, Any]


@dataclass(frozen=True)
class Limits:
    """``rate`` notifications of a channel within ``window`` seconds; a claim holds for ``lease`` seconds."""

    rate: int = 20
    window: float = 30.0
    lease: float = 30.0


@dataclass(frozen=True)
class Claim:
    """``mine``: send it, with these alerts; ``sent``: done before; ``busy``: another instance is at it;
    ``wait``: too many notifications, it goes into the next digest.
    """

    verdict: Literal["mine", "sent", "busy", "wait"]
    notification_id: str = ""
    alerts: Sequence[Alert] = ()


class AlertStore(Protocol):
    """What the function needs of a store. Times are Unix seconds."""

    def receive(self, alert: Alert, now: float) -> None:
        """Note a delivery of the alert."""

    def claim(self, alert_id: str, channel: str, now: float, limits: Limits) -> Claim:
        """Whether the notification of this alert on this channel is to be sent now, and by whom."""

    def sent(self, notification_id: str, now: float) -> None:
        """Note that it was sent."""

    def release(self, notification_id: str) -> None:
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

    def receive(self, alert: Alert, now: float) -> None:
        names = ("alert_id", "severity", "rule", "customer_id", "event_time")
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO alerts VALUES (?, ?, ?, ?, ?, 1, ?, ?) "
                "ON CONFLICT (alert_id) DO UPDATE SET deliveries = deliveries + 1",
                (*(alert[name] for name in names), now, json.dumps(alert)),
            )

    def claim(self, alert_id: str, channel: str, now: float, limits: Limits) -> Claim:
        with self._transaction() as connection:
            connection.execute("INSERT OR IGNORE INTO notices VALUES (?, ?, NULL)", (alert_id, channel))
            (notification_id,) = connection.execute(
                "SELECT notification_id FROM notices WHERE alert_id = ? AND channel = ?", (alert_id, channel)
            ).fetchone()
            if notification_id is None:
                return _begin(connection, channel, now, limits)
            state, lease_until = connection.execute(
                "SELECT state, lease_until FROM notifications WHERE notification_id = ?", (notification_id,)
            ).fetchone()
            if state == "sent" or lease_until > now:
                return Claim("sent" if state == "sent" else "busy")
            connection.execute(
                "UPDATE notifications SET lease_until = ? WHERE notification_id = ?",
                (now + limits.lease, notification_id),
            )
            return Claim("mine", notification_id, _alerts_of(connection, notification_id))

    def sent(self, notification_id: str, now: float) -> None:
        with self._transaction() as connection:
            connection.execute(
                "UPDATE notifications SET state = 'sent', sent_at = ? WHERE notification_id = ?",
                (now, notification_id),
            )

    def release(self, notification_id: str) -> None:
        with self._transaction() as connection:
            connection.execute(
                "UPDATE notifications SET lease_until = 0 WHERE notification_id = ?", (notification_id,)
            )

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


def _begin(connection: sqlite3.Connection, channel: str, now: float, limits: Limits) -> Claim:
    """Begin a notification of all that waits on a channel, if the rate allows."""
    (begun,) = connection.execute(
        "SELECT COUNT(*) FROM notifications WHERE channel = ? AND begun_at > ?",
        (channel, now - limits.window),
    ).fetchone()
    if begun >= limits.rate:
        return Claim("wait")
    waiting = connection.execute(
        "SELECT alert_id FROM notices WHERE channel = ? AND notification_id IS NULL ORDER BY rowid LIMIT ?",
        (channel, DIGEST_SIZE),
    ).fetchall()
    ids = [alert_id for (alert_id,) in waiting]
    name = ids[0] if len(ids) == 1 else "digest-" + hashlib.sha256("|".join(ids).encode()).hexdigest()[:32]
    notification_id = f"{name}:{channel}"
    connection.execute(
        "INSERT INTO notifications VALUES (?, ?, 'claimed', ?, ?, NULL)",
        (notification_id, channel, now + limits.lease, now),
    )
    connection.executemany(
        "UPDATE notices SET notification_id = ? WHERE alert_id = ? AND channel = ?",
        [(notification_id, alert_id, channel) for alert_id in ids],
    )
    return Claim("mine", notification_id, _alerts_of(connection, notification_id))


def _alerts_of(connection: sqlite3.Connection, notification_id: str) -> list[Alert]:
    rows = connection.execute(
        "SELECT a.data FROM notices AS n JOIN alerts AS a ON a.alert_id = n.alert_id "
        "WHERE n.notification_id = ? ORDER BY n.rowid",
        (notification_id,),
    )
    return [json.loads(data) for (data,) in rows]
