"""Replays and acknowledgements in the ledger, run on the local engine."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.unit.core.conftest import Execute

from madhatter_provider.core.contracts.contract import Contract, load_contract
from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.core.slices.offsets import OffsetRange, Slice
from madhatter_provider.core.warehouse import ledger
from madhatter_provider.core.warehouse.ledger import LedgerRow
from madhatter_provider.core.warehouse.ledger_changes import acknowledge, rejudge
from madhatter_provider.core.warehouse.sql import create_table, split_statements

ROOT = Path(__file__).parents[4]
CONTRACT = load_contract(ROOT / "include/contracts/searches.odcs.yaml")
QUARANTINE = ROOT / "src/madhatter_provider/sql/10_raw/02_quarantine.sql"
EPOCH = "T"


TABLES = (ledger.TABLE, f"RAW.{CONTRACT.table}", "RAW.QUARANTINE")


@pytest.fixture(autouse=True)
def _tables(execute: Execute) -> Iterator[None]:
    for table in TABLES:  # another test's
        execute(f"DROP TABLE IF EXISTS {table}")
    execute(ledger.create_table())
    execute(create_table(CONTRACT))
    execute(*split_statements(QUARANTINE.read_text()))
    yield
    for table in TABLES:
        execute(f"DROP TABLE {table}")


def ranges(*parts: tuple[int, int, int]) -> Slice:
    return Slice(CONTRACT.topic, EPOCH, tuple(OffsetRange(*p) for p in parts))


def row(start: int, end: int, state: str = "loaded", **facts: Any) -> LedgerRow:
    return LedgerRow(
        stream=CONTRACT.stream,
        topic_id=EPOCH,
        partition_id=0,
        start_offset=start,
        end_offset=end,
        state=state,
        **facts,
    )


def load(execute: Execute, contract: Contract, good: range, bad: range) -> None:
    for o in good:
        execute(
            f"INSERT INTO RAW.{contract.table} (EVENT_TIME, _TOPIC_ID, _PARTITION, _OFFSET) "
            f"VALUES ('2026-11-24 06:00:{o:02d}+00:00', '{EPOCH}', 0, {o})"
        )
    for o in bad:
        execute(
            "INSERT INTO RAW.QUARANTINE (STREAM, TOPIC, _TOPIC_ID, _PARTITION, _OFFSET) "
            f"VALUES ('{contract.stream}', '{contract.topic}', '{EPOCH}', 0, {o})"
        )


def stored(execute: Execute) -> dict[int, dict[str, Any]]:
    return {int(r["START_OFFSET"]): r for r in execute(f"SELECT * FROM {ledger.TABLE}")}


def test_rows_are_counted_anew_and_judged_anew(execute: Execute) -> None:
    old: dict[str, Any] = {"rows_loaded": 1, "rows_quarantined": 9, "gate": "fail", "deep_gate": "pass"}
    execute(*ledger.record([row(0, 10, **old), row(10, 20, **old), row(20, 30, **old)]))
    load(execute, CONTRACT, good=range(0, 8), bad=range(8, 20))
    for _ in range(2):  # a repetition changes nothing
        execute(rejudge(CONTRACT, ranges((0, 0, 10), (0, 12, 15)), "pass"))
        found = stored(execute)
        counts = [
            [found[s][c] for c in ("ROWS_READ", "ROWS_LANDED", "ROWS_LOADED", "ROWS_QUARANTINED")]
            for s in (0, 10)
        ]
        assert counts == [[10, 8, 8, 2], [10, 0, 0, 10]]
        assert [found[s]["DEEP_GATE"] for s in (0, 10, 20)] == [None, None, "pass"]
        assert [found[s]["GATE"] for s in (0, 10, 20)] == ["pass", "pass", "fail"]
        assert found[0]["MAX_EVENT_TIME"] == datetime(2026, 11, 24, 6, 0, 7, tzinfo=UTC)
        assert found[20]["ROWS_LOADED"] == 1


def test_only_a_range_that_is_covered_is_loaded_by_a_replay(execute: Execute) -> None:
    execute(*ledger.record([row(0, 10, "claimed"), row(10, 20, "claimed"), row(20, 30, "lost")]))
    load(execute, CONTRACT, good=range(0, 15), bad=range(0))
    execute(rejudge(CONTRACT, ranges((0, 0, 15), (0, 20, 30))))
    found = stored(execute)
    assert [found[s]["STATE"] for s in (0, 10, 20)] == ["loaded", "claimed", "lost"]
    assert found[0]["LOADED_AT"] is not None
    assert found[10]["LOADED_AT"] is None
    assert found[0]["GATE"] is None


def test_a_loss_is_acknowledged_once(execute: Execute) -> None:
    execute(*ledger.record([row(0, 10, "lost"), row(10, 20, "lost"), row(20, 30)]))
    execute(*acknowledge(CONTRACT.stream, ranges((0, 0, 12)), "retention was too short", "ann"))
    execute(*acknowledge(CONTRACT.stream, None, "and again", "bob"))
    found = stored(execute)
    said = [(found[s]["ACKNOWLEDGED_BY"], found[s]["ACKNOWLEDGED_REASON"]) for s in (0, 10, 20)]
    assert said == [("ann", "retention was too short"), ("bob", "and again"), (None, None)]
    assert found[0]["ACKNOWLEDGED_AT"] is not None
    execute(*ledger.record([row(0, 10, "lost", run_id="again")]))
    assert stored(execute)[0]["ACKNOWLEDGED_BY"] == "ann"


def test_a_loss_is_not_acknowledged_without_a_reason() -> None:
    with pytest.raises(ConfigurationError, match="with a reason"):
        acknowledge("clicks", None, "  ", "ann")


def test_a_replay_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="replay of nothing"):
        rejudge(CONTRACT, ranges())


def test_a_ledger_of_an_earlier_version_gets_its_columns(execute: Execute) -> None:
    execute(f"ALTER TABLE {ledger.TABLE} DROP COLUMN ACKNOWLEDGED_BY")
    missing = ledger.add_missing_columns(set(ledger.COLUMNS) - {"ACKNOWLEDGED_BY"})
    assert missing == [f"ALTER TABLE {ledger.TABLE} ADD COLUMN ACKNOWLEDGED_BY VARCHAR(256)"]
    execute(missing[0])
    execute(*acknowledge(CONTRACT.stream, None, "why not", "ann"))
