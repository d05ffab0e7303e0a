"""Fraud rules: each fires for its reason, not for its neighbour's; duplicates and disorder do not matter."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from math import exp
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from madhatter_provider.core.fraud.rules import (
    COOLDOWN_SECONDS,
    CustomerState,
    Event,
    Finding,
    Login,
    PageView,
    Payment,
    Profile,
    observe,
)

HOME = (52.52, 13.40)
TOKYO = (35.68, 139.69)
PROFILE = Profile(
    customer_id="C000001",
    country="DE",
    latitude=HOME[0],
    longitude=HOME[1],
    devices=frozenset({"phone", "laptop"}),
    log_amount_mean=3.4,
    log_amount_std=0.5,
    samples=40,
    purchases_per_day=5.0,
)


@dataclass
class Customer:
    """Builds events of one customer and feeds them to the rules."""

    profile: Profile | None = PROFILE
    state: CustomerState = field(default_factory=CustomerState)
    number: int = 0

    def payment(self, time: float, amount: float = 30.0, **changes: Any) -> Payment:
        self.number += 1
        values = {
            "event_id": f"t{self.number:04d}", "time": time, "card_id": "card-1", "device_id": "phone",
            "order_id": f"o{self.number:04d}", "amount": amount, "currency": "EUR", "country": "DE",
            "latitude": HOME[0], "longitude": HOME[1], "declined": False, **changes,
        }  # fmt: skip
        return Payment(**values)

    def login(self, time: float, action: str, device: str, country: str = "DE") -> Login:
        self.number += 1
        return Login(f"l{self.number:04d}", time, action, device, country)

    def feed(self, *events: Event) -> list[Finding]:
        return [f for e in events for f in observe(self.state, self.profile, e)]


def rules(findings: list[Finding]) -> set[str]:
    return {f.rule for f in findings}


def test_ordinary_purchases_raise_nothing() -> None:
    c = Customer()
    assert c.feed(*(c.payment(t * 120.0, amount) for t, amount in enumerate((12, 30, 55, 80, 25, 18)))) == []


def test_many_tiny_declined_payments_are_card_testing() -> None:
    c = Customer()
    found = c.feed(*(c.payment(t * 2.0, 1.5, declined=t % 2 == 0, device_id="bot") for t in range(8)))
    assert "card_testing" in rules(found)
    first = next(f for f in found if f.rule == "card_testing")
    assert "unknown device" in first.reason
    assert first.payment.amount == 1.5


def test_small_things_with_one_card_are_not_card_testing() -> None:
    c = Customer()
    assert c.feed(*(c.payment(t * 5.0, 1.5 + t) for t in range(6))) == []


def test_a_declined_payment_tried_again_is_one_attempt() -> None:
    c = Customer()
    retries = [c.payment(t * 5.0, 4.0, declined=True, order_id="same") for t in range(6)]
    assert c.feed(*retries) == []


def test_orders_faster_than_a_person_shops_are_a_burst() -> None:
    c = Customer()
    found = c.feed(*(c.payment(t * 2.0, 40.0) for t in range(9)))
    assert rules(found) == {"velocity_burst"}
    assert len(found) <= 2  # at most one more, when it has become more severe


def test_one_order_paid_to_many_merchants_is_no_burst() -> None:
    c = Customer()
    assert c.feed(*(c.payment(t * 0.2, 40.0, order_id="one-cart") for t in range(9))) == []


def test_a_customer_who_buys_all_the_time_may_do_so() -> None:
    busy = msgspec.structs.replace(PROFILE, purchases_per_day=86_400 / 10)
    assert (
        Customer(busy).feed(
            *(Customer().payment(t * 3.0, 40.0, event_id=f"x{t}", order_id=f"x{t}") for t in range(7))
        )
        == []
    )


def test_a_payment_a_flight_away_is_impossible_travel() -> None:
    c = Customer()
    away = c.payment(30.0, 30.0, latitude=TOKYO[0], longitude=TOKYO[1], country="JP", device_id="stolen")
    found = c.feed(c.payment(0.0), away)
    assert rules(found) == {"impossible_travel"}
    assert found[0].payment == away
    assert "JP" in found[0].reason


def test_browsing_at_home_while_somebody_pays_abroad_is_impossible_travel() -> None:
    c = Customer()
    away = c.payment(30.0, 30.0, latitude=TOKYO[0], longitude=TOKYO[1], country="JP", device_id="stolen")
    assert rules(c.feed(PageView("v1", 10.0, "phone", "DE"), away)) == {"impossible_travel"}


def test_coming_home_is_not_the_strange_half_of_a_journey() -> None:
    c = Customer()
    away = c.payment(0.0, latitude=TOKYO[0], longitude=TOKYO[1], country="JP")
    assert c.feed(away, c.payment(30.0)) == []


def test_travel_at_the_speed_of_a_plane_is_possible() -> None:
    c = Customer()
    madrid = c.payment(4 * 3600.0, latitude=40.42, longitude=-3.70, country="ES")
    assert c.feed(c.payment(0.0), madrid) == []


def test_an_amount_far_above_the_customers_own_is_an_outlier() -> None:
    c = Customer()
    found = c.feed(c.payment(0.0, round(exp(3.4 + 3.2), 2), device_id="new"))
    assert rules(found) == {"amount_outlier"}
    assert "times what this customer usually pays" in found[0].reason


def test_a_big_purchase_within_the_customers_spread_is_not() -> None:
    c = Customer()
    assert c.feed(c.payment(0.0, round(exp(3.4 + 1.6), 2))) == []


def test_guessed_passwords_new_device_and_payment_are_a_takeover() -> None:
    c = Customer()
    guesses = [c.login(t, "login_failed", "thief", "BR") for t in (0.0, 2.0, 4.0, 6.0)]
    found = c.feed(
        *guesses, c.login(8.0, "login_succeeded", "thief", "BR"), c.payment(20.0, 60.0, device_id="thief")
    )
    assert rules(found) == {"account_takeover"}
    assert found[0].reason.startswith("4 wrong passwords")


def test_a_forgotten_password_on_the_own_phone_is_no_takeover() -> None:
    c = Customer()
    guesses = [c.login(t, "login_failed", "phone") for t in (0.0, 2.0, 4.0, 6.0)]
    assert c.feed(*guesses, c.login(8.0, "login_succeeded", "phone"), c.payment(20.0)) == []


def test_a_login_that_arrives_after_its_payment_still_counts() -> None:
    c = Customer()
    guesses = [c.login(t, "login_failed", "thief") for t in (0.0, 2.0, 4.0, 6.0)]
    paid = c.payment(20.0, 60.0, device_id="thief")
    assert c.feed(*guesses, paid) == []
    assert rules(c.feed(c.login(8.0, "login_succeeded", "thief"))) == {"account_takeover"}


def test_the_same_finding_is_not_raised_twice_within_the_cooldown() -> None:
    c = Customer()
    big = round(exp(3.4 + 3.2), 2)
    assert len(c.feed(c.payment(0.0, big, device_id="new"), c.payment(60.0, big, device_id="new"))) == 1
    assert len(c.feed(c.payment(COOLDOWN_SECONDS + 1, big, device_id="new"))) == 1


def test_a_customer_without_profile_is_judged_by_what_anybody_does() -> None:
    c = Customer(profile=None)
    assert c.feed(c.payment(0.0, 90.0)) == []
    assert rules(c.feed(*(c.payment(100 + t * 2.0, 40.0) for t in range(9)))) == {"velocity_burst"}


def test_reasons_fit_the_contract() -> None:
    c = Customer()
    away = {"latitude": TOKYO[0], "longitude": TOKYO[1], "country": "JP", "device_id": "stolen"}
    for f in c.feed(c.payment(0.0), c.payment(30.0, 9999.0, **away)):
        assert 0 < f.score < 1
        assert 20 < len(f.reason) < 1024


def case_events(seed: int) -> list[Event]:
    """Honest and fraudulent events of one customer, in event-time order."""
    rng, c = random.Random(seed), Customer()
    events: list[Event] = [
        c.payment(rng.uniform(0, 400), rng.uniform(5, 90)) for _ in range(rng.randint(0, 5))
    ]
    start = rng.uniform(0, 300)
    events += [c.login(start + i, "login_failed", "thief") for i in range(rng.randint(0, 6))]
    events.append(c.login(start + 8, "login_succeeded", "thief"))
    events += [
        c.payment(start + 10 + i * 2, rng.uniform(1, 300), device_id="thief")
        for i in range(rng.randint(0, 9))
    ]
    return sorted(events, key=lambda e: e.time)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), data=st.data())
def test_duplicates_change_nothing(seed: int, data: st.DataObject) -> None:
    events = case_events(seed)
    once = Customer().feed(*events)
    again: list[Event] = []
    for i, event in enumerate(events):
        again.append(event)
        again += data.draw(st.lists(st.sampled_from(events[: i + 1]), max_size=2))
    assert Customer().feed(*again) == once


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_logins_may_overtake_payments_and_the_same_customers_are_found(seed: int) -> None:
    """Topics are read side by side:

    a login may come some seconds after a payment that follows it in event time.
    """
    events = case_events(seed)
    disordered = sorted(events, key=lambda e: e.time + (3.0 if isinstance(e, Login) else 0.0))
    assert bool(Customer().feed(*events)) == bool(Customer().feed(*disordered))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_state_survives_being_stored_between_events(seed: int) -> None:
    whole, stored = Customer(), Customer()
    for event in case_events(seed):
        expected = whole.feed(event)
        stored.state = msgspec.msgpack.decode(msgspec.msgpack.encode(stored.state), type=CustomerState)
        assert stored.feed(event) == expected


def test_state_stays_small_whatever_happens() -> None:
    c = Customer()
    for t in range(2000):
        c.feed(
            c.payment(float(t)),
            c.login(float(t), "login_failed", "x"),
            PageView(f"v{t}", float(t), "phone", "DE"),
        )
    assert len(msgspec.msgpack.encode(c.state)) < 16_000


@pytest.mark.parametrize("old", [-1000.0, -100_000.0])
def test_an_event_older_than_the_horizon_is_judged_but_not_kept(old: float) -> None:
    c = Customer()
    c.feed(c.payment(0.0))
    found = c.feed(c.payment(old, 9000.0, device_id="new"))
    assert rules(found) == {"amount_outlier"}
    assert [p.time for p in c.state.payments] == [0.0]
