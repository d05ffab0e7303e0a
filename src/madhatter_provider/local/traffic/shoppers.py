"""Honest visits. They contain everything that fraud shows on the surface, more rarely: new devices, travel,
wrong passwords,
big purchases, gift cards, bursts of small purchases and declined payments."""

from __future__ import annotations

import random

from madhatter_provider.local.traffic.journey import Journey, visitor
from madhatter_provider.local.traffic.world import (
    CATEGORIES,
    CITIES,
    Customer,
    Merchant,
    World,
    token,
)


class Shoppers:
    """Plans honest visits.

    :param log_share: share of requests whose log line is kept, 0 to 1.
    """

    def __init__(self, rng: random.Random, world: World, log_share: float) -> None:
        self._rng, self._world, self.log_share = rng, world, log_share

    def shop(self, customer: Customer, at: float) -> Journey:
        """A visit with at least one purchase."""
        rng, visit = self._rng, self._arrive(customer, at)
        kind = rng.random()
        if kind < 0.3:
            visit.view("checkout")
            visit.buy(rng.choice(customer.merchants))
        elif kind < 0.965:
            self._walk(visit, rng.choice((0, 0, 1, 1, 2)))
            self._checkout(visit)
        elif kind < 0.985:
            self._small_things(visit)
        elif kind < 0.992:
            self._spree(visit)
        else:
            self._big_ticket(visit)
        return visit

    def browse(self, customer: Customer, at: float) -> Journey:
        """A visit without a purchase."""
        visit = self._arrive(customer, at)
        self._walk(visit, self._rng.choice((1, 2, 2, 3)))
        if self._rng.random() < 0.2:
            self._cart(visit)
        elif self._rng.random() < 0.1:
            visit.view("account")
        return visit

    def _arrive(self, customer: Customer, at: float) -> Journey:
        rng = self._rng
        device = token(rng) if rng.random() < 0.015 else None
        # A relative elsewhere in the country, or a VPN that ends somewhere in the world.
        city = customer.relative if customer.relative and rng.random() < 0.4 else None
        if rng.random() < 0.0006:
            city = rng.choice(CITIES)
        visit = Journey(
            rng, self._world, visitor(rng, customer, device=device, city=city), at, log_share=self.log_share
        )
        if device or not visit.who.signed_in or rng.random() < 0.12:
            self._sign_in(visit, unusual=bool(device))
        return visit

    def _sign_in(self, visit: Journey, *, unusual: bool) -> None:
        chance = self._rng.random()
        if chance < 0.008:  # the password is really forgotten
            visit.sign_in(self._rng.randint(3, 5), reset=self._rng.random() < 0.7)
        elif chance < (0.2 if unusual else 0.07):
            visit.sign_in(self._rng.choice((1, 1, 2)))
        elif chance < 0.7 or unusual:
            visit.sign_in()

    def _walk(self, visit: Journey, pages: int) -> None:
        rng, customer = self._rng, visit.who.customer
        if pages and rng.random() < 0.4:
            visit.view("home")
        for _ in range(pages):
            category = rng.choice(customer.categories) if rng.random() < 0.8 else rng.choice(CATEGORIES)
            clicked = None
            if rng.random() < 0.62:
                clicked = visit.search(category)
            elif rng.random() < 0.4:
                visit.view("category")
            liked = self._world.product(rng.random(), category, customer.styles)
            visit.view("product", clicked or liked)

    def _cart(self, visit: Journey) -> None:
        """Look at the cart: what was seen last lies in it, or what was put there on an earlier visit."""
        rng, customer = self._rng, visit.who.customer
        category, chance = rng.choice(customer.categories), rng.random()
        visit.view("cart", visit.seen or self._world.product(chance, category, customer.styles))

    def _merchant(self, customer: Customer) -> Merchant:
        if self._rng.random() < 0.65:
            return self._rng.choice(customer.merchants)
        return self._world.merchant(self._rng, self._rng.choice(customer.categories))

    def _checkout(self, visit: Journey) -> None:
        """Cart, checkout, one order; a cart with goods of several merchants is one order with several
        payments.
        """
        rng, customer = self._rng, visit.who.customer
        if rng.random() < 0.5:
            self._cart(visit)
        visit.view("checkout")
        visit.wait(2.0)
        order = visit.buy(self._merchant(customer))
        while rng.random() < 0.25:
            merchant = self._merchant(customer)
            amount = round(max(0.5, rng.lognormvariate(customer.mu - 0.2, customer.sigma)), 2)
            visit.wait(0.2)
            visit.pay(
                merchant,
                amount,
                order_id=order,
                card=rng.choice(customer.cards),
                declined=rng.random() < 0.03,
            )

    def _small_things(self, visit: Journey) -> None:
        """Songs, coins, tips: three to six small payments in a row with one card."""
        rng, customer = self._rng, visit.who.customer
        card, merchant = (
            rng.choice(customer.cards),
            self._world.merchant(rng, rng.choice(("books", "toys", "gift_cards"))),
        )
        for _ in range(rng.randint(3, 6)):
            visit.wait(5.0)
            amount = round(max(0.5, rng.lognormvariate(1.2, 0.6)), 2)
            visit.pay(
                merchant, amount, order_id=self._world.new_id(rng), card=card, declined=rng.random() < 0.05
            )

    def _spree(self, visit: Journey) -> None:
        """A gift spree: three to five ordinary orders within a minute."""
        for _ in range(self._rng.randint(3, 5)):
            visit.view("checkout", pause=7.0)
            visit.buy(self._merchant(visit.who.customer))

    def _big_ticket(self, visit: Journey) -> None:
        """A rare big purchase, after some looking around."""
        rng = self._rng
        self._walk(visit, 2)
        visit.view("checkout")
        merchant = self._world.merchant(rng, rng.choice(("electronics", "travel", "home")))
        visit.buy(merchant, shift=rng.uniform(0.5, 1.2), decline=0.08)
