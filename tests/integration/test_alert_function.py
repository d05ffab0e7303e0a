"""Alerts from Pub/Sub to the function to the webhook:

real emulator, real functions-framework, pushes and retries.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from google.cloud.pubsub_v1 import PublisherClient, SubscriberClient
from google.cloud.pubsub_v1.types import PublisherOptions
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.core.fraud.alerts import Alert, alert_of
from madhatter_provider.core.fraud.rules import Finding, Payment
from madhatter_provider.local import pubsub_setup
from madhatter_provider.local.process import end, free_port, spawn
from madhatter_provider.local.pubsub import emulator_command, find_emulator_jar

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

pytestmark = pytest.mark.integration
DAGS = Path(__file__).parents[2] / "dags"
FUNCTION = Path(__file__).parents[2] / "include/functions/fraud_alert"
OUTAGE_SECONDS = float(os.environ.get("MADHATTER_OUTAGE_SECONDS", "4"))
"""An hour of it was tried too: benchmarks/RESULTS.md."""
PROJECT = "madhatter-test"


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not reached: {what}"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the emulator; also in PUBSUB_EMULATOR_HOST."""
    try:
        jar = find_emulator_jar()
    except ConfigurationError as err:
        pytest.skip(f"no Pub/Sub emulator here. {err.remedy}")
    folder, port = tmp_path_factory.mktemp("emulator"), free_port()
    mark = f"emulator@{folder}"
    _, process = spawn(
        emulator_command("java", jar, port), env=os.environ, log=folder / "log", cwd=folder, mark=mark
    )
    before, address = os.environ.get("PUBSUB_EMULATOR_HOST"), f"127.0.0.1:{port}"

    def answers() -> bool:
        try:
            return httpx.get(f"http://{address}").status_code == 200
        except httpx.TransportError:
            return False

    wait_for(answers, "the emulator answers", 60)
    os.environ["PUBSUB_EMULATOR_HOST"] = address
    yield address
    del os.environ["PUBSUB_EMULATOR_HOST"]
    if before is not None:
        os.environ["PUBSUB_EMULATOR_HOST"] = before
    end(process, mark, grace=0)


class Hook:
    """The security team's webhook; ``broken`` answers 503, ``meanwhile`` is called before each answer."""

    def __init__(self, server: HTTPServer) -> None:
        self.url, self.broken = server.url_for("/"), False
        self.meanwhile: Callable[[], None] | None = None
        self.received: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        server.expect_request("/").respond_with_handler(self.answer)

    def answer(self, request: Request) -> Response:
        if self.broken:
            return Response("busy", 503)
        self.received.append(json.loads(request.data))
        self.keys.append(request.headers.get("Idempotency-Key"))
        if self.meanwhile:
            self.meanwhile()
        return Response("ok")

    def ids(self) -> list[str]:
        return [alert_id for told in self.received for alert_id in told["alert_ids"]]


class Platform:
    """Function, topic, subscriptions and webhook of one test."""

    def __init__(self, folder: Path, hook: Hook, project: str) -> None:
        self.hook, self.project, self.store = hook, project, folder / "alerts.sqlite"
        self._folder, self._port = folder, free_port()
        self.publisher = PublisherClient(publisher_options=PublisherOptions(enable_message_ordering=True))
        self.topic = self.publisher.topic_path(project, pubsub_setup.TOPIC)
        self._dead = self.publisher.topic_path(project, pubsub_setup.DEAD_TOPIC)
        self._mark = f"function@{folder}"
        self.start()
        for _ in range(2):  # the second time finds everything there
            pubsub_setup.ensure_pubsub(project, f"http://127.0.0.1:{self._port}")

    def start(self) -> None:
        """Start the function, with short times."""
        _, self._process = spawn(
            [
                str(Path(sys.executable).parent / "functions-framework"),
                "--source",
                str(FUNCTION / "main.py"),
                "--target",
                "fraud_alert",
                "--signature-type",
                "cloudevent",
                "--host",
                "127.0.0.1",
                "--port",
                str(self._port),
            ],
            env={
                **os.environ,
                "ALERT_STORE": str(self.store),
                "WEBHOOK_URL": self.hook.url,
                "DEAD_LETTER_TOPIC": self._dead,
                "ALERT_LEASE_SECONDS": "2",
                "ALERT_RATE": "8",
                "ALERT_WINDOW_SECONDS": "6",
            },
            log=self._folder / "function.log",
            cwd=self._folder,
            mark=self._mark,
        )

        def listens() -> bool:
            try:
                httpx.get(f"http://127.0.0.1:{self._port}/robots.txt")
            except httpx.TransportError:
                return False
            return True

        wait_for(listens, "the function listens")

    def kill(self) -> None:
        """SIGKILL."""
        end(self._process, self._mark, grace=0)

    def publish(self, data: bytes, key: str = "", topic: str | None = None, **attributes: str) -> None:
        path = self.publisher.topic_path(self.project, topic) if topic else self.topic
        self.publisher.publish(path, data, ordering_key=key, **attributes).result(10)

    def send(self, alert: Alert) -> None:
        self.publish(alert.to_json(), alert.customer_id, **alert.attributes())

    def rows(self) -> list[tuple[Any, ...]]:
        """Alert, state of its notification, number of deliveries."""
        with sqlite3.connect(self.store) as connection:
            return connection.execute(
                "SELECT a.alert_id, s.state, a.deliveries FROM alerts AS a LEFT JOIN notices AS n "
                "USING (alert_id) LEFT JOIN notifications AS s USING (notification_id)"
            ).fetchall()

    def dead_letter_topic(self) -> str:
        """Where the subscription to the function gives up to; empty: it never does."""
        with SubscriberClient() as client:
            path = client.subscription_path(self.project, pubsub_setup.FUNCTION_SUBSCRIPTION)
            found = client.get_subscription(subscription=path)
        return str(found.dead_letter_policy.dead_letter_topic)

    def pull(self, subscription: str, number: int) -> list[Any]:
        found: list[Any] = []
        with SubscriberClient() as client:
            path = client.subscription_path(self.project, subscription)

            def enough() -> bool:
                reply = client.pull(subscription=path, max_messages=50, timeout=10)
                if reply.received_messages:
                    ids = [message.ack_id for message in reply.received_messages]
                    client.acknowledge(subscription=path, ack_ids=ids)
                found.extend(message.message for message in reply.received_messages)
                return len(found) >= number

            wait_for(enough, f"{number} messages in {subscription}")
        return found

    def stop(self) -> None:
        self.kill()
        self.publisher.stop()


@pytest.fixture
def platform(emulator: str, tmp_path: Path, httpserver: HTTPServer) -> Iterator[Platform]:
    made = Platform(tmp_path, Hook(httpserver), f"{PROJECT}-{tmp_path.name.replace('_', '-')[-20:]}")
    yield made
    made.stop()


def alert(number: int, score: float = 0.9, customer: int = 1) -> Alert:
    payment = Payment(
        f"{number:032x}",
        1_795_500_000.0 + number,
        "card-0001",
        "device",
        "order",
        10.0,
        "EUR",
        "DE",
        1,
        2,
        False,
    )
    return alert_of(
        f"C{customer:06d}", Finding("amount_outlier", score, payment, "because"), rule_version="1", now=1.8e9
    )


def test_alerts_are_acted_on_once_and_seen_by_the_audit(platform: Platform) -> None:
    alerts = [alert(n, score=0.95 if n % 2 else 0.65, customer=n % 3) for n in range(10)]
    for one in [*alerts, *alerts]:
        platform.send(one)
    wait_for(lambda: sum(row[2] for row in platform.rows()) == 20, "20 deliveries")
    assert sorted(platform.hook.ids()) == sorted(a.alert_id for a in alerts if a.severity == "critical")
    assert platform.hook.keys == [f"{alert_id}:webhook" for alert_id in platform.hook.ids()]
    assert {(row[0], row[1]) for row in platform.rows()} == {(a.alert_id, "sent") for a in alerts}
    audit = platform.pull(pubsub_setup.AUDIT_SUBSCRIPTION, 20)
    assert {m.attributes["ce-id"] for m in audit} == {a.alert_id for a in alerts}
    assert {m.ordering_key for m in audit} == {"C000000", "C000001", "C000002"}


@pytest.fixture
def drain(
    platform: Platform, snowflake: Any, run_dag: Callable[..., DagRun], monkeypatch: pytest.MonkeyPatch
) -> Callable[[], DagRun]:
    """Run the DAG that drains the dead letters."""
    from airflow.dag_processing.dagbag import BundleDagBag

    monkeypatch.setenv("PUBSUB_PROJECT_ID", platform.project)
    google = {"conn_type": "google_cloud_platform", "extra": {"is_anonymous": True}}
    monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", json.dumps(google))
    bag = BundleDagBag(str(DAGS / "dead_letters.py"), bundle_path=DAGS, bundle_name="dags")
    return lambda: run_dag(bag.dags["dead_letters"])


def test_a_webhook_that_is_down_for_a_while_gets_every_alert_once(
    platform: Platform, drain: Callable[[], DagRun]
) -> None:
    """Alerts go on all the while; the DAG of the dead letters runs every ten minutes, as it would."""
    platform.hook.broken = True
    alerts: list[Alert] = []
    begun = drained = time.monotonic()
    while (now := time.monotonic()) < begun + OUTAGE_SECONDS:
        alerts.append(alert(len(alerts), customer=len(alerts) % 50))
        platform.send(alerts[-1])
        if now - drained > 600:
            assert str(drain().state) == "success"
            drained = now
        time.sleep(max(0.5, OUTAGE_SECONDS / 400))
    wait_for(lambda: max(row[2] for row in platform.rows()) > 6, "retries while the webhook is down")
    assert not platform.hook.received
    assert platform.dead_letter_topic() == "", "the emulator would end all pushes after its attempts"
    platform.hook.broken = False

    def all_told() -> bool:
        return str(drain().state) == "success" and len(set(platform.hook.ids())) == len(alerts)

    wait_for(all_told, "every alert told", 60 + OUTAGE_SECONDS)
    deliveries = sum(row[2] for row in platform.rows())
    print(f"{len(alerts)} alerts, {deliveries} deliveries, {len(platform.hook.received)} notifications")
    assert sorted(platform.hook.ids()) == sorted(a.alert_id for a in alerts)


def test_killed_between_post_and_note_it_posts_again_under_the_same_key(platform: Platform) -> None:
    killed = threading.Event()

    def die() -> None:
        platform.hook.meanwhile = None
        platform.kill()
        killed.set()

    platform.hook.meanwhile = die
    platform.send(alert(1))
    assert killed.wait(30)
    platform.start()
    wait_for(lambda: [row[1] for row in platform.rows()] == ["sent"], "the second post is noted", 60)
    assert platform.hook.keys == [f"{alert(1).alert_id}:webhook"] * 2
    assert platform.hook.received[0] == platform.hook.received[1]


def test_a_flood_ends_in_a_digest_and_every_alert_is_told_once(platform: Platform) -> None:
    alerts = [alert(n, customer=n) for n in range(30)]
    for one in alerts:
        platform.send(one)
    wait_for(lambda: len(platform.hook.ids()) == 30, "every alert told", 60)
    assert sorted(platform.hook.ids()) == sorted(a.alert_id for a in alerts)
    assert len(platform.hook.received) < 12
    assert max(len(told["alert_ids"]) for told in platform.hook.received) > 10


def test_poison_is_not_retried_and_can_be_found(platform: Platform) -> None:
    platform.publish(b"this is no alert")
    platform.send(alert(1))
    (dead,) = platform.pull(pubsub_setup.DEAD_SUBSCRIPTION, 1)
    assert dead.data == b"this is no alert"
    assert "not JSON" in dead.attributes["reason"]
    wait_for(lambda: len(platform.hook.received) == 1, "the alert behind the poison")
    time.sleep(2.5)  # longer than the subscription's first retry
    with sqlite3.connect(platform.store) as connection:
        assert connection.execute("SELECT count(*) FROM poison").fetchone() == (1,)


def test_dead_letters_are_given_back_or_kept(
    platform: Platform, snowflake: Any, drain: Callable[[], DagRun]
) -> None:
    undelivered = alert(7)
    platform.publish(undelivered.to_json(), topic=pubsub_setup.DEAD_TOPIC, **undelivered.attributes())
    platform.publish(b"\xff", topic=pubsub_setup.DEAD_TOPIC, reason="not JSON", message_id="p1")
    platform.publish(alert(8).to_json(), topic=pubsub_setup.DEAD_TOPIC, redriven="144")
    run = drain()
    assert str(run.state) == "failed", "one was given up, which somebody must see"
    wait_for(lambda: platform.hook.ids() == [undelivered.alert_id], "it reaches the webhook")
    rows = snowflake.client().execute(
        "SELECT LETTER_ID, STATE, REDRIVES, REASON FROM FRAUD.DEAD_LETTERS WHERE RUN_ID = ? ORDER BY STATE",
        [run.run_id],
    )
    assert [tuple(r.values()) for r in rows] == [
        (alert(8).alert_id, "given_up", 144, "not delivered"),
        ("p1", "poison", 0, "not JSON"),
        (undelivered.alert_id, "sent_again", 1, "not delivered"),
    ]
    assert str(drain().state) == "success", "nothing is left"


def test_the_webhooks_stand_in_serves(tmp_path: Path) -> None:
    port, out = free_port(), tmp_path / "hook.ndjson"
    command = [
        sys.executable,
        "-m",
        "madhatter_provider.local.webhook",
        "--port",
        str(port),
        "--out",
        str(out),
    ]
    process = subprocess.Popen(command)

    def healthy() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/health").is_success
        except httpx.TransportError:
            return False

    try:
        wait_for(healthy, "the webhook is healthy")
        httpx.post(f"http://127.0.0.1:{port}/incident", json={"a": 1}).raise_for_status()
        told = json.loads(out.read_text())
        assert (told["path"], told["body"]) == ("/incident", {"a": 1})
    finally:
        process.terminate()
        process.wait(20)
