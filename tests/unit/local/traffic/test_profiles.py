"""Profiles: for everybody alike, honest estimates, readable by the rules."""

from __future__ import annotations

from math import sqrt
from statistics import fmean

import msgspec

from madhatter_provider.core.fraud.rules import Profile
from madhatter_provider.local.traffic import generate
from madhatter_provider.local.traffic.profiles import profiles
from madhatter_provider.local.traffic.world import World


def test_every_customer_has_one_and_the_rules_can_read_it() -> None:
    rows = [msgspec.convert(row, Profile) for row in profiles(5, customers=300)]
    assert [p.customer_id for p in rows] == [c.customer_id for c in World(5, 300).customers]


def test_estimates_are_near_the_truth_but_not_the_truth() -> None:
    customers = World(5, 800).customers
    errors = []
    for customer, row in zip(customers, profiles(5, customers=800), strict=True):
        assert row["log_amount_mean"] != customer.mu
        errors.append((row["log_amount_mean"] - customer.mu) / (row["log_amount_std"] / sqrt(row["samples"])))
    # Favourite categories shift a customer's prices, so the estimates scatter more than the samples alone
    # would make them.
    assert abs(fmean(errors)) < 1.5
    assert fmean(abs(e) for e in errors) > 0.8


def test_purchases_per_day_add_up_to_the_rate() -> None:
    rows = list(profiles(5, rate=300, customers=1000))
    assert sum(row["purchases_per_day"] for row in rows) / 86_400 < 60 * 1.1
    assert sum(row["purchases_per_day"] for row in rows) / 86_400 > 60 * 0.9


def test_profiles_do_not_know_the_victims() -> None:
    """Victims of fraud are not special in their profiles:

    same mean number of samples, devices and activity.
    """
    victims = {m.customer_id for seed in (5,) for m in generate(seed, 300, 200) if m.case}
    rows = list(profiles(5))
    for name in ("samples", "purchases_per_day", "log_amount_mean"):
        inside = [row[name] for row in rows if row["customer_id"] in victims]
        outside = [row[name] for row in rows if row["customer_id"] not in victims]
        assert abs(fmean(inside) / fmean(outside) - 1) < 0.2, name
