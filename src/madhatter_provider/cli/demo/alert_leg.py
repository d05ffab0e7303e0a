"""What became of the alerts: what the function noted, what people got, what the security team answered."""

from __future__ import annotations

import json
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from madhatter_provider.cli.demo.airflow_api import AirflowApi
from madhatter_provider.cli.demo.verdict import CaseFacts, Notifications
from madhatter_provider.core.warehouse.sql_client import Sql
from madhatter_provider.local.platform import Platform

ASKING_DAG = "fraud_decisions"
_LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class FunctionRecord:
    """What the function did: its own store, and what really arrived."""

    store: Path
    webhook: Path
    mail: Path

    def executed(self) -> list[tuple[str, float]]:
        """(alert id, Unix time of its first notification) of every alert that was acted on, in order."""
        return self._query(
            "SELECT n.alert_id, MIN(s.sent_at) FROM notices AS n LEFT JOIN notifications AS s "
            "USING (notification_id) GROUP BY n.alert_id HAVING COUNT(*) = COUNT(s.sent_at) ORDER BY 2"
        )

    def waiting(self) -> int:
        """Notifications that are due and not sent: of alerts that wait for a digest, or for a channel."""
        found = self._query(
            "SELECT COUNT(*) FROM notices LEFT JOIN notifications AS s USING (notification_id) "
            "WHERE s.sent_at IS NULL"
        )
        return int(found[0][0]) if found else 0

    def acts(self) -> list[str]:
        """Alert id of every act: a notification that arrived, or a record where none was due. The same alert
        on several channels is one act; twice on one channel is two.
        """
        arrived = Counter(self._arrivals())
        acts: dict[str, int] = {}
        for alert_id, channel, notification_id, sent_at in self._notices():
            times = arrived[notification_id or ""] if channel != "record" else int(sent_at is not None)
            acts[alert_id] = max(acts.get(alert_id, 0), times)
        return [alert_id for alert_id, times in acts.items() for _ in range(times)]

    def notifications(self, published: Iterable[str]) -> Notifications:
        """What people got.

        :param published: ids of the alerts that the function should have got.
        """
        arrived = Counter(self._arrivals())
        notices = self._notices()
        due = {sent_as or alert_id for alert_id, channel, sent_as, _ in notices if channel != "record"}
        known = {alert_id for alert_id, *_ in notices}
        return Notifications(
            sent=len(arrived),
            duplicates=arrived.total() - len(arrived),
            lost=len(due - set(arrived)) + len(set(published) - known),
        )

    def _arrivals(self) -> list[str]:
        """Notification id of everything that arrived."""
        lines = [line for file in (self.webhook, self.mail) for line in file.read_text().splitlines()]
        return [str(json.loads(line)["key"]) for line in lines]

    def _notices(self) -> list[tuple[str, str, str | None, float | None]]:
        return self._query(
            "SELECT n.alert_id, n.channel, n.notification_id, s.sent_at FROM notices AS n "
            "LEFT JOIN notifications AS s USING (notification_id)"
        )

    def _query(self, statement: str) -> list[Any]:
        if not self.store.exists():
            return []
        with closing(sqlite3.connect(f"file:{self.store}?mode=ro", uri=True)) as db:
            return db.execute(statement).fetchall()


def function_record(platform: Platform) -> FunctionRecord | None:
    """What the function did; ``None`` if the alert leg does not run here."""
    if not any(s.name == "function" for s in platform.services):
        return None
    data = platform.home.data
    return FunctionRecord(Path(platform.env["ALERT_STORE"]), data / "webhook.ndjson", data / "mail.ndjson")


def case_facts(sql: Sql) -> CaseFacts:
    """Cases as Snowflake has them."""
    row = sql.execute(
        "SELECT COUNT(*) AS OPENED, COUNT(QUESTION_ID) AS ASKED, SUM(ALERTS) AS ALERTS, "
        "COUNT_IF(STATUS IN ('blocked', 'released')) AS DECIDED FROM FRAUD.CASES"
    )[0]
    held = sql.execute("SELECT COUNT(DISTINCT CASE_ID) AS HELD FROM FRAUD.ORDER_HOLDS")[0]
    counts = {name.lower(): int(value or 0) for name, value in (row | held).items()}
    return CaseFacts(**counts)


class SecurityTeam:
    """Answers questions as the user ``security``, through Airflow's API.

    :param labels: labels of the traffic: they know which payments are fraud.
    """

    def __init__(self, platform: Platform, sql: Sql, labels: Iterable[Mapping[str, Any]]) -> None:
        self._api = AirflowApi(platform.airflow_url, "security", platform.airflow_passwords["security"])
        self._sql = sql
        self._fraud = {e for label in labels if label["kind"] == "fraud" for e in label["event_ids"]}

    def answer(self, alerts: int, *, seconds: float) -> list[str]:
        """Answer what waits when ``alerts`` alerts are in cases; returns what was not acted on in time."""
        deadline, asked = time.monotonic() + seconds, list[str]()
        while time.monotonic() < deadline:
            asked += [self._answer(task) for task in self._api.waiting_questions(ASKING_DAG)]
            facts = case_facts(self._sql)
            if facts.alerts >= alerts and (asked or not facts.held) and not self._not_acted_on(asked):
                break
            time.sleep(_LOOK_SECONDS)
        return self._not_acted_on(asked)

    def _answer(self, task: Mapping[str, Any]) -> str:
        """Block where most payments of the question are known to be fraud; returns the question's id."""
        question = f"{task['dag_run_id']}#{task['map_index']}"
        payments = self._sql.execute(
            "SELECT DISTINCT a.TRANSACTION_ID FROM FRAUD.CASE_ALERTS AS a JOIN FRAUD.CASES AS c "
            "ON c.CASE_ID = a.CASE_ID WHERE c.QUESTION_ID = ?",
            [question],
        )
        known = sum(str(p["TRANSACTION_ID"]) in self._fraud for p in payments)
        note = f"{known} of {len(payments)} payments are known to be fraud"
        self._api.answer(task, "Approve" if known * 2 > len(payments) else "Reject", {"note": note})
        return question

    def _not_acted_on(self, questions: Sequence[str]) -> list[str]:
        """Questions of which a case is not closed."""
        if not questions:
            return []
        places = ", ".join("?" * len(questions))
        rows = self._sql.execute(
            "SELECT DISTINCT QUESTION_ID FROM FRAUD.CASES WHERE STATUS = 'asked' "
            f"AND QUESTION_ID IN ({places})",
            questions,
        )
        return [str(r["QUESTION_ID"]) for r in rows]
