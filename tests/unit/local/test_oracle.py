"""The oracle must fail on a planted loss, a planted duplicate, and a planted stranger."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from madhatter_provider.core.slices.offsets import OffsetRange, Slice
from madhatter_provider.local.oracle import compare, wrongly_quarantined

WHOLE = Slice("t", "id", (OffsetRange(0, 0, 40), OffsetRange(1, 5, 30)))
MEMBERS = [(r.partition, o) for r in WHOLE for o in range(r.start, r.end)]


def of(members: set[tuple[int, int]]) -> Slice:
    return Slice("t", "id", tuple(OffsetRange(p, o, o + 1) for p, o in members))


@given(st.sets(st.sampled_from(MEMBERS)))
def test_a_partition_into_loaded_and_quarantined_is_right(bad: set[tuple[int, int]]) -> None:
    loaded = of(set(MEMBERS) - bad)
    verdict = compare(WHOLE, loaded, len(loaded), of(bad), len(bad))
    assert verdict.ok
    assert (verdict.loaded, verdict.quarantined) == (len(MEMBERS) - len(bad), len(bad))


@given(st.sets(st.sampled_from(MEMBERS), min_size=1))
def test_a_loss_is_found(lost: set[tuple[int, int]]) -> None:
    loaded = of(set(MEMBERS) - lost)
    verdict = compare(WHOLE, loaded, len(loaded), of(set()), 0)
    assert not verdict.ok
    assert verdict.gaps == len(lost)


@given(st.integers(1, 5), st.integers(0, 3))
def test_duplicates_are_found(doubled: int, doubled_in_quarantine: int) -> None:
    verdict = compare(WHOLE, WHOLE, len(WHOLE) + doubled, of(set()), doubled_in_quarantine)
    assert not verdict.ok
    assert verdict.duplicates == doubled + doubled_in_quarantine


@given(st.sets(st.sampled_from(MEMBERS), min_size=1))
def test_a_message_in_both_places_is_found(both: set[tuple[int, int]]) -> None:
    verdict = compare(WHOLE, WHOLE, len(WHOLE), of(both), len(both))
    assert not verdict.ok
    assert verdict.overlaps == len(both)


def test_a_row_of_no_message_is_found() -> None:
    verdict = compare(WHOLE, WHOLE | of({(2, 0)}), len(WHOLE) + 1, of(set()), 0)
    assert not verdict.ok
    assert verdict.strangers == 1


def test_reasons_must_fit_the_defect() -> None:
    injected = [(0, 1, "broken_json"), (0, 2, "out_of_range"), (0, 3, "missing_field")]
    reasons = {(0, 1): "malformed_json", (0, 2): "wrong_type", (9, 9): "required"}
    missed, innocent = wrongly_quarantined(injected, reasons)
    assert missed == ["0:2 out_of_range, found wrong_type", "0:3 missing_field, found nothing"]
    assert innocent == ["9:9 required"]
