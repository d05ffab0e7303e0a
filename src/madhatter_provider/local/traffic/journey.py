"""One visit to the shop as a list of timed rows in several streams: the steps that honest and fraudulent
visits share.

Honest shoppers and fraudsters walk through the same code, so a row's form (ids, order of keys, rounding,
messages) cannot depend on who caused it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from math import exp
from typing import Any, NamedTuple

from madhatter_provider.local.traffic.world import City, Customer, Merchant, World, draw_amount, token

Row = dict[str, Any]


class Step(NamedTuple):
    """A row and the second, counted from the start of the traffic, at which it happens.

    ``case``: the fraud case, if any.
    """

    due: float
    stream: str
    key: str
    row: Row
    case: str | None


@dataclass(slots=True)
class Visitor:
    """Who is at the keyboard, with which device, where."""

    customer: Customer
    session_id: str
    device_id: str
    channel: str
    country: str
    latitude: float
    longitude: float
    referrer: str
    signed_in: bool


# Service that answers for a page, its usual answer time (log ms).
_SERVICE = {
    "home": "catalog",
    "category": "catalog",
    "product": "catalog",
    "cart": "cart",
    "checkout": "checkout",
    "account": "auth",
}
_ANSWER = {
    "catalog": 3.6,
    "cart": 3.4,
    "checkout": 4.2,
    "auth": 4.6,
    "search": 4.0,
    "payments": 5.6,
    "shipping": 4.4,
}
# Share of the requests that fail, and of those that time out.
_ERRORS, _TIMEOUTS = 0.016, 0.625
_METHODS = ("card", "card", "card", "card", "wallet", "wallet", "gift_card", "bank_transfer")
_REFERRERS = ("direct", "direct", "search", "search", "email", "social", "ads")


def visitor(
    rng: random.Random, customer: Customer, *, device: str | None = None, city: City | None = None
) -> Visitor:
    """A visitor at the customer's place or in ``city``, with a device of the customer's or ``device``."""
    place = city or customer.away
    base = (place.latitude, place.longitude) if place else (customer.latitude, customer.longitude)
    # Where an address is thought to be: a few kilometres off, now and then far off.
    blur = 1.5 if rng.random() < 0.01 else 0.05
    return Visitor(
        customer=customer,
        session_id=token(rng),
        device_id=device or customer.devices[int(len(customer.devices) * rng.random() ** 2)],
        channel="app" if rng.random() < 0.55 else "web",
        country=(place or customer.city).country,
        latitude=round(base[0] + rng.gauss(0, blur), 4),
        longitude=round(base[1] + rng.gauss(0, blur), 4),
        referrer=rng.choice(_REFERRERS),
        signed_in=rng.random() < 0.75,
    )


class Journey:
    """Collects the steps of one visit; ``at`` is its clock in seconds, ``seen`` the last product shown."""

    def __init__(
        self,
        rng: random.Random,
        world: World,
        who: Visitor,
        at: float,
        *,
        log_share: float,
        case: str | None = None,
    ) -> None:
        self.rng, self.world, self.who, self.at = rng, world, who, at
        self.case, self._log_share = case, log_share
        self.seen: str | None = None
        self.steps: list[Step] = []

    def wait(self, median: float, spread: float = 0.6) -> None:
        """Let time pass: log-normal around ``median`` seconds."""
        self.at += median * exp(self.rng.gauss(0, spread))

    def view(self, page: str, product: str | None = None, *, pause: float = 4.0) -> None:
        """Look at a page after ``pause`` seconds (median) on the one before."""
        before = self.at
        self.wait(pause)
        who, self.seen = self.who, product or self.seen
        self._add(
            "clicks",
            who.session_id,
            {
                "event_id": self.world.new_id(self.rng),
                "event_time": "",
                "session_id": who.session_id,
                "customer_id": self._signed(),
                "device_id": who.device_id,
                "page_type": page,
                "product_id": product,
                "referrer": who.referrer,
                "country": who.country,
                "dwell_ms": int((self.at - before) * 1000),
            },
        )
        self._request(_SERVICE[page], f"GET /{page}")

    def search(self, category: str) -> str | None:
        """Type a query; half of the time a result is clicked: the product."""
        self.wait(3.0)
        who, rng = self.who, self.rng
        results = int(exp(rng.gauss(4.0, 1.2))) if rng.random() > 0.06 else 0
        chance = rng.random() if results and rng.random() < 0.5 else None
        event_id, style = self.world.new_id(rng), rng.choice(who.customer.styles)
        clicked = None if chance is None else self.world.product(chance, category, (style,))
        self._add(
            "searches",
            who.session_id,
            {
                "event_id": event_id,
                "event_time": "",
                "session_id": who.session_id,
                "customer_id": self._signed(),
                "device_id": who.device_id,
                "query": f"{style} {category.replace('_', ' ')}",
                "results": min(results, 50_000),
                "clicked_product_id": clicked,
                "country": who.country,
                "latency_ms": self._milliseconds("search"),
            },
        )
        self._request("search", "GET /search")
        return clicked

    def sign_in(self, failures: int = 0, *, reset: bool = False, pause: float = 4.0) -> None:
        """Sign in after ``failures`` wrong passwords, if ``reset`` with a new one set in between."""
        for _ in range(failures):
            self.wait(pause)
            self._login("login_failed", "WARN", 401, "Sign-in refused: wrong password")
        if reset:
            self.wait(pause)
            self._login("password_reset", "INFO", 200, "Password was reset by e-mail link")
        self.wait(pause)
        self._login("login_succeeded", "INFO", 200, "Signed in")
        self.who.signed_in = True

    def pay(
        self,
        merchant: Merchant,
        amount: float,
        *,
        order_id: str,
        card: str,
        declined: bool,
        items: int = 1,
        method: str = "",
    ) -> None:
        """Ask for one payment now."""
        who, rng = self.who, self.rng
        self._add(
            "transactions",
            who.customer.customer_id,
            {
                "event_id": self.world.new_id(rng),
                "event_time": "",
                "order_id": order_id,
                "customer_id": who.customer.customer_id,
                "session_id": who.session_id,
                "device_id": who.device_id,
                "card_id": card,
                "merchant_id": merchant.merchant_id,
                "merchant_category": merchant.category,
                "amount": amount,
                "currency": who.customer.currency,
                "payment_method": method or rng.choice(_METHODS),
                "status": "declined" if declined else "authorized",
                "channel": who.channel,
                "items": items,
                "country": who.country,
                "latitude": round(who.latitude + rng.gauss(0, 0.004), 4),
                "longitude": round(who.longitude + rng.gauss(0, 0.004), 4),
            },
        )
        self._request("payments", "POST /payments", 402 if declined else 200)
        if not declined:
            self._request("shipping", "POST /shipments")

    def buy(
        self,
        merchant: Merchant,
        *,
        shift: float = 0.0,
        decline: float = 0.04,
        card: str = "",
        patience: float = 0.6,
    ) -> str:
        """One order of one payment; a declined one is tried again with probability ``patience``. ``shift`` is
        in units of log amount.

        :return: the order id.
        """
        rng, customer = self.rng, self.who.customer
        order, card = self.world.new_id(rng), card or rng.choice(customer.cards)
        amount = draw_amount(rng, customer, merchant.category, shift)
        declined = rng.random() < decline
        items = 1 + int(rng.expovariate(0.7))
        self.pay(merchant, amount, order_id=order, card=card, declined=declined, items=items)
        while declined and rng.random() < patience:
            self.wait(6.0)
            declined = rng.random() < 0.35
            self.pay(
                merchant,
                amount,
                order_id=order,
                card=rng.choice(customer.cards),
                declined=declined,
                items=items,
            )
        return order

    def _signed(self) -> str | None:
        return self.who.customer.customer_id if self.who.signed_in else None

    def _login(self, action: str, level: str, status: int, message: str) -> None:
        self._log("auth", level, action, status, message, self.who.customer.customer_id)

    def _request(self, service: str, line: str, status: int = 200) -> None:
        """The log line behind a request, if it is one of those that are kept."""
        rng = self.rng
        if rng.random() >= self._log_share:
            return
        chance, errors = rng.random(), self.world.faults.error_chance(service, self.at, _ERRORS)
        if status == 200 and chance < errors * _TIMEOUTS:
            self._log(service, "ERROR", "timeout", 504, f"{line} timed out upstream", self._signed())
        elif status == 200 and chance < errors:
            self._log(
                service, "ERROR", "exception", 500, f"{line} failed: connection reset by peer", self._signed()
            )
        else:
            level = "DEBUG" if chance > 0.9 else "INFO"
            self._log(service, level, "request", status, f"{line} answered {status}", self._signed())

    def _log(
        self, service: str, level: str, action: str, status: int, message: str, customer_id: str | None
    ) -> None:
        self._add(
            "system_logs",
            service,
            {
                "event_id": self.world.new_id(self.rng),
                "event_time": "",
                "service": service,
                "host": f"{service}-{self.rng.randrange(4)}",
                "level": level,
                "action": action,
                "status_code": status,
                "duration_ms": self._milliseconds(service),
                "customer_id": customer_id,
                "device_id": self.who.device_id,
                "country": self.who.country,
                "message": message,
            },
        )

    def _milliseconds(self, service: str) -> int:
        usual = exp(self.rng.gauss(_ANSWER[service], 0.5))
        return min(60_000, int(usual * self.world.faults.slowness(service, self.at)))

    def _add(self, stream: str, key: str, row: Row) -> None:
        self.steps.append(Step(self.at, stream, key, row, self.case))
