"""The shop's world: cities, merchants, products and customers with habits.

Everything is a pure function of the seed. Customer *i* depends on the seed and *i* only, so a larger
population begins with the same customers. Popularity and activity are drawn per entity, never derived from
the number in an id.
"""

from __future__ import annotations

import random
from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from math import exp
from typing import Generic, NamedTuple, TypeVar

from madhatter_provider.local.traffic.faults import Faults

T = TypeVar("T")

CATEGORIES = (
    "electronics",
    "fashion",
    "grocery",
    "home",
    "beauty",
    "sports",
    "toys",
    "books",
    "gift_cards",
    "travel",
)
# How much dearer (log scale) and how much more wanted a category is than the average one.
_PRICE_LEVEL = (0.55, 0.1, -0.3, 0.25, -0.15, 0.1, -0.2, -0.45, 0.0, 0.8)
_DEMAND = (1.4, 1.8, 2.4, 1.2, 1.1, 0.9, 0.7, 1.0, 0.5, 0.25)
PRICE_LEVEL = dict(zip(CATEGORIES, _PRICE_LEVEL, strict=True))

# What people type before a category. A product suits one of these styles; a customer likes a few of them.
STYLES = (
    "red", "small", "best", "cheap", "new", "organic", "wireless", "kids", "summer", "classic", "gift",
    "large",
)  # fmt: skip

MERCHANTS = 400
PRODUCTS = 2400
_FAVOURITE_STYLES = 3
# Share of looks at products of a style that was asked for, or that the customer likes.
_IN_STYLE = 0.6
MIN_AMOUNT, MAX_AMOUNT = 0.5, 20_000.0


class City(NamedTuple):
    """A place where customers live. ``hours`` is its offset from UTC; ``weight`` its share of customers."""

    name: str
    country: str
    latitude: float
    longitude: float
    hours: float
    weight: float


CITIES = (
    City("New York", "US", 40.71, -74.01, -5, 8),
    City("Los Angeles", "US", 34.05, -118.24, -8, 6),
    City("Chicago", "US", 41.88, -87.63, -6, 5),
    City("Houston", "US", 29.76, -95.37, -6, 4),
    City("Denver", "US", 39.74, -104.99, -7, 2),
    City("Miami", "US", 25.76, -80.19, -5, 3),
    City("Seattle", "US", 47.61, -122.33, -8, 2),
    City("Toronto", "CA", 43.65, -79.38, -5, 3),
    City("Vancouver", "CA", 49.28, -123.12, -8, 2),
    City("Mexico City", "MX", 19.43, -99.13, -6, 2),
    City("Sao Paulo", "BR", -23.55, -46.63, -3, 3),
    City("Buenos Aires", "AR", -34.60, -58.38, -3, 1),
    City("London", "GB", 51.51, -0.13, 0, 7),
    City("Manchester", "GB", 53.48, -2.24, 0, 3),
    City("Edinburgh", "GB", 55.95, -3.19, 0, 1),
    City("Dublin", "IE", 53.35, -6.26, 0, 1),
    City("Paris", "FR", 48.86, 2.35, 1, 5),
    City("Lyon", "FR", 45.76, 4.84, 1, 2),
    City("Berlin", "DE", 52.52, 13.40, 1, 4),
    City("Munich", "DE", 48.14, 11.58, 1, 3),
    City("Hamburg", "DE", 53.55, 9.99, 1, 2),
    City("Amsterdam", "NL", 52.37, 4.90, 1, 3),
    City("Madrid", "ES", 40.42, -3.70, 1, 3),
    City("Barcelona", "ES", 41.39, 2.17, 1, 2),
    City("Lisbon", "PT", 38.72, -9.14, 0, 1),
    City("Rome", "IT", 41.90, 12.50, 1, 3),
    City("Milan", "IT", 45.46, 9.19, 1, 2),
    City("Vienna", "AT", 48.21, 16.37, 1, 1),
    City("Warsaw", "PL", 52.23, 21.01, 1, 2),
    City("Stockholm", "SE", 59.33, 18.07, 1, 1),
    City("Athens", "GR", 37.98, 23.73, 2, 1),
    City("Istanbul", "TR", 41.01, 28.98, 3, 2),
    City("Dubai", "AE", 25.20, 55.27, 4, 1),
    City("Mumbai", "IN", 19.08, 72.88, 5.5, 3),
    City("Singapore", "SG", 1.35, 103.82, 8, 2),
    City("Hong Kong", "HK", 22.32, 114.17, 8, 1),
    City("Tokyo", "JP", 35.68, 139.69, 9, 4),
    City("Sydney", "AU", -33.87, 151.21, 10, 3),
    City("Johannesburg", "ZA", -26.20, 28.05, 2, 1),
    City("Lagos", "NG", 6.52, 3.38, 1, 1),
)
_EURO = frozenset({"IE", "FR", "DE", "NL", "ES", "PT", "IT", "AT", "GR"})


class Merchant(NamedTuple):
    merchant_id: str
    category: str


@dataclass(frozen=True, slots=True)
class Customer:
    """One customer and the true parameters of their habits (which no event and no profile shows).

    ``mu``/``sigma``: log-normal amount. ``activity``: purchases relative to the average customer. ``away``:
    the city where a travelling customer is during the whole run. ``relative``: where a family member shops
    with the same account. ``styles``: as many as there are; a favourite one stands there several times.
    """

    customer_id: str
    city: City
    latitude: float
    longitude: float
    currency: str
    mu: float
    sigma: float
    activity: float
    devices: tuple[str, ...]
    cards: tuple[str, ...]
    categories: tuple[str, ...]
    merchants: tuple[Merchant, ...]
    away: City | None
    relative: City | None
    styles: tuple[str, ...]


class Weighted(Generic[T]):
    """Draw from a sequence with fixed weights; one random number a draw."""

    def __init__(self, items: Sequence[T], weights: Sequence[float]) -> None:
        self._items, self._sums = items, list(accumulate(weights))

    def draw(self, rng: random.Random) -> T:
        """One item."""
        return self._items[min(bisect(self._sums, rng.random() * self._sums[-1]), len(self._items) - 1)]


_ANY_CATEGORY = Weighted(CATEGORIES, _DEMAND)
_ANY_CITY = Weighted(CITIES, [city.weight for city in CITIES])


def token(rng: random.Random, characters: int = 32) -> str:
    """A random lower-case hexadecimal token."""
    return f"{rng.getrandbits(characters * 4):0{characters}x}"


def draw_amount(rng: random.Random, customer: Customer, category: str, shift: float = 0.0) -> float:
    """An amount in the customer's currency. ``shift`` moves it in units of log amount."""
    amount = exp(rng.gauss(customer.mu + PRICE_LEVEL[category] + shift, customer.sigma))
    return round(min(max(amount, MIN_AMOUNT), MAX_AMOUNT), 2)


class World:
    """Everything that exists before the first event.

    :param seed: same seed, same world.
    :param customers: size of the population, 1 to 999,999.
    :param run: another run has other event ids, but the same events otherwise.
    :param faults: what goes wrong in services and sensors.
    """

    def __init__(self, seed: int, customers: int, run: float = 0.0, faults: Faults | None = None) -> None:
        self.seed, self.faults = seed, faults or Faults()
        self._mask = random.Random(f"{seed}/run/{run}").getrandbits(128)
        rng = random.Random(f"{seed}/shop")
        self.merchants = tuple(Merchant(f"M{i + 1:04d}", _ANY_CATEGORY.draw(rng)) for i in range(MERCHANTS))
        self._popular = Weighted(self.merchants, [rng.paretovariate(1.1) for _ in self.merchants])
        self._merchants_of = {
            c: [m for m in self.merchants if m.category == c] or [self.merchants[0]] for c in CATEGORIES
        }
        self._products_of: dict[str, list[str]] = {c: [] for c in CATEGORIES}
        for i in range(PRODUCTS):
            self._products_of[CATEGORIES[i] if i < len(CATEGORIES) else _ANY_CATEGORY.draw(rng)].append(
                f"P{i + 1:05d}"
            )
        for products in self._products_of.values():
            rng.shuffle(products)
        self._styled = {
            (category, style): products[i :: len(STYLES)] or products
            for category, products in self._products_of.items()
            for i, style in enumerate(STYLES)
        }
        self.customers = tuple(self._customer(i) for i in range(customers))

    @cached_property
    def mean_activity(self) -> float:
        """Mean of the customers' activity, to turn it into a rate."""
        return sum(c.activity for c in self.customers) / len(self.customers)

    def new_id(self, rng: random.Random) -> str:
        """A version-4 UUID without dashes."""
        bits = (rng.getrandbits(128) ^ self._mask) & ~(0xF << 76) & ~(0x3 << 62) | (0x4 << 76) | (0x2 << 62)
        return f"{bits:032x}"

    def merchant(self, rng: random.Random, category: str) -> Merchant:
        """A merchant of a category."""
        return rng.choice(self._merchants_of[category])

    def product(self, chance: float, category: str, styles: Sequence[str]) -> str:
        """The product of a category that somebody looks at.

        The first ones of a (shuffled) list are the popular ones.

        :param chance: drawn evenly from [0, 1); it decides everything.
        :param styles: what was asked for, or what the customer likes.
        """
        if chance < _IN_STYLE:
            place, chance = divmod(chance / _IN_STYLE * len(styles), 1.0)
            products = self._styled[category, styles[int(place)]]
        else:
            products, chance = self._products_of[category], (chance - _IN_STYLE) / (1 - _IN_STYLE)
        return products[int(len(products) * chance**2)]

    def shoppers(self, utc_hour: float) -> Weighted[Customer]:
        """Customers weighted by activity and by the time of day where they are."""
        return Weighted(
            self.customers, [c.activity * _awake((c.away or c.city).hours + utc_hour) for c in self.customers]
        )

    def _customer(self, index: int) -> Customer:
        rng = random.Random(f"{self.seed}/customer/{index}")
        city = _ANY_CITY.draw(rng)
        categories = tuple(dict.fromkeys(_ANY_CATEGORY.draw(rng) for _ in range(4)))
        favourites = [self.merchant(rng, rng.choice(categories)) for _ in range(4)]
        favourites += [self._popular.draw(rng) for _ in range(2)]
        country = city.country
        return Customer(
            customer_id=f"C{index + 1:06d}",
            city=city,
            latitude=city.latitude + rng.gauss(0, 0.08),
            longitude=city.longitude + rng.gauss(0, 0.1),
            currency="GBP" if country == "GB" else "EUR" if country in _EURO else "USD",
            mu=rng.gauss(3.4, 0.5),
            sigma=rng.uniform(0.35, 0.65),
            activity=min(rng.paretovariate(1.6), 6.0),
            devices=tuple(token(rng) for _ in range(rng.choice((1, 1, 2, 2, 3)))),
            cards=tuple(token(rng, 24) for _ in range(rng.choice((1, 1, 1, 2, 2, 3)))),
            categories=categories,
            merchants=tuple(favourites),
            away=_ANY_CITY.draw(rng) if rng.random() < 0.015 else None,
            relative=_neighbour(rng, city) if rng.random() < 0.01 else None,
            styles=_styles(rng),
        )


def _styles(rng: random.Random) -> tuple[str, ...]:
    """A few favourites, three times each, and some others."""
    mixed = rng.sample(STYLES, len(STYLES))
    others = len(STYLES) - 3 * _FAVOURITE_STYLES
    return (*mixed[:_FAVOURITE_STYLES] * 3, *mixed[-others:])


def _neighbour(rng: random.Random, city: City) -> City | None:
    """Another city of the same country, if there is one."""
    others = [c for c in CITIES if c.country == city.country and c is not city]
    return rng.choice(others) if others else None


def _awake(local_hour: float) -> float:
    """Demand by local hour, 0.15 at night to 1 in the evening."""
    return _DAY[int(local_hour) % 24]


_DAY = (
    0.25, 0.18, 0.15, 0.15, 0.15, 0.2, 0.3, 0.45, 0.6, 0.7, 0.75, 0.8,
    0.85, 0.8, 0.75, 0.75, 0.8, 0.85, 0.9, 1.0, 1.0, 0.9, 0.7, 0.45,
)  # fmt: skip
