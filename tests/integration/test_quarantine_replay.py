"""Quarantined messages are looked at, and judged again once their contract is mended."""

from __future__ import annotations

import dataclasses
import json

import pytest

from madhatter_provider.core.contracts.contract import Contract
from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.core.replay import quarantine
from madhatter_provider.core.replay.job import Replayed
from madhatter_provider.core.replay.quarantine import Selection
from madhatter_provider.core.replay.quarantine_replay import plan_quarantine, replay_quarantine
from madhatter_provider.testing import Crash, crash_at

from .replays import Stream, stream_fixture  # noqa: F401

pytestmark = pytest.mark.integration
LONG = 200_000


def mended(contract: Contract) -> Contract:
    """More results are allowed."""
    columns = tuple(
        dataclasses.replace(c, maximum=1e9) if c.name == "results" else c for c in contract.columns
    )
    return dataclasses.replace(contract, columns=columns, version="1.1.0")


def again(stream: Stream, *rules: str, since: str | None = None, id: str | None = None) -> Replayed:
    chosen = Selection.of(stream.contract.stream, rules, since)
    job = stream.replaying(id, mended(stream.contract))
    return replay_quarantine(job, chosen, reason="contract mended", who="tester")


def too_many(stream: Stream, n: int = 40) -> None:
    """One in ten has more results than allowed, one in twenty is no JSON, one a tombstone."""
    stream.send(n, bad_every=10, bad=stream.row(7, results=LONG))
    stream.send(2, bad_every=1, bad=b"\xff oops")
    stream.send(2, bad_every=1, bad=None)
    stream.land("r1")


def test_what_passes_now_moves_once_and_the_rest_stays_with_its_reason(stream: Stream) -> None:
    too_many(stream)
    chosen = Selection.of(stream.contract.stream)
    assert [(h.rule, h.column, h.rows) for h in quarantine.count_by_rule(stream.sql, chosen)] == [
        ("maximum", "results", 4),
        ("empty", None, 2),
        ("malformed_json", None, 2),
    ]
    plan = plan_quarantine(stream.replaying(contract=mended(stream.contract)), chosen)
    assert (plan.passing, plan.staying, plan.untouched) == (4, {"malformed_json": 2, "empty": 2}, 0)
    assert stream.verdict().quarantined == 8
    done = again(stream)
    assert (done.rows_before, done.rows_after, done.quarantined_before, done.quarantined_after) == (
        0,
        4,
        8,
        4,
    )
    assert stream.verdict().ok
    assert stream.verdict().quarantined == 4
    assert stream.conserved()
    before = stream.rows(), stream.held()
    assert again(stream).rows_after == 0
    assert (stream.rows(), stream.held()) == before
    moved = stream.sql.execute(
        "SELECT RESULTS, _KEY, _HEADERS FROM RAW.SEARCHES WHERE _TOPIC_ID = ? AND RESULTS = ?",
        [stream.kafka.bounds(stream.topic).topic_id, LONG],
    )
    assert len(moved) == 4
    assert {(r["_KEY"][0], r["_HEADERS"]) for r in moved} == {("k", json.dumps([["h", "v"]]))}


def test_rows_are_shown_with_their_bytes(stream: Stream) -> None:
    too_many(stream)
    found = quarantine.show(stream.sql, Selection.of(stream.contract.stream, ["malformed_json"]), 10)
    assert [(r.text, r.run_id) for r in found] == [("\\xff oops", "r1")] * 2
    held = quarantine.show(stream.sql, Selection.of(stream.contract.stream, ["empty"]), 1)
    assert [r.text for r in held] == ["(no value)"]


def test_rule_and_time_choose(stream: Stream) -> None:
    too_many(stream)
    assert again(stream, "malformed_json").rows_after == 0
    assert again(stream, since="2100-01-01T00:00:00Z").quarantined_before == 0
    assert stream.verdict().quarantined == 8
    assert again(stream, "maximum", since="2020-01-01T00:00:00Z").rows_after == 4
    with pytest.raises(ConfigurationError, match="no time zone"):
        again(stream, since="2020-01-01T00:00:00")


def test_rows_of_a_run_that_is_at_work_are_left_to_it(stream: Stream) -> None:
    too_many(stream)
    stream.sql.execute("UPDATE OPS.SLICES SET STATE = 'claimed' WHERE STREAM = ?", [stream.contract.stream])
    plan = plan_quarantine(stream.replaying(), Selection.of(stream.contract.stream))
    assert (plan.passing, plan.untouched) == (0, 8)
    assert again(stream).rows_after == 0
    assert stream.verdict().quarantined == 8


def test_duplicates_in_quarantine_and_in_raw_end_as_one(stream: Stream) -> None:
    too_many(stream)
    epoch = [stream.kafka.bounds(stream.topic).topic_id]
    stream.sql.execute("INSERT INTO RAW.QUARANTINE SELECT * FROM RAW.QUARANTINE WHERE _TOPIC_ID = ?", epoch)
    done = again(stream)
    stream.sql.execute(
        "INSERT INTO RAW.QUARANTINE SELECT STREAM, TOPIC, _TOPIC_ID, _PARTITION, 4, _TIMESTAMP, _KEY, "
        '_HEADERS, RAW, REASON, RULE, "COLUMN", CONTRACT_VERSION, RUN_ID FROM RAW.QUARANTINE '
        "WHERE _TOPIC_ID = ? AND _PARTITION = 1 LIMIT 1",
        epoch,
    )
    assert (done.quarantined_before, done.rows_after) == (16, 4)
    assert stream.verdict().overlaps == 1
    again(stream)  # the newest decision stands
    assert not stream.verdict().overlaps
    assert not stream.verdict().duplicates


def test_pages_are_bounded(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quarantine, "_PAGE_BYTES", 300)
    monkeypatch.setattr(quarantine, "_PAGE_ROWS", 3)
    stream.send(30, bad_every=1, bad=b"x" * 120)
    owned = stream.land("r1")
    chosen = Selection.of(stream.contract.stream)
    pages = list(quarantine.messages(stream.sql, chosen, owned))
    assert sorted(o for p in pages for o in p.offsets) == sorted([*range(15), *range(15)])
    assert max(len(p) for p in pages) == 3
    assert stream.verdict().ok


def test_death_on_either_side_of_the_swap_is_healed_by_the_same_id(stream: Stream) -> None:
    """All other boundaries, by a signal: test_crash_points."""
    too_many(stream)
    epoch = [stream.kafka.bounds(stream.topic).topic_id]
    backup = f"OPS.BACKUP_{stream.contract.stream.upper()}"
    stream.sql.execute(f"CREATE TABLE {backup} AS SELECT * FROM RAW.QUARANTINE WHERE _TOPIC_ID = ?", epoch)
    for point in ("quarantine.after_stage", "quarantine.after_swap"):
        name = f"{point.partition('.')[2]}_{stream.contract.stream}".upper()
        with pytest.raises(Crash), crash_at(point):
            again(stream, id=name)
        assert len(stream.held()) == (4 if point == "quarantine.after_swap" else 8), point
        done = again(stream, id=name)
        assert (done.quarantined_before, done.rows_after, done.quarantined_after) == (8, 4, 4), point
        assert stream.conserved(), point
        assert stream.verdict().ok, point
        stream.sql.execute(f"DELETE FROM RAW.SEARCHES WHERE _TOPIC_ID = ? AND RESULTS = {LONG}", epoch)
        stream.sql.execute("DELETE FROM RAW.QUARANTINE WHERE _TOPIC_ID = ?", epoch)
        stream.sql.execute(f"INSERT INTO RAW.QUARANTINE SELECT * FROM {backup}")
    stream.sql.execute(f"DROP TABLE {backup}")
    assert list(stream.tidy()) == []
