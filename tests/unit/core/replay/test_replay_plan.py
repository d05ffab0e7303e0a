"""Where a replay reads each part of a range."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madhatter_provider.core.contracts.contract import load_contract
from madhatter_provider.core.errors import ConfigurationError, LostRangeError
from madhatter_provider.core.landing.names import landing_path, quarantine_path
from madhatter_provider.core.replay import plan as replay_plan
from madhatter_provider.core.replay.plan import Plan, make_plan
from madhatter_provider.core.replay.store import StoredFile
from madhatter_provider.core.slices.claims import TopicBounds
from madhatter_provider.core.slices.offsets import OffsetRange, Slice, gaps_and_overlaps

CONTRACT = load_contract(Path(__file__).parents[4] / "include/contracts/searches.odcs.yaml")
EPOCH = "T1"


class World:
    """A ledger, landing files and nothing else."""

    def __init__(self, rows: Sequence[tuple[int, int, int, str]], missing: Collection[int] = ()) -> None:
        self.rows = rows
        self.files: dict[str, StoredFile] = {}
        for i, (partition, start, end, state) in enumerate(rows):
            part = OffsetRange(partition, start, end)
            if state == "loaded" and i not in missing:
                for path, n in (
                    (landing_path(CONTRACT.stream, EPOCH, part), end - start - 1),
                    (quarantine_path(CONTRACT.stream, EPOCH, part), 1),
                ):
                    self.files[path] = StoredFile(path, n, 10)

    def execute(self, statement: str, bindings: Sequence[Any] = ()) -> list[dict[str, Any]]:
        if "OPS.REPLAYS" in statement:
            return []
        if "OPS.SLICES" not in statement:
            return [{"LOADED": 0, "HELD": 0}]
        return [
            {
                "STREAM": CONTRACT.stream,
                "TOPIC_ID": EPOCH,
                "PARTITION_ID": p,
                "START_OFFSET": s,
                "END_OFFSET": e,
                "STATE": state,
                "ROWS_READ": e - s,
                "RUN_ID": "r1",
                "DAG_ID": "land",
            }
            for p, s, e, state in self.rows
        ]

    def names(self, folder: str) -> list[str]:
        return [path.rpartition("/")[2] for path in self.files if path.rpartition("/")[0] == folder]

    def plan(self, asked: Slice, starts: dict[int, int], ends: dict[int, int], **more: Any) -> Plan:
        bounds = TopicBounds(CONTRACT.topic, EPOCH, starts, ends)
        return make_plan(CONTRACT, asked, bounds, self, self, **more)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay_plan, "look_at", lambda store, path: store.files.get(path))


def ranges(*parts: tuple[int, int, int]) -> Slice:
    return Slice(CONTRACT.topic, EPOCH, tuple(OffsetRange(*p) for p in parts))


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[tuple[int, int, int, str]], set[int], Slice, dict[int, int]]:
    """Two partitions whose ledger may have holes and losses, files of which some are missing, a range."""
    rows: list[tuple[int, int, int, str]] = []
    for partition in (0, 1):
        at = draw(st.integers(0, 5))
        for size in draw(st.lists(st.integers(2, 20), max_size=6)):
            state = draw(st.sampled_from(["loaded", "loaded", "lost"]))
            rows.append((partition, at, at + size, state))
            at += size + draw(st.sampled_from([0, 0, 3]))
    missing = draw(st.sets(st.integers(0, max(0, len(rows) - 1))))
    bounds = st.tuples(st.integers(0, 1), st.integers(0, 60), st.integers(1, 60))
    asked = ranges(*((p, s, s + n) for p, s, n in draw(st.lists(bounds, min_size=1, max_size=3))))
    return rows, missing, asked, {p: draw(st.integers(0, 130)) for p in (0, 1)}


@given(worlds())
def test_parts_tile_what_was_asked_for_and_have_the_best_source(world: Any) -> None:
    rows, missing, asked, starts = world
    plan = World(rows, missing).plan(asked, starts, {0: 130, 1: 130})
    parts = [Slice(asked.topic, EPOCH, (p.range,)) for p in plan.parts]
    assert sum(map(len, parts)) == len(asked)
    union = Slice(asked.topic, EPOCH, tuple(p.range for p in plan.parts))
    assert union == asked
    _, twice = gaps_and_overlaps(parts)
    assert twice is not None
    assert not len(twice)
    whole = ranges(
        *((p, s, e) for i, (p, s, e, st) in enumerate(rows) if st == "loaded" and i not in missing)
    )
    retained = ranges(*((p, s, 130) for p, s in starts.items()))
    assert plan.slice_of("kafka") == asked & retained
    assert plan.slice_of("files") == (asked & whole) - retained
    assert json.loads(plan.sources_json())["gone"] == plan.slice_of("gone").to_json()["ranges"]


def test_a_topic_of_another_epoch_is_not_read() -> None:
    world = World([(0, 0, 10, "loaded")])
    bounds = TopicBounds(CONTRACT.topic, "T2", {0: 0}, {0: 100})
    for now in (bounds, None):
        plan = make_plan(CONTRACT, ranges((0, 0, 10)), now, world, world)  # type: ignore[arg-type]
        assert plan.slice_of("files") == plan.asked


def test_files_with_fewer_messages_than_were_read_count_as_gone() -> None:
    world = World([(0, 0, 10, "loaded")])
    path = quarantine_path(CONTRACT.stream, EPOCH, OffsetRange(0, 0, 10))
    del world.files[path]
    plan = world.plan(ranges((0, 2, 5)), {0: 50}, {0: 60})
    assert [(p.source, p.why) for p in plan.parts] == [("gone", "10 messages were landed, its files hold 9")]
    for allowed in (True, False):
        with pytest.raises(LostRangeError, match="No source holds"):
            plan.refuse_gone(allowed)


def test_files_of_a_range_that_was_cut_into_several_are_found() -> None:
    world = World([(0, 0, 10, "loaded")])
    world.files.clear()
    for part in (OffsetRange(0, 0, 6), OffsetRange(0, 6, 10)):
        path = landing_path(CONTRACT.stream, EPOCH, part)
        world.files[path] = StoredFile(path, len(part), 10)
    other = landing_path(CONTRACT.stream, EPOCH, OffsetRange(0, 10, 20))
    world.files[other] = StoredFile(other, 10, 10)
    plan = world.plan(ranges((0, 2, 8)), {0: 50}, {0: 60})
    assert [f.rows for f in plan.typed_files] == [6, 4]


def test_other_formats_are_named() -> None:
    world = World([(0, 0, 10, "loaded")])
    path = landing_path(CONTRACT.stream, EPOCH, OffsetRange(0, 0, 10), ".ndjson")
    world.files[path] = StoredFile(path, 10, 10)
    plan = world.plan(ranges((0, 0, 10)), {0: 50}, {0: 60})
    assert plan.parts[0].why == f"{path} is no Parquet file"


def test_a_claimed_range_is_taken_over_whole_or_not_at_all() -> None:
    world = World([(0, 0, 10, "claimed")])
    with pytest.raises(ConfigurationError, match="r1 of land"):
        world.plan(ranges((0, 0, 10)), {0: 0}, {0: 60})
    with pytest.raises(ConfigurationError, match="r1 of land"):
        world.plan(ranges((0, 0, 9)), {0: 0}, {0: 60}, take_over=True)
    assert len(world.plan(ranges((0, 0, 12)), {0: 0}, {0: 60}, take_over=True).found) == 12
    assert len(world.plan(ranges((0, 0, 10)), {0: 0}, {0: 60}, run_id="r1").found) == 10
