"""An audit finds exactly what was planted in a healthy stream, and nothing where nothing was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from madhatter_provider.core.audit.findings import compare
from madhatter_provider.core.audit.landing import range_of
from madhatter_provider.core.audit.model import CHECKS, KINDS, NOTES
from madhatter_provider.core.audit.ranges import minus
from madhatter_provider.core.audit.report import lines
from madhatter_provider.core.landing.names import landing_path, quarantine_path
from madhatter_provider.core.slices.offsets import OffsetRange

from .audit_worlds import PLANTS, World, healthy

SEEDS = st.integers(0, 2**32)


def kinds(world: World) -> list[str]:
    return [f.kind for f in compare(world.evidence()) if f.severity != "note"]


@given(SEEDS)
def test_a_healthy_stream_has_no_findings(seed: int) -> None:
    assert kinds(healthy(seed)) == []


CASES = [(kind, plant) for kind, plants in PLANTS.items() for plant in plants]


@pytest.mark.parametrize(("kind", "plant"), CASES, ids=[plant.__name__ for _, plant in CASES])
@settings(max_examples=max(25, settings().max_examples // 4))
@given(seed=SEEDS)
def test_exactly_what_was_planted_is_found(kind: str, plant: Callable[[World], None], seed: int) -> None:
    world = healthy(seed)
    try:
        plant(world)
    except IndexError:  # no range of this world fits
        assume(False)
    found = compare(world.evidence())
    assert {f.kind for f in found} - (NOTES - {kind}) == {kind}
    assert all(f.said for f in found)


def test_every_kind_can_be_planted_and_stands_in_one_line_of_the_table() -> None:
    assert set(PLANTS) == set(KINDS)
    in_lines = [kind for _, broken_by in CHECKS.values() for kind in broken_by]
    assert sorted(in_lines) == sorted(KINDS)


def test_an_audit_says_how_many_files_it_has_read() -> None:
    world = healthy(1)
    evidence = world.evidence()
    assert evidence.landing is not None
    by_size = replace(evidence, landing=replace(evidence.landing, contents=None))
    said = {line.looked_at for e in (evidence, by_size) for line in lines(e, []) if "files" in line.check}
    assert said == {
        f"{len(world.files)} files",
        f"{len(world.files)} files, {len(world.contents)} of them by content",
    }


@given(SEEDS)
def test_what_moved_while_the_audit_looked_is_no_finding(seed: int) -> None:
    world = healthy(seed)
    evidence = world.evidence()
    mine = evidence.dags[0]
    assert mine.before is not None
    later = {p: o + 7 for p, o in world.position.items()}
    mirror = {p: ("epoch-now", o + 3) for p, o in world.position.items()}
    moved = replace(mine, after=replace(mine.before, position=later), mirror=mirror)
    assert [f for f in compare(replace(evidence, dags=(moved,))) if f.kind not in NOTES] == []


@given(SEEDS)
def test_places_that_were_not_looked_at_give_no_findings(seed: int) -> None:
    evidence = healthy(seed).evidence()
    blind = replace(evidence, bounds=None, rows=None, landing=None, dags=())
    assert [f for f in compare(blind) if f.kind not in NOTES] == []
    assert compare(replace(evidence, ledger=None)) == []


@given(SEEDS)
def test_without_airflow_the_mirror_is_held_against_the_ledger(seed: int) -> None:
    evidence = healthy(seed).evidence()
    mine = replace(evidence.dags[0], looked_at=False, before=None, after=None, runs={})
    assert [f.kind for f in compare(replace(evidence, dags=(mine,))) if f.kind not in NOTES] == []
    moved = {p: (t, o + 1) for p, (t, o) in (mine.mirror or {}).items()}
    found = compare(replace(evidence, dags=(replace(mine, mirror=moved),)))
    assert [f.kind for f in found if f.kind not in NOTES] == ["mirror_ahead"]


@given(st.integers(0, 9), st.integers(0, 10**19), st.integers(1, 10**6))
def test_names_of_landing_files_are_understood(partition: int, start: int, size: int) -> None:
    r = OffsetRange(partition, start, start + size)
    assert range_of(landing_path("clicks", "a/b_c-d+efgh", r)) == ("a0b0c0d0", r)
    assert range_of(quarantine_path("clicks", "abc", r)) == ("abc", r)
    assert range_of(f"clicks/abc/{partition}/x.parquet") is None


_RANGES = st.tuples(st.integers(0, 30), st.integers(0, 10)).map(lambda t: OffsetRange(0, t[0], t[0] + t[1]))


@given(_RANGES, st.lists(_RANGES, max_size=5))
def test_a_range_without_others(r: OffsetRange, others: list[OffsetRange]) -> None:
    left = {o for piece in minus(r, others) for o in range(piece.start, piece.end)}
    assert left == set(range(r.start, r.end)) - {o for x in others for o in range(x.start, x.end)}
