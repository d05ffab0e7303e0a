"""Replay: the job over landed files finds what the rules found when the same events streamed by."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest

from madhatter_provider.beam.pipeline import run
from madhatter_provider.core.contracts.contract import load_contracts
from madhatter_provider.core.decoding.json_messages import JsonDecoder
from madhatter_provider.core.decoding.row_reader import RowReader
from madhatter_provider.core.fraud.alerts import alert_of
from madhatter_provider.core.fraud.rules import RULE_VERSION, CustomerState, Profile, event_of, observe
from madhatter_provider.local.traffic import Outgoing, generate
from madhatter_provider.local.traffic.profiles import profiles
from madhatter_provider.local.traffic.send import write_profiles

CONTRACTS_FOLDER = Path(__file__).parents[3] / "include/contracts"
INPUTS = {
    s: c
    for s, c in load_contracts(CONTRACTS_FOLDER).items()
    if s in ("clicks", "transactions", "system_logs")
}
SEED = 61


def alerts_of_the_stream(messages: list[Outgoing]) -> Iterator[dict[str, Any]]:
    """Judge events in the order in which they were sent."""
    reader = RowReader(INPUTS)
    known = {p["customer_id"]: msgspec.convert(p, Profile) for p in profiles(SEED)}
    states: defaultdict[str, CustomerState] = defaultdict(CustomerState)
    for m in messages:
        if m.stream in INPUTS and m.defect is None:
            found = event_of(m.stream, reader.read(m.stream, m.value))
            if found is not None:
                for finding in observe(states[found[0]], known[found[0]], found[1]):
                    yield json.loads(alert_of(found[0], finding, rule_version=RULE_VERSION, now=0).to_json())


def land(messages: list[Outgoing], root: Path) -> None:
    """Write the good rows as the landing does, in two files a stream."""
    for stream, contract in INPUTS.items():
        values = [m.value for m in messages if m.stream == stream]
        table = JsonDecoder(contract).decode(values).table
        folder = root / stream / "topic123" / "0"
        folder.mkdir(parents=True)
        half = table.num_rows // 2
        for part, name in ((table.slice(half), "b"), (table.slice(0, half), "a")):
            pq.write_table(part, folder / f"{name}.parquet")


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, Any]], Path]:
    folder = tmp_path_factory.mktemp("replay")
    messages = list(generate(SEED, 300, 60))
    land(messages, folder / "landing")
    write_profiles(folder / "profiles.ndjson", profiles(SEED))
    arguments = {
        "runner": "FnApiRunner",
        "source": "files",
        "landed": folder / "landing",
        "contracts": CONTRACTS_FOLDER,
        "profiles": folder / "profiles.ndjson",
        "output": folder / "out",
    }
    assert run([f"--{name}={value}" for name, value in arguments.items()]) == 0
    return list(alerts_of_the_stream(messages)), folder / "out"


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_the_same_alerts(replayed: tuple[list[dict[str, Any]], Path]) -> None:
    streamed, out = replayed

    def findings(alerts: list[dict[str, Any]]) -> list[str]:
        return sorted(json.dumps({**alert, "alert_time": ""}, sort_keys=True) for alert in alerts)

    assert len(streamed) > 25
    assert findings(rows(out / "alerts.ndjson")) == findings(streamed)


def test_the_aggregates_add_up_to_the_good_rows(replayed: tuple[list[dict[str, Any]], Path]) -> None:
    _, out = replayed
    good = [
        json.loads(m.value)
        for m in generate(SEED, 300, 60)
        if m.stream == "transactions" and m.defect is None
    ]
    sales = [row for row in rows(out / "metrics.ndjson") if row["metric"] in ("sales", "declined")]
    assert sum(row["events"] for row in sales) == len(good)
    assert sum(row["value"] for row in sales) == pytest.approx(sum(row["amount"] for row in good), abs=0.5)
    assert len({row["metric_id"] for row in sales}) == len(sales)
