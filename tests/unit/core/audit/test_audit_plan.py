"""What an audit would do about what it found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from madhatter_provider.core.audit.findings import compare
from madhatter_provider.core.audit.model import Evidence
from madhatter_provider.core.audit.plan import KINDS, Action, merged, plan
from madhatter_provider.core.slices.claims import TopicBounds
from madhatter_provider.core.slices.offsets import OffsetRange, Slice

from .audit_worlds import NOW, OLD, PLANTS, TOPIC, World, healthy

SEEDS = st.integers(0, 2**32)

# Kind of finding → what is done about it while Kafka has everything, and when it has nothing any more.
KAFKA_HAS_IT: dict[str, set[str]] = {
    "ledger_gap": {"claim", "replay"},
    "ledger_overlap": {"trim"},
    "not_loaded": {"replay"},
    "counts_do_not_add_up": {"recount"},
    "ledger_miscounts": {"recount"},
    "manifest_disagrees": {"land", "advise"},  # advise: of an old epoch
    "lost_not_acknowledged": {"advise"},
    "lost_without_record": {"lose"},
    "old_epoch": set(),
    "position_behind": {"position", "mirror"},
    "position_ahead": {"claim", "replay"},
    "position_of_old_epoch": set(),
    "log_cut": {"advise"},
    "run_failed": {"advise"},
    "mirror_missing": {"mirror"},
    "mirror_behind": {"mirror"},
    "mirror_ahead": {"mirror"},
    "mirror_of_old_epoch": {"mirror"},
    "file_missing": {"land", "advise"},
    "file_edited": {"land", "advise"},
    "file_without_manifest": {"land", "advise"},
    "manifest_unreadable": {"land"},
    "manifest_without_ledger": {"claim", "replay"},
    "scratch_files": {"tidy"},
    "rows_missing": {"replay"},
    "rows_surplus": {"replay"},
    "duplicate_rows": {"deduplicate"},
    "in_both": {"replay"},
    "stranger_rows": {"claim", "replay", "recount", "advise"},
    "quarantine_count": {"replay"},
    "deep_gate_waits": {"advise"},
}
KAFKA_HAS_NOTHING = KAFKA_HAS_IT | {
    "ledger_gap": {"lose"},
    "not_loaded": {"lose"},
    "manifest_disagrees": {"advise"},
    "position_ahead": {"lose"},
    "file_missing": {"advise"},
    "file_edited": {"advise"},
    "file_without_manifest": {"advise"},
    "manifest_unreadable": {"advise"},
    "stranger_rows": {"claim", "recount", "advise"},
}
CASES = [(kind, plant) for kind, plants in PLANTS.items() for plant in plants]


def plant_in(plant: Callable[[World], None], seed: int) -> Evidence:
    world = healthy(seed)
    try:
        plant(world)
    except IndexError:  # no range of this world fits
        assume(False)
    return world.evidence()


def without_log(evidence: Evidence) -> Evidence:
    """Retention has taken everything."""
    assert evidence.bounds is not None
    ends = evidence.bounds.ends
    return replace(evidence, bounds=TopicBounds(TOPIC, NOW, dict(ends), dict(ends)))


def actions(evidence: Evidence, kind: str) -> list[Action]:
    return plan(evidence, [f for f in compare(evidence) if f.kind == kind])


@pytest.mark.parametrize(("kind", "plant"), CASES, ids=[plant.__name__ for _, plant in CASES])
@settings(max_examples=max(15, settings().max_examples // 5))
@given(seed=SEEDS)
def test_what_is_done(kind: str, plant: Callable[[World], None], seed: int) -> None:
    evidence = plant_in(plant, seed)
    found = actions(evidence, kind)
    assert {a.kind for a in found} <= KAFKA_HAS_IT[kind]
    assert bool(found) is bool(KAFKA_HAS_IT[kind])
    assert [list(KINDS).index(a.kind) for a in found] == sorted(list(KINDS).index(a.kind) for a in found)
    assert all(a.said for a in found)


@pytest.mark.parametrize(
    ("kind", "plant"),
    # Where the log starts is what these two are about.
    [c for c in CASES if c[0] not in ("lost_without_record", "ledger_gap", "position_ahead")],
)
@settings(max_examples=max(10, settings().max_examples // 10))
@given(seed=SEEDS)
def test_what_is_done_when_kafka_has_nothing_any_more(
    kind: str, plant: Callable[[World], None], seed: int
) -> None:
    evidence = without_log(plant_in(plant, seed))
    assert {a.kind for a in actions(evidence, kind)} <= KAFKA_HAS_NOTHING[kind]


@pytest.mark.parametrize("kind", ["ledger_gap", "not_loaded", "rows_missing", "file_missing"])
@given(seed=SEEDS)
def test_nothing_is_called_gone_while_the_broker_was_not_asked(kind: str, seed: int) -> None:
    evidence = replace(plant_in(PLANTS[kind][0], seed), bounds=None)
    evidence = replace(evidence, landing=None) if kind != "file_missing" else evidence
    assert {a.kind for a in actions(evidence, kind)} == {"advise"}


@given(SEEDS)
def test_rows_come_back_from_intact_files_when_kafka_has_nothing(seed: int) -> None:
    evidence = without_log(plant_in(PLANTS["rows_missing"][0], seed))
    (found,) = [f for f in compare(evidence) if f.kind == "rows_missing"]
    (action,) = plan(evidence, [found])
    assert action.kind == "replay"
    assert {a.kind for a in plan(replace(evidence, landing=None), [found])} == {"lose_missing"}


def test_files_of_another_format_are_left_to_their_run() -> None:
    world = healthy(5)
    path, manifest = next((p, m) for p, m in world.manifests.items() if m and m.run_id == "inner-0")
    assert manifest is not None
    other = replace(manifest.files[0], path=manifest.files[0].path.replace(".parquet", ".ndjson"))
    world.manifests[path] = replace(manifest, files=(other, *manifest.files[1:]))
    del world.files[manifest.files[0].path]
    (action,) = actions(world.evidence(), "file_missing")
    assert action.kind == "advise"
    assert "clear run inner-0" in action.said


def test_a_mirror_that_is_ahead_is_not_set_back_by_the_ledger_alone() -> None:
    evidence = plant_in(PLANTS["mirror_ahead"][0], 7)
    blind = replace(evidence.dags[0], looked_at=False, before=None, after=None, runs={})
    (action,) = actions(replace(evidence, dags=(blind,)), "mirror_ahead")
    assert action.kind == "advise"
    assert "--airflow-url" in action.said


@given(SEEDS)
def test_a_position_never_goes_back(seed: int) -> None:
    evidence = plant_in(PLANTS["position_behind"][0], seed)
    (position, mirror) = actions(evidence, "position_behind")
    assert position.position == mirror.position
    before = evidence.dags[0].before
    assert before is not None
    assert all(position.position[p] >= o for p, o in before.position.items())
    assert position.position[0] == before.position[0] + 1


_RANGES = st.builds(
    lambda p, start, size: OffsetRange(p, start, start + size),
    st.integers(0, 2),
    st.integers(0, 50),
    st.integers(1, 9),
)


@given(st.lists(st.tuples(st.sampled_from([OLD, NOW]), _RANGES), max_size=12))
def test_replays_have_one_range_per_partition_and_cover_all(parts: list[tuple[str, OffsetRange]]) -> None:
    wanted = [Action("replay", Slice(TOPIC, topic_id, (r,)), "why") for topic_id, r in parts]
    rounds = merged(wanted)
    for one in rounds:
        assert len(one.partitions) == len(one.ranges) > 0
    for topic_id in (OLD, NOW):
        whole = Slice(TOPIC, topic_id, tuple(r for t, r in parts if t == topic_id))
        again = Slice(TOPIC, topic_id, tuple(r for s in rounds if s.topic_id == topic_id for r in s))
        assert whole == again
