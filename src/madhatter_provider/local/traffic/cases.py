"""Fraud cases of five kinds, built from the same steps as honest visits."""

from __future__ import annotations

import random
from collections.abc import Callable

from madhatter_provider.core.fraud.geo import distance_km
from madhatter_provider.local.traffic.journey import Journey, visitor
from madhatter_provider.local.traffic.world import (
    CATEGORIES,
    CITIES,
    City,
    Customer,
    Merchant,
    World,
    token,
)

KINDS = ("card_testing", "velocity_burst", "impossible_travel", "amount_outlier", "account_takeover")
# Longest time a case takes, in seconds, before it is fitted into a shorter run.
LONGEST_SECONDS = 30.0


class Cases:
    """Plans fraud cases.

    :param pace: factor on every pause, so that a case fits into a short run.
    """

    def __init__(self, rng: random.Random, world: World, *, log_share: float, pace: float = 1.0) -> None:
        self._rng, self._world, self._log_share, self._pace = rng, world, log_share, pace

    def plan(self, kind: str, case: str, customer: Customer, at: float) -> Journey:
        """The steps of one case. Only the fraudulent payments carry the case's id."""
        plans: dict[str, Callable[[str, Customer, float], Journey]] = {
            "card_testing": self._card_testing,
            "velocity_burst": self._velocity_burst,
            "impossible_travel": self._impossible_travel,
            "amount_outlier": self._amount_outlier,
            "account_takeover": self._account_takeover,
        }
        return plans[kind](case, customer, at)

    def _card_testing(self, case: str, customer: Customer, at: float) -> Journey:
        """Many tiny payments, most of them declined, with one card or a batch of stolen ones."""
        rng = self._rng
        visit = self._arrive(case, customer, at, new_device=0.8)
        visit.who.signed_in = True
        visit.view("checkout", pause=self._pace)
        batch = rng.random() < 0.6
        cards = [token(rng, 24) for _ in range(rng.randint(3, 6))] if batch else [rng.choice(customer.cards)]
        for i in range(rng.randint(6, 11)):
            visit.wait(1.6 * self._pace, 0.4)
            merchant = self._world.merchant(rng, rng.choice(("gift_cards", "books", "electronics", "toys")))
            amount = round(max(0.5, rng.lognormvariate(0.8, 0.6)), 2)
            visit.pay(
                merchant,
                amount,
                order_id=self._world.new_id(rng),
                card=cards[i % len(cards)],
                declined=rng.random() < 0.6,
                method="card",
            )
        return visit

    def _velocity_burst(self, case: str, customer: Customer, at: float) -> Journey:
        """A bot empties a stored card: one ordinary order after the other, faster than a person shops."""
        rng = self._rng
        visit = self._arrive(case, customer, at, new_device=0.5)
        visit.who.signed_in = True
        card = rng.choice(customer.cards)
        for _ in range(rng.randint(7, 12)):
            if rng.random() < 0.4:
                visit.view("checkout", pause=0.5 * self._pace)
            visit.wait(1.7 * self._pace, 0.4)
            visit.buy(self._anywhere(), shift=rng.uniform(-0.2, 0.5), decline=0.1, card=card, patience=0.0)
        return visit

    def _impossible_travel(self, case: str, customer: Customer, at: float) -> Journey:
        """The customer shops where they are; shortly after, somebody pays with the same account a flight
        away.
        """
        rng = self._rng
        honest = self._arrive(None, customer, at, new_device=0.0)
        honest.view("checkout", pause=self._pace)
        honest.buy(rng.choice(customer.merchants))
        visit = self._arrive(
            case,
            customer,
            honest.at + rng.uniform(5, 14) * self._pace,
            new_device=0.7,
            city=self._far(customer),
        )
        for _ in range(rng.randint(1, 3)):
            visit.view("checkout", pause=1.5 * self._pace)
            visit.buy(self._anywhere(), shift=rng.uniform(0.0, 0.8))
        visit.steps = honest.steps + visit.steps
        return visit

    def _amount_outlier(self, case: str, customer: Customer, at: float) -> Journey:
        """One or two purchases far above what this customer ever spends."""
        rng = self._rng
        visit = self._arrive(case, customer, at, new_device=0.5)
        for _ in range(rng.randint(1, 2)):
            visit.view("checkout", pause=2.0 * self._pace)
            visit.buy(
                self._anywhere(risky=0.6), shift=rng.uniform(2.3, 3.4) + 0.6 * customer.sigma, decline=0.12
            )
        return visit

    def _account_takeover(self, case: str, customer: Customer, at: float) -> Journey:
        """Guessed passwords, then a sign-in from a device never seen before, then dear things."""
        rng = self._rng
        visit = self._arrive(
            case, customer, at, new_device=1.0, city=self._far(customer) if rng.random() < 0.65 else None
        )
        visit.sign_in(rng.randint(4, 8), reset=rng.random() < 0.2, pause=0.9 * self._pace)
        if rng.random() < 0.5:
            visit.view("account", pause=1.5 * self._pace)
        for _ in range(rng.randint(1, 3)):
            visit.view("checkout", pause=2.0 * self._pace)
            visit.buy(self._anywhere(risky=0.5), shift=customer.sigma * rng.uniform(0.3, 2.0), decline=0.1)
        return visit

    def _arrive(
        self, case: str | None, customer: Customer, at: float, *, new_device: float, city: City | None = None
    ) -> Journey:
        rng = self._rng
        device = token(rng) if rng.random() < new_device else None
        return Journey(
            rng,
            self._world,
            visitor(rng, customer, device=device, city=city),
            at,
            log_share=self._log_share,
            case=case,
        )

    def _anywhere(self, risky: float = 0.25) -> Merchant:
        """A merchant that need not suit the customer's taste; thieves like what sells again."""
        rng = self._rng
        category = (
            rng.choice(("electronics", "gift_cards", "travel"))
            if rng.random() < risky
            else rng.choice(CATEGORIES)
        )
        return self._world.merchant(rng, category)

    def _far(self, customer: Customer) -> City:
        """A city that cannot be reached within the case."""
        here = customer.away or customer.city
        return self._rng.choice(
            [c for c in CITIES if distance_km(here.latitude, here.longitude, c.latitude, c.longitude) > 1500]
        )
