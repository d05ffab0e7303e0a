"""The customer master data that a shop really has: what was registered and what past purchases suggest.

Every customer gets one, estimated in the same way from a sample of past purchases: the estimates are as noisy
as the number of samples makes them, and say nothing about the future.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from math import log
from statistics import fmean, stdev
from typing import Any

from madhatter_provider.local.traffic.generate import DEFAULT_CUSTOMERS, DEFAULT_RATE, SHARES
from madhatter_provider.local.traffic.world import Customer, World, draw_amount


def profiles(
    seed: int, *, rate: float = DEFAULT_RATE, customers: int = DEFAULT_CUSTOMERS
) -> Iterator[dict[str, Any]]:
    """One profile per customer of the world of ``seed``, in the order of customer_id."""
    world = World(seed, customers)
    per_day = rate * SHARES["transactions"] * 86_400 / customers / world.mean_activity
    for customer in world.customers:
        yield _profile(random.Random(f"{seed}/profile/{customer.customer_id}"), customer, per_day)


def _profile(rng: random.Random, customer: Customer, per_day: float) -> dict[str, Any]:
    samples = rng.randint(8, 60)
    amounts = [log(draw_amount(rng, customer, rng.choice(customer.categories))) for _ in range(samples)]
    return {
        "customer_id": customer.customer_id,
        "country": customer.city.country,
        "city": customer.city.name,
        "latitude": round(customer.city.latitude, 2),
        "longitude": round(customer.city.longitude, 2),
        # A device that is rarely used may not have been seen yet.
        "devices": [d for i, d in enumerate(customer.devices) if i == 0 or rng.random() < 0.95],
        "log_amount_mean": round(fmean(amounts), 3),
        "log_amount_std": round(stdev(amounts), 3),
        "samples": samples,
        "purchases_per_day": round(customer.activity * per_day * rng.gammavariate(samples, 1 / samples), 1),
    }
