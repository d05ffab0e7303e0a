"""The broker, Snowflake or what is behind the function dies in mid-run and comes back: no message is lost."""

from __future__ import annotations

import json
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from madhatter_provider.local.service import wait_until

if TYPE_CHECKING:
    from tests.chaos.conftest import Loaded

pytestmark = pytest.mark.chaos

_DOWN_SECONDS = 5.0
_LATE_SECONDS = 12.0  # longer than Pub/Sub's longest pause between two deliveries


@pytest.mark.parametrize(("service", "seed"), [("kafka", 21), ("snowflake", 22)])
def test_killed_and_restarted_in_mid_run(loaded: Loaded, service: str, seed: int) -> None:
    with loaded.traffic(seconds=30, rate=200, seed=seed):
        time.sleep(12)
        loaded.platform.kill(service)
        time.sleep(_DOWN_SECONDS)
        loaded.platform.restart(service)
    loaded.drain()
    verdicts = loaded.judge()
    assert {stream: v for stream, v in verdicts.items() if not v.ok} == {}
    sent = loaded.sent(seed)
    assert sent > 5_000
    assert sum(v.produced for v in verdicts.values()) >= sent


def test_function_fails_until_the_webhook_is_back(loaded: Loaded) -> None:
    if "function" not in loaded.platform.catalog.nodes:
        pytest.skip("no Pub/Sub emulator here")
    posted = loaded.platform.home.data / "webhook.ndjson"
    loaded.platform.kill("webhook")
    wanted = {uuid.uuid4().hex for _ in range(20)}
    _publish(loaded, wanted)
    time.sleep(_DOWN_SECONDS)
    assert not wanted & _posts(posted).keys(), "the webhook is gone"
    loaded.platform.restart("webhook")
    assert wait_until(lambda: wanted <= _posts(posted).keys(), seconds=90, pause=0.5), "all are acted on"
    time.sleep(_LATE_SECONDS)
    assert {_posts(posted)[alert] for alert in wanted} == {1}, "and none twice"


def _posts(file: Path) -> Counter[str]:
    """How often each alert was posted to the webhook, by the webhook's own record."""
    return Counter(json.loads(line)["body"]["alert_id"] for line in file.read_text().splitlines())


def _publish(loaded: Loaded, alert_ids: set[str]) -> None:
    """Alerts of severity high, which go to the webhook; by the official client in a process of its own."""
    alert = {
        "alert_time": "2026-11-24T06:00:00Z", "event_time": "2026-11-24T06:00:00Z", "customer_id": "C000001",
        "transaction_id": uuid.uuid4().hex, "rule": "velocity", "severity": "high", "reason": "a test",
        "score": 0.9, "amount": 10.0,
    }  # fmt: skip
    alerts = [{**alert, "alert_id": ident} for ident in sorted(alert_ids)]
    code = (
        "import json, sys; from google.cloud.pubsub_v1 import PublisherClient as P; p = P();"
        "t = p.topic_path('madhatter-local', 'fraud-alerts');"
        "[p.publish(t, json.dumps(a).encode()).result(20) for a in json.loads(sys.argv[1])]"
    )
    done = loaded.platform.run("python", "-c", code, json.dumps(alerts), timeout=120)
    assert done.returncode == 0, done.stderr
