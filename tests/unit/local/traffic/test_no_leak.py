"""Nothing in a payment's form tells fraud from honest ones: only what was done can."""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from madhatter_provider.local.traffic import generate

# With about 350 cases and 20,000 honest payments the standard error of an AUC is 0.007 for what differs from
# payment to payment, 0.017 for what is the same throughout a case (its session, its device): five and four
# standard errors.
# A few merchants sell gift cards, which fraudsters like: their numbers scatter with the three worlds of the
# sample.
PAYMENT, CASE, MERCHANT = 0.035, 0.07, 0.1


@dataclass
class Sample:
    """Payments: (number in the stream, raw text, row)."""

    fraud: list[tuple[int, str, dict[str, Any]]] = field(default_factory=list)
    honest: list[tuple[int, str, dict[str, Any]]] = field(default_factory=list)


@pytest.fixture(scope="module")
def sample() -> Sample:
    found = Sample()
    for seed in (31, 32, 33):
        for number, m in enumerate(generate(seed, rate=300, seconds=220)):
            if m.stream == "transactions" and m.defect is None and not m.duplicate and not m.late:
                (found.fraud if m.case else found.honest).append(
                    (number, m.value.decode(), json.loads(m.value))
                )
    assert len(found.fraud) > 1500
    assert len(found.honest) > 20_000
    return found


def auc(fraud: Sequence[float], honest: Sequence[float]) -> float:
    """Probability that a fraudulent payment's value is above an honest one's; ties count half."""
    ranked = sorted(honest)
    below = sum(bisect_left(ranked, v) + bisect_right(ranked, v) for v in fraud) / 2
    return below / len(fraud) / len(honest)


def hexadecimal(name: str, first: int, last: int) -> Callable[[int, str, dict[str, Any]], float]:
    return lambda _number, _text, row: int(row[name][first:last], 16)


def after_point(name: str, digit: int) -> Callable[[int, str, dict[str, Any]], float]:
    """A decimal digit of a number as written."""
    return lambda _number, _text, row: int(f"{row[name]:.4f}".split(".")[1][digit])


FEATURES: dict[str, tuple[float, Callable[[int, str, dict[str, Any]], float]]] = {
    "place in the stream, odd or even": (PAYMENT, lambda number, _text, _row: number % 2),
    "place in the stream, modulo 10": (PAYMENT, lambda number, _text, _row: number % 10),
    "event id, beginning": (PAYMENT, hexadecimal("event_id", 0, 8)),
    "event id, variant digit": (PAYMENT, hexadecimal("event_id", 16, 17)),
    "event id, end": (PAYMENT, hexadecimal("event_id", 24, 32)),
    "event id, odd or even": (PAYMENT, lambda _number, _text, row: int(row["event_id"], 16) % 2),
    "event id, sum of digits": (
        PAYMENT,
        lambda _number, _text, row: sum(int(c, 16) for c in row["event_id"]),
    ),
    "order id, beginning": (PAYMENT, hexadecimal("order_id", 0, 8)),
    "order id, end": (PAYMENT, hexadecimal("order_id", 24, 32)),
    "session id, beginning": (CASE, hexadecimal("session_id", 0, 8)),
    "session id, end": (CASE, hexadecimal("session_id", 24, 32)),
    "device id, beginning": (CASE, hexadecimal("device_id", 0, 8)),
    "card id, beginning": (CASE, hexadecimal("card_id", 0, 8)),
    "customer's number": (CASE, lambda _number, _text, row: int(row["customer_id"][1:])),
    "customer's number, last digit": (CASE, lambda _number, _text, row: int(row["customer_id"][-1])),
    "merchant's number": (MERCHANT, lambda _number, _text, row: int(row["merchant_id"][1:])),
    "millisecond": (PAYMENT, lambda _number, _text, row: int(row["event_time"][20:23])),
    "millisecond, last digit": (PAYMENT, lambda _number, _text, row: int(row["event_time"][22])),
    "second": (CASE, lambda _number, _text, row: int(row["event_time"][17:19])),
    "cents": (PAYMENT, lambda _number, _text, row: round(row["amount"] * 100) % 100),
    "cents, last digit": (PAYMENT, after_point("amount", 1)),
    "latitude, last digit": (PAYMENT, after_point("latitude", 3)),
    "longitude, last digit": (PAYMENT, after_point("longitude", 3)),
    "latitude, third digit": (PAYMENT, after_point("latitude", 2)),
}


@pytest.mark.parametrize("feature", FEATURES)
def test_form_does_not_tell_fraud(feature: str, sample: Sample) -> None:
    tolerance, measure = FEATURES[feature]
    value = auc([measure(*x) for x in sample.fraud], [measure(*x) for x in sample.honest])
    assert value == pytest.approx(0.5, abs=tolerance)


def test_the_measure_sees_a_planted_leak(sample: Sample) -> None:
    assert auc([0.0 for _ in sample.fraud], [number % 2 for number, _, _ in sample.honest]) < 0.3


def test_rows_are_written_alike(sample: Sample) -> None:
    """Same keys in the same order, same types, compact JSON, same rounding."""

    def form(text: str, row: dict[str, Any]) -> tuple[Any, ...]:
        assert msgspec.json.encode(row).decode() == text
        assert round(row["amount"], 2) == row["amount"]
        assert (round(row["latitude"], 4), round(row["longitude"], 4)) == (row["latitude"], row["longitude"])
        lengths = {name: len(value) for name, value in row.items() if name.endswith(("_id", "_time"))}
        return tuple((name, type(value).__name__, lengths.get(name)) for name, value in row.items())

    forms = {form(text, row) for _, text, row in [*sample.fraud, *sample.honest]}
    assert len(forms) == 1


def test_fraud_is_spread_over_the_run(sample: Sample) -> None:
    """Fraudulent payments do not come in one block: every tenth of the stream has some."""
    last = max(number for number, _, _ in sample.honest)
    tenths = {number * 10 // (last + 1) for number, _, _ in sample.fraud}
    assert tenths == set(range(10))


def test_honest_customers_do_all_that_fraudsters_do(sample: Sample) -> None:
    honest = [row for _, _, row in sample.honest]
    countries: dict[str, set[str]] = {}
    devices: dict[str, set[str]] = {}
    for row in honest:
        countries.setdefault(row["customer_id"], set()).add(row["country"])
        devices.setdefault(row["customer_id"], set()).add(row["device_id"])
    assert sum(row["status"] == "declined" for row in honest) > 500
    assert sum(row["merchant_category"] == "gift_cards" for row in honest) > 500
    assert sum(row["amount"] < 5 for row in honest) > 200
    assert sum(row["amount"] > 250 for row in honest) > 80
    assert sum(len(seen) > 1 for seen in countries.values()) > 10
    assert sum(len(seen) > 3 for seen in devices.values()) > 10


def test_honest_customers_mistype_passwords_and_buy_in_bursts() -> None:
    failed: dict[str, int] = {}
    orders: dict[tuple[str, str], set[str]] = {}
    victims = set()
    for m in generate(34, rate=300, seconds=220):
        if m.defect or m.stream not in ("transactions", "system_logs"):
            continue
        row = json.loads(m.value)
        if m.case:
            victims.add(row["customer_id"])
        elif m.stream == "system_logs" and row["action"] == "login_failed":
            failed[row["customer_id"]] = failed.get(row["customer_id"], 0) + 1
        elif m.stream == "transactions":
            orders.setdefault((row["customer_id"], row["session_id"]), set()).add(row["order_id"])
    assert sum(number >= 3 for customer, number in failed.items() if customer not in victims) > 3
    assert sum(len(ids) >= 4 for (customer, _), ids in orders.items() if customer not in victims) > 10
