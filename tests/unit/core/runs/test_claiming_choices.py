"""What a claim does at the edges: first runs, lost positions, caps, forgotten claims, losses."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from madhatter_provider.core.errors import ConfigurationError, LostRangeError, StateLostError, TopicError
from madhatter_provider.core.runs.claiming import Claiming
from madhatter_provider.core.slices.claim_options import ClaimOptions
from madhatter_provider.core.slices.claims import CLAIMS_KEPT
from madhatter_provider.core.slices.state import mirror_group

from .claiming_world import Dag, Ledger, StateStore, Topic

LOADED = {0: 100, 1: 50}


@pytest.fixture
def topic() -> Topic:
    return Topic(starts={0: 0, 1: 0}, ends=dict(LOADED))


@pytest.fixture
def dag(topic: Topic) -> Dag:
    return Dag("d", topic, StateStore())


def ranges(owner: Claiming) -> list[tuple[int, int, int]]:
    return [(r.partition, r.start, r.end) for r in owner.claim().slice]


def lose_state(dag: Dag, *, mirror: bool = True) -> None:
    dag.asset.values.clear()
    dag.memories.clear()
    if not mirror:
        dag.topic.groups.clear()


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("earliest", [(0, 20, 100), (1, 0, 50)]),
        ("latest", []),
        ("2026-11-24T06:00:00Z", [(0, 70, 100)]),
        ({0: 30}, [(0, 30, 100), (1, 0, 50)]),
        ({"0": "30", "1": "50"}, [(0, 30, 100)]),
    ],
)
def test_where_a_first_run_starts(dag: Dag, start: Any, expected: list[tuple[int, int, int]]) -> None:
    dag.topic.starts[0], dag.topic.times = 20, {0: 70, 1: 50}
    assert ranges(dag.claiming("r1", start=start)) == expected


def test_a_time_beyond_the_last_stable_end_starts_there(dag: Dag) -> None:
    """An open transaction: messages after it are there, but nobody may read them yet."""
    dag.topic.times = {0: 120, 1: 50}
    assert ranges(dag.claiming("r1", start="2026-11-24T06:00:00Z")) == []
    dag.topic.ends[0] = 130
    assert ranges(dag.claiming("r2")) == [(0, 100, 130)]


def test_a_start_that_retention_has_overrun_is_a_loss(dag: Dag) -> None:
    dag.topic.starts[0] = 20
    claim = dag.claiming("r1", start={0: 10}).claim()
    assert [(r.partition, r.start, r.end) for r in claim.lost] == [(0, 10, 20)]


@pytest.mark.parametrize(
    ("start", "said"), [({7: 0}, "partition 7 does not exist"), ({0: 101}, "partition 0 ends at 100")]
)
def test_a_start_that_is_not_there_is_refused(dag: Dag, start: dict[int, int], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        dag.claiming("r1", start=start).claim()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"start": "soon"}, "start='soon' is not understood"),
        ({"start": "2026-11-24T06:00:00"}, "no time zone"),
        ({"start": 5}, "start=5 is not understood"),
        ({"start": {0: -1}}, "start={0: -1} is not understood"),
        ({"start": {"a": 1}}, "is not understood"),
        ({"max_messages": 0}, "max_messages=0 would claim nothing"),
        ({"max_bytes": -1}, "max_bytes=-1 would claim nothing"),
        ({"max_bytes": 1.5}, "max_bytes=1.5 would claim nothing"),
        ({"on_state_lost": "guess"}, "on_state_lost='guess' is not understood"),
    ],
)
def test_options_that_mean_nothing_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ClaimOptions(topic="clicks", **options)
    assert said in caught.value.what
    assert caught.value.where == "topic clicks"
    assert caught.value.remedy


def test_caps_by_bytes_use_the_size_of_each_partition_and_take_one_at_least(dag: Dag) -> None:
    dag.topic.sizes = {0: 10.0, 1: 100.0}
    assert ranges(dag.claiming("r1", max_bytes=2_000)) == [(0, 0, 100), (1, 0, 10)]
    assert ranges(dag.claiming("r2", max_bytes=1)) == [(1, 10, 11)]
    assert ranges(dag.claiming("r3", max_bytes=10_000, max_messages=7)) == [(1, 11, 18)]


def test_a_lost_position_comes_back_from_the_mirror(dag: Dag) -> None:
    dag.claiming("r1").claim()
    lose_state(dag)
    dag.topic.ends |= {0: 120, 2: 5}
    dag.topic.starts[2] = 0
    assert ranges(dag.claiming("r2", start="latest")) == [(0, 100, 120), (2, 0, 5)]


def test_a_lost_position_comes_back_from_the_ledger(dag: Dag) -> None:
    dag.ledger = Ledger()
    dag.claiming("r1").claim()
    lose_state(dag, mirror=False)
    dag.topic.ends[0] = 120
    assert ranges(dag.claiming("r2", start="latest")) == [(0, 100, 120)]


def test_the_further_of_mirror_and_ledger_counts(dag: Dag) -> None:
    dag.ledger = Ledger()
    dag.claiming("r1").claim()
    dag.topic.groups[mirror_group("d")] = {0: (dag.topic.id, 60), 1: (dag.topic.id, 50)}
    lose_state(dag)
    assert ranges(dag.claiming("r2")) == []


def test_a_position_of_an_earlier_epoch_says_that_this_is_no_first_run(dag: Dag) -> None:
    dag.claiming("r1").claim()
    lose_state(dag)
    dag.topic.epoch, dag.topic.ends, dag.topic.starts = 1, {0: 9}, {0: 2}
    with pytest.raises(StateLostError, match="deleted since"):
        dag.claiming("r2", start="latest").claim()
    assert ranges(dag.claiming("r3", on_state_lost="start")) == [(0, 2, 9)]


def test_a_first_run_is_nothing_special(dag: Dag) -> None:
    for policy in ("restore", "fail", "start"):
        dag.dag_id = policy
        assert ranges(dag.claiming("r1", on_state_lost=policy)) == [(0, 0, 100), (1, 0, 50)]


def test_without_mirror_and_ledger_a_lost_position_is_not_guessed(dag: Dag) -> None:
    dag.claiming("r1").claim()
    lose_state(dag, mirror=False)
    dag.succeeded = True
    with pytest.raises(StateLostError, match="this task has succeeded before") as caught:
        dag.claiming("r2").claim()
    assert 'on_state_lost="start"' in caught.value.remedy
    assert not dag.asset.values, "nothing was claimed"
    chosen: Any = {"on_state_lost": "start", "start": {0: 100, 1: 40}}
    assert ranges(dag.claiming("r2", again=True, **chosen)) == [(1, 40, 50)]


def test_offsets_that_somebody_else_committed_are_not_taken_for_the_position(dag: Dag) -> None:
    dag.topic.groups[mirror_group("d")] = {0: ("", 60)}
    with pytest.raises(StateLostError, match="somebody else has committed"):
        dag.claiming("r1").claim()


@pytest.mark.parametrize("created_again", [False, True])
def test_fail_refuses_what_restore_would_mend(dag: Dag, created_again: bool) -> None:
    dag.claiming("r1").claim()
    lose_state(dag)
    dag.topic.epoch += created_again
    with pytest.raises(StateLostError, match="deleted since" if created_again else "says it was at"):
        dag.claiming("r2", on_state_lost="fail").claim()


def test_a_chosen_start_moves_the_mirror_back_too(dag: Dag) -> None:
    """Else the next loss of state would skip what is between them."""
    dag.claiming("r1").claim()
    lose_state(dag)
    assert ranges(dag.claiming("r2", on_state_lost="start", max_messages=10)) == [(0, 0, 5), (1, 0, 5)]
    lose_state(dag)
    assert ranges(dag.claiming("r3")) == [(0, 5, 100), (1, 5, 50)]


def test_a_forbidden_group_is_warned_of_and_the_run_goes_on(
    dag: Dag, caplog: pytest.LogCaptureFixture
) -> None:
    dag.topic.refuses_groups = TopicError("Kafka refuses access", where="group", remedy="Grant READ on it.")
    assert ranges(dag.claiming("r1")) == [(0, 0, 100), (1, 0, 50)]
    said = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert any("cannot be read" in text and "Grant READ" in text for text in said)
    assert any("not mirrored" in text and "Grant READ" in text for text in said)
    lose_state(dag)
    dag.succeeded = True
    with pytest.raises(StateLostError):
        dag.claiming("r2").claim()


def run_many(dag: Dag) -> None:
    """More runs than the record keeps."""
    for i in range(CLAIMS_KEPT + 1):
        dag.topic.ends[0] += 1
        dag.claiming(f"later{i}").claim()


def test_a_run_cleared_long_after_gets_its_slice_from_its_tasks_memory(dag: Dag) -> None:
    first = ranges(dag.claiming("r1"))
    run_many(dag)
    assert ranges(dag.claiming("r1", again=True)) == first


def test_it_gets_it_from_the_ledger_if_airflow_has_tidied_up(dag: Dag) -> None:
    dag.ledger = Ledger()
    first = ranges(dag.claiming("r1"))
    run_many(dag)
    dag.memories.clear()
    assert ranges(dag.claiming("r1", again=True)) == first


def test_if_nobody_knows_it_is_refused_and_not_given_new_messages(dag: Dag) -> None:
    dag.claiming("r1").claim()
    run_many(dag)
    dag.memories.clear()
    dag.topic.ends[0] += 5
    with pytest.raises(StateLostError, match="What run r1 claimed, if it did, is no longer known") as caught:
        dag.claiming("r1", again=True, since=1).claim()
    assert "trigger a new one" in caught.value.remedy
    assert len(dag.claiming("r2").claim().slice) == 5


def test_the_parts_of_a_slice_are_those_of_its_claim(dag: Dag) -> None:
    import dataclasses

    owner = dataclasses.replace(dag.claiming("r1"), parts=4)
    assert owner.claim().parts == 4
    later = dataclasses.replace(dag.claiming("r1", again=True), parts=9)
    assert later.claim().parts == 4, "other parts would be other files"


def test_a_loss_without_a_ledger_is_said_once(dag: Dag) -> None:
    dag.claiming("r1").claim()
    dag.topic.starts, dag.topic.ends = {0: 110, 1: 50}, {0: 120, 1: 50}
    owner = dag.claiming("r2")
    claim = owner.claim()
    with pytest.raises(LostRangeError, match="10 offsets were deleted"):
        owner.say_losses_once(claim)
    cleared = dag.claiming("r2", again=True)
    assert cleared.claim() == claim
    cleared.say_losses_once(claim)
    assert len(dag.claiming("r3").claim().lost) == 0
