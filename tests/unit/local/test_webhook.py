"""The webhook's stand-in."""

from __future__ import annotations

import json
from pathlib import Path

from starlette.testclient import TestClient

from madhatter_provider.local.webhook import webhook_app


def test_what_is_posted_is_kept_and_counted_over_restarts(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "hook.ndjson"
    client = TestClient(webhook_app(out))
    assert client.get("/health").json() == {"status": "ok"}
    assert client.post("/", content=b'{"alert_id": "a"}').status_code == 200
    assert client.post("/", content=b"nonsense").status_code == 400
    assert client.get("/count").json() == {"count": 1}
    assert json.loads(out.read_text())["body"] == {"alert_id": "a"}
    client.post("/incident", json={}, headers={"Idempotency-Key": "a:incident"})
    line = json.loads(out.read_text().splitlines()[1])
    assert (line["path"], line["key"]) == ("/incident", "a:incident")
    assert TestClient(webhook_app(out)).get("/count").json() == {"count": 2}


def test_changes_of_state_go_to_a_file_of_their_own(tmp_path: Path) -> None:
    client = TestClient(webhook_app(tmp_path / "hook.ndjson"))
    assert client.post("/operations", content=b'{"id": "freshness/clicks/1"}').status_code == 200
    assert client.get("/count").json() == {"count": 0}
    assert json.loads((tmp_path / "operations.ndjson").read_text())["body"] == {"id": "freshness/clicks/1"}
