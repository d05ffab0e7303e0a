"""Typed decoding: what is good, what is bad and why, and that neighbours never matter."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madhatter_provider.core.contracts.contract import load_contract
from madhatter_provider.core.decoding import json_messages as decoding
from madhatter_provider.core.decoding.json_messages import JsonDecoder

CONTRACT = load_contract(Path(__file__).parents[4] / "include/contracts/transactions.odcs.yaml")
DECODER = JsonDecoder(CONTRACT)
GOOD: dict[str, Any] = {
    "event_id": "0123456789abcdef", "event_time": "2026-11-24T06:00:00.123Z", "order_id": "o1234567",
    "customer_id": "C000001", "session_id": "s1234567", "device_id": "d1234567", "card_id": "c1234567",
    "merchant_id": "M0001", "merchant_category": "toys", "amount": 12.34, "currency": "USD",
    "payment_method": "card", "status": "authorized", "channel": "web", "items": 1, "country": "US",
    "latitude": 1.5, "longitude": 2,
}  # fmt: skip


def raw(**changes: Any) -> bytes:
    return json.dumps({k: v for k, v in {**GOOD, **changes}.items() if v is not ...}).encode()


BAD: dict[str, tuple[bytes | None, str, str | None]] = {
    "cut off": (raw()[:-1], "malformed_json", None),
    "broken inside": (b'{"event_id": }', "malformed_json", None),
    "two objects": (raw() + raw(), "malformed_json", None),
    "two objects, two lines": (raw() + b"\n" + raw(), "malformed_json", None),
    "an array": (b"[1]", "malformed_json", None),
    "tombstone": (None, "empty", None),
    "empty": (b"", "empty", None),
    "blank": (b"  \n", "empty", None),
    "not UTF-8": (raw().replace(b"o1234567", b"\xff\xfe123456"), "malformed_json", None),
    "key twice": (raw()[:-1] + b', "amount": 3}', "duplicate_key", "amount"),
    "missing": (raw(order_id=...), "required", "order_id"),
    "null": (raw(order_id=None), "required", "order_id"),
    "text for a number": (raw(amount="much"), "wrong_type", "amount"),
    "object for a number": (raw(amount={"value": 1}), "wrong_type", "amount"),
    "number for text": (raw(country=7), "wrong_type", "country"),
    "fraction for an integer": (raw(items=1.5), "wrong_type", "items"),
    "beyond 64 bits": (raw(items=2**70), "wrong_type", "items"),
    "too many decimals": (raw(amount=1.234), "wrong_type", "amount"),
    "not a time": (raw(event_time="yesterday"), "wrong_type", "event_time"),
    "no zone": (raw(event_time="2026-11-24T06:00:00"), "no_zone", "event_time"),
    "nanoseconds": (raw(event_time="2026-11-24T06:00:00.123456789Z"), "wrong_type", "event_time"),
    "leap second": (raw(event_time="2026-12-31T23:59:60Z"), "wrong_type", "event_time"),
    "a time that is a number": (raw(event_time=1764000000), "wrong_type", "event_time"),
    "far future": (raw(event_time="10000-01-01T00:00:00Z"), "wrong_type", "event_time"),
    "after the last year": (raw(event_time="9999-12-31T23:59:59-01:00"), "beyond_type", "event_time"),
    "a whole number with a fraction": (raw().replace(b'"items": 1', b'"items": 1.0'), "wrong_type", "items"),
    "overflow": (raw().replace(b"1.5", b"1e999"), "wrong_type", "latitude"),
    "many digits": (raw().replace(b"1.5", b"9" * 400), "finite", "latitude"),
    "infinite": (raw().replace(b"1.5", b"-Infinity"), "finite", "latitude"),
    "half a character": (raw(country="?").replace(b"?", b"\\ud83d"), "malformed_json", None),
    "half a character, unknown": (raw(x="?").replace(b"?", b"\\ud83d"), "malformed_json", None),
    "control character": (raw(country="?").replace(b"?", b"\x01"), "malformed_json", None),
    "byte order mark": (b"\xef\xbb\xbf" + raw(), "malformed_json", None),
    "comment": (raw()[:-1] + b"/* c */}", "malformed_json", None),
    "comma at the end": (raw()[:-1] + b",}", "malformed_json", None),
    "not a number": (raw().replace(b"1.5", b"NaN"), "finite", "latitude"),
    "too small": (raw(amount=-1), "minimum", "amount"),
    "too big": (raw(latitude=91), "maximum", "latitude"),
    "too short": (raw(order_id="o"), "min_length", "order_id"),
    "too long": (raw(order_id="o" * 99), "max_length", "order_id"),
    "pattern": (raw(country="usa"), "pattern", "country"),
    "unknown value": (raw(status="maybe"), "known_values", "status"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_rows_say_why_and_leave_their_neighbours_alone(name: str) -> None:
    value, rule, column = BAD[name]
    decoded = DECODER.decode([raw(), value, raw(items=2)])
    assert decoded.good == [0, 2]
    assert decoded.table.column("items").to_pylist() == [1, 2]
    assert [(b.index, b.rule, b.column) for b in decoded.bad] == [(1, rule, column)]
    assert decoded.bad[0].reason


def test_values_are_typed() -> None:
    row = DECODER.decode(
        [raw(event_time="2026-11-24T07:00:00.5+01:00", amount=10, unknown={"x": 1})]
    ).table.to_pylist()[0]
    assert row["amount"] == Decimal("10.00")
    assert row["event_time"].isoformat() == "2026-11-24T06:00:00.500000+00:00"
    assert row["longitude"] == 2.0
    assert list(row) == [c.name for c in CONTRACT.columns]


def test_surrounding_white_space_is_no_fault() -> None:
    assert DECODER.decode([b"  " + raw() + b"\r\n"]).good == [0]


@pytest.mark.parametrize(
    "value",
    [
        raw(x="\0", y=[{"z": 1}, "z"]),
        raw()[:-1] + b', "x": 1, "x": 2}',
        raw(x="[[[[").replace(b'"[[[["', b"[" * 50_000 + b"]" * 50_000),
        raw().replace(b"amount", b"am\\u006funt"),
        raw(event_time="2026-11-24 07:00+0100"),
        raw(amount=1e2, longitude=1e-320),
        json.dumps(GOOD, indent=2).encode(),
    ],
)
def test_odd_but_good(value: bytes) -> None:
    assert DECODER.decode([value, b"oops", raw()]).good == [0, 2]
    assert DECODER.decode([value]).good == [0]


def test_large_messages_are_taken_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    large = raw(x="y" * 10_000_000)
    assert DECODER.decode([large, b"oops", large]).good == [0, 2]
    values = [raw(items=i) if i % 3 else b"{}" for i in range(20)]
    whole = DECODER.decode(values)
    monkeypatch.setattr(decoding, "CHUNK_BYTES", 700)
    pieces = DECODER.decode(values)
    assert pieces.table.equals(whole.table.combine_chunks())
    assert (pieces.good, pieces.bad) == (whole.good, whole.bad)


def test_nothing_is_decoded_to_nothing() -> None:
    decoded = DECODER.decode([])
    assert decoded.table.num_rows == 0
    assert decoded.table.schema == DECODER.schema


@given(
    st.lists(
        st.sampled_from([*(v for v, _, _ in BAD.values()), raw(), raw(items=3), raw(x=[1]), raw(x="y")]),
        max_size=12,
    )
)
def test_a_row_is_judged_alone(values: list[bytes | None]) -> None:
    together = DECODER.decode(values)
    assert sorted([*together.good, *(b.index for b in together.bad)]) == list(range(len(values)))
    for i, value in enumerate(values):
        alone = DECODER.decode([value])
        assert (i in together.good) == (alone.good == [0])
        if i in together.good:
            row = together.table.slice(together.good.index(i), 1).to_pylist()
            assert row == alone.table.to_pylist()
        else:
            assert next(b.rule for b in together.bad if b.index == i) == alone.bad[0].rule


@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_arbitrary_bytes_never_raise(value: bytes) -> None:
    decoded = DECODER.decode([raw(), b"{" + value + b"}", value])
    assert 0 in decoded.good
    assert len(decoded.good) + len(decoded.bad) == 3
