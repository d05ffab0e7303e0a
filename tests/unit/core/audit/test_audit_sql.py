"""The audit's aggregates, run on the local engine, against sets of offsets."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.core.conftest import Execute

from madhatter_provider.core.audit.model import RangeRows
from madhatter_provider.core.audit.queries import count_rows, read_ledger
from madhatter_provider.core.contracts.contract import load_contract
from madhatter_provider.core.slices.offsets import OffsetRange
from madhatter_provider.core.warehouse import ledger
from madhatter_provider.core.warehouse.ledger import LedgerRow
from madhatter_provider.core.warehouse.sql import create_table, split_statements

ROOT = Path(__file__).parents[4]
CONTRACT = load_contract(ROOT / "include/contracts/searches.odcs.yaml")
QUARANTINE = ROOT / "src/madhatter_provider/sql/10_raw/02_quarantine.sql"
TABLE = f"RAW.{CONTRACT.table}"


class Engine:
    """The local engine as a client."""

    def __init__(self, execute: Execute) -> None:
        self._execute = execute

    def execute(self, statement: str, bindings: Any = ()) -> list[dict[str, Any]]:
        return self._execute(statement, bindings)

    def insert(self, table: str, rows: Counter[tuple[str, int, int]]) -> None:
        head = ", 'searches', 'searches'" if table == "RAW.QUARANTINE" else ""
        names = ", STREAM, TOPIC" if head else ""
        values = ", ".join(f"('{t}', {p}, {o}{head})" for t, p, o in rows.elements())
        if values:
            self.execute(f"INSERT INTO {table} (_TOPIC_ID, _PARTITION, _OFFSET{names}) VALUES {values}")


@pytest.fixture
def engine(execute: Execute) -> Iterator[Engine]:
    tables = (ledger.TABLE, TABLE, "RAW.QUARANTINE")
    for table in tables:  # another test's
        execute(f"DROP TABLE IF EXISTS {table}")
    for statement in (
        ledger.create_table(),
        create_table(CONTRACT),
        *split_statements(QUARANTINE.read_text()),
    ):
        execute(statement)
    yield Engine(execute)
    for table in tables:
        execute(f"DROP TABLE {table}")


def row(topic_id: str, r: OffsetRange, state: str = "loaded", **facts: Any) -> LedgerRow:
    return LedgerRow(
        stream="searches",
        topic_id=topic_id,
        partition_id=r.partition,
        start_offset=r.start,
        end_offset=r.end,
        state=state,
        **facts,
    )


@pytest.mark.parametrize("seed", range(6))
def test_counts_by_range_are_those_of_the_sets(engine: Engine, seed: int) -> None:
    rng = random.Random(seed)
    ranges = [
        (t, OffsetRange(p, s, s + rng.randint(0, 12)))
        for t in ("A", "B")
        for p in (0, 1)
        for s in range(3, 60, 12)
    ]
    lost = {rng.randrange(len(ranges)) for _ in range(3)}
    good: Counter[tuple[str, int, int]] = Counter()
    held: Counter[tuple[str, int, int]] = Counter()
    for _ in range(200):
        place = (rng.choice("ABC"), rng.randint(0, 1), rng.randint(0, 70))
        (held if rng.random() < 0.3 else good)[place] += rng.choice((1, 1, 1, 2))
    engine.execute(
        *ledger.record([row(t, r, "lost" if i in lost else "loaded") for i, (t, r) in enumerate(ranges)])
    )
    engine.insert(TABLE, good)
    engine.insert("RAW.QUARANTINE", held)

    found = count_rows(engine, CONTRACT)
    covered: set[tuple[str, int, int]] = set()
    for i, (t, r) in enumerate(ranges):
        if i in lost:
            continue
        places = {(t, r.partition, o) for o in range(r.start, r.end)}
        covered |= places
        mine = {p: n for p, n in good.items() if p in places}
        bad = {p: n for p, n in held.items() if p in places}
        wanted = RangeRows(
            sum(mine.values()), len(mine), sum(bad.values()), len(bad), len(mine.keys() & bad.keys())
        )
        assert found.by_range.get((t, r.partition, r.start), RangeRows()) == wanted
    outside = sum(n for p, n in good.items() if p not in covered)
    outside_held = sum(n for p, n in held.items() if p not in covered)
    assert sum(s.rows for s in found.strays) == outside
    assert sum(s.held_rows for s in found.strays) == outside_held
    for s in found.strays:
        hull = {(s.topic_id, s.range.partition, o) for o in range(s.range.start, s.range.end)}
        assert not hull & covered


def test_other_streams_and_older_claims_are_left_out(engine: Engine) -> None:
    from datetime import UTC, datetime

    old, new = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
    other = LedgerRow(
        stream="clicks", topic_id="A", partition_id=0, start_offset=0, end_offset=5, state="loaded"
    )
    engine.execute(
        *ledger.record(
            [
                other,
                row("A", OffsetRange(0, 10, 20), claimed_at=old),
                row("A", OffsetRange(0, 20, 30), claimed_at=new, rows_loaded=2),
            ]
        )
    )
    engine.insert(TABLE, Counter({("A", 0, o): 1 for o in (5, 15, 25, 26, 40)}))
    assert [r.range.start for r in read_ledger(engine, "searches")] == [10, 20]
    (only,) = read_ledger(engine, "searches", new)
    assert (only.range.start, only.loaded, only.replayed, only.acknowledged) == (20, 2, False, False)
    assert only.claimed_ago > 0
    found = count_rows(engine, CONTRACT, new)
    assert found.by_range == {("A", 0, 20): RangeRows(2, 2)}
    assert [(s.range.start, s.rows) for s in found.strays] == [(40, 1)]
