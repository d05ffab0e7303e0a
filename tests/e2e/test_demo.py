"""The demo, shortened: the whole thread from traffic to the function, judged by the demo itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from madhatter_provider.core.contracts.contract import load_contracts
from madhatter_provider.local.process import platform_processes

pytestmark = pytest.mark.e2e

REPOSITORY = Path(__file__).resolve().parents[2]
_STREAM_KEYS = {
    "produced", "landed", "loaded", "quarantined", "injected_bad", "gaps", "overlaps", "duplicates", "runs",
    "p95_event_to_queryable_seconds",
}  # fmt: skip
_FRAUD_KEYS = {
    "cases", "caught", "alerts", "alerted_cases", "false_alerted_cases", "recall", "precision",
    "event_to_function_seconds",
}  # fmt: skip


def _demo(tmp_path: Path, *options: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, summary and output of one demo run; no process of it is left."""
    home, summary = tmp_path / "home", tmp_path / "summary.json"
    cache = os.environ.get("MADHATTER_CACHE") or str(REPOSITORY / ".madhatter" / "cache")
    env = {**os.environ, "MADHATTER_HOME": str(home), "MADHATTER_CACHE": cache}
    command = [sys.executable, "-m", "madhatter_provider.cli.main", "demo", f"--summary={summary}", *options]
    try:
        done = subprocess.run(
            command, env=env, cwd=REPOSITORY, capture_output=True, text=True, timeout=900, check=False
        )
        left = [process.cmdline() for process in platform_processes(home)]
    finally:
        for process in platform_processes(home):
            process.kill()
    assert left == []
    said = done.stdout + done.stderr
    assert summary.exists(), said
    return done.returncode, json.loads(summary.read_text()), said


def test_short_demo(tmp_path: Path) -> None:
    code, summary, said = _demo(tmp_path, "--seconds=30", "--rate=150", "--seed=5")
    assert summary["failures"] == [], said
    assert summary["ok"] is True
    assert code == 0
    contracts = load_contracts(REPOSITORY / "include" / "contracts")
    assert set(summary["streams"]) == set(contracts)
    for stream in summary["streams"].values():
        assert stream.keys() >= _STREAM_KEYS
        assert stream["produced"] == stream["loaded"] + stream["quarantined"]
    assert sum(s["produced"] for s in summary["streams"].values()) > 0.9 * 30 * 150
    assert summary["fraud"].keys() >= _FRAUD_KEYS
    cases, told = summary["cases"], summary["notifications"]
    assert cases["opened"] >= cases["held"] >= cases["asked"] >= cases["decided"] > 0
    assert told["sent"] > 0
    assert (told["duplicates"], told["lost"]) == (0, 0)
    assert summary["quality"].keys() >= {"gates", "passed", "failed"}
    assert summary["operations"].keys() >= {"planted", "found", "false"}
    assert summary["operations"]["planted"] == 2
    learned = summary["recommendations"]
    assert learned.keys() >= {"hit_rate_at_10", "popularity_hit_rate_at_10", "coverage"}
    assert learned["lists"] > 0
    room = summary["control_room"]
    assert {page["title"] for page in room["pages"]} >= {"Streams", "Fraud", "Operations", "Quality"}
    assert room["url"] in {page["url"] for page in room["pages"]}
    assert [page["problem"] for page in room["pages"]] == [""] * len(room["pages"])
    assert summary["seconds"].keys() >= {"up", "first_alert", "traffic", "drain", "total"}
    for service in summary["services"]:
        assert service["kind"] in ("real", "emulator", "local")
        assert service["ready_seconds"] > 0
    assert sum(service["rss_mb"] for service in summary["services"]) < 6 * 1024
