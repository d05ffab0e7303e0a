"""What is kept in Airflow's state: read back as written, small enough, and readable from every version."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madhatter_provider.core.errors import StateLostError
from madhatter_provider.core.slices.claim_json import (
    VERSION,
    read_claim,
    read_record,
    write_claim,
    write_record,
)
from madhatter_provider.core.slices.claims import Claim, ClaimRecord, TopicBounds, take
from madhatter_provider.core.slices.offsets import OffsetRange, Slice

LIMIT = 65_535  # Airflow's max_value_storage_bytes
EPOCHS = st.tuples(st.sampled_from(["t", "another"]), st.sampled_from(["A", "B"]))
RANGES = st.lists(
    st.builds(
        lambda p, s, n: OffsetRange(p, s, s + n),
        st.integers(0, 5), st.integers(0, 10**15), st.integers(0, 10**9),
    ),
    max_size=5,
)  # fmt: skip
OFFSETS = st.dictionaries(st.integers(0, 5), st.integers(0, 10**15))


@st.composite
def claims(draw: st.DrawFn) -> Claim:
    epoch = draw(EPOCHS)
    mine, lost = (Slice(*epoch, tuple(draw(RANGES))) for _ in range(2))
    parts, at = draw(st.none() | st.integers(1, 99)), draw(st.integers(0, 2**40))
    return Claim(draw(st.text(max_size=250)), mine, lost, parts, at)


@st.composite
def records(draw: st.DrawFn) -> ClaimRecord:
    kept = tuple(draw(st.lists(claims(), max_size=4)))
    return ClaimRecord(*draw(EPOCHS), draw(OFFSETS), kept, draw(st.integers(0, 2**40)), draw(OFFSETS))


def through_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


@given(records())
def test_records_are_read_as_written(record: ClaimRecord) -> None:
    assert read_record(through_json(write_record(record))) == record


@given(claims())
def test_claims_are_read_as_written(claim: Claim) -> None:
    assert read_claim(through_json(write_claim(claim))) == claim


def test_version_1_is_read() -> None:
    """Written by version 1: two epochs, a loss."""
    stored = json.loads((Path(__file__).parent / "samples/claim_record_v1.json").read_text())
    record = read_record(stored)
    assert (record.topic, record.topic_id) == ("clicks", "zH5m1Qf0T1KJ7Yx8bQw9Eg")
    assert record.position == {0: 7, 1: 0, 2: 4}
    old = "k3LzZ0q5RkOeV3m0sY4d2A"
    assert record.claims == (
        Claim(
            "asset_triggered__2026-11-20T06:00:00+00:00_a",
            Slice("clicks", old, (OffsetRange(0, 0, 120), OffsetRange(1, 0, 80))),
            Slice("clicks", old),
        ),
        Claim(
            "asset_triggered__2026-11-20T06:10:00+00:00_b",
            Slice("clicks", old, (OffsetRange(0, 150, 300), OffsetRange(1, 80, 90))),
            Slice("clicks", old, (OffsetRange(0, 120, 150),)),
        ),
        Claim(
            "asset_triggered__2026-11-21T06:00:00+00:00_c",
            Slice("clicks", record.topic_id, (OffsetRange(0, 0, 7), OffsetRange(2, 0, 4))),
            Slice("clicks", record.topic_id),
        ),
    )
    assert write_record(record)["version"] == VERSION


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        "text",
        {"version": VERSION + 1},
        {"version": VERSION},
        {"version": [1]},
        {"version": 1, "claims": 3},
        {"version": 1, "topic": "t", "topic_id": "A", "position": {"0": "x"}, "claims": []},
        {"version": VERSION, "topic": "t", "topic_id": "A", "position": "0=3", "claims": []},
        {"version": VERSION, "topic": "t", "topic_id": "A", "position": "0:3", "claims": [{}]},
    ],
)
@pytest.mark.parametrize("read", [read_record, read_claim])
def test_unreadable_state_is_not_guessed(read: Any, value: object) -> None:
    with pytest.raises(StateLostError, match="cannot be read"):
        read(value)


@pytest.mark.parametrize("partitions", [1, 200, 1000])
@pytest.mark.parametrize("lossy", [False, True])
def test_the_record_stays_small_whatever_the_number_of_partitions(partitions: int, lossy: bool) -> None:
    record, ends = None, {p: 0 for p in range(partitions)}
    for run in range(60):
        ends = {p: end + 10**9 for p, end in ends.items()}
        starts = {p: end - 10**8 if lossy and run else 0 for p, end in ends.items()}
        run_id = f"asset_triggered__2026-11-24T06:38:29.414993+00:00_{run:08d}".ljust(250, "x")
        record, claim = take(
            record, run_id, TopicBounds("t" * 249, "A" * 22, starts, ends), parts=16, at=2**31
        )
    assert record is not None
    assert record.claims[-1] == claim
    assert len(json.dumps(write_record(record))) < LIMIT
    assert len(json.dumps(write_claim(claim))) < LIMIT
