"""Fraud rules: one customer's recent behaviour, kept in a small state, judged payment by payment.

How an event is judged (:func:`observe`):

1. An event whose id was seen before is dropped (producers send again, a restarted job reads again).
2. The event is put into the state at its place in event time; the state keeps a bounded number of the newest
   events.
3. Every payment that the event can matter to is judged by the five rules: the payment itself, and payments at
   or after it in event time, so that a login that arrives late still counts.
4. A rule looks only at events at or before the payment in event time, and more evidence never lowers a score.
   So modest disorder changes when a finding is made, not whether.
5. A finding is raised if it is certain enough, and not a repetition: within :data:`COOLDOWN_SECONDS` around
   an earlier finding only another rule of a higher severity is raised again.

Times are Unix seconds, places degrees, amounts in the customer's currency.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import exp, log, sqrt
from typing import Any

import msgspec

from madhatter_provider.core.fraud.geo import distance_km
from madhatter_provider.core.fraud.severity import severity_of, severity_rank

RULE_VERSION = "1.0.0"
COOLDOWN_SECONDS = 600.0
THRESHOLD = 0.6

_HORIZON_SECONDS = 900.0
_KEEP_PAYMENTS, _KEEP_LOGINS, _KEEP_VIEWS, _KEEP_IDS, _KEEP_FINDINGS = 48, 24, 4, 128, 8
_LOGIN_ACTIONS = frozenset({"login_failed", "login_succeeded", "password_reset"})
_VIEWS_THAT_MATTER = frozenset({"cart", "checkout", "account"})


class Profile(msgspec.Struct, frozen=True):
    """What the shop knows about a customer.

    ``log_amount_*`` are estimates from ``samples`` past purchases.
    """

    customer_id: str
    country: str
    latitude: float
    longitude: float
    devices: frozenset[str]
    log_amount_mean: float
    log_amount_std: float
    samples: int
    purchases_per_day: float


class Payment(msgspec.Struct, frozen=True, array_like=True, tag="p"):
    event_id: str
    time: float
    card_id: str
    device_id: str
    order_id: str
    amount: float
    currency: str
    country: str
    latitude: float
    longitude: float
    declined: bool


class Login(msgspec.Struct, frozen=True, array_like=True, tag="l"):
    event_id: str
    time: float
    action: str
    device_id: str
    country: str


class PageView(msgspec.Struct, frozen=True, array_like=True, tag="v"):
    event_id: str
    time: float
    device_id: str
    country: str


Event = Payment | Login | PageView


class Raised(msgspec.Struct, frozen=True, array_like=True):
    """A finding that was raised: its rule, its payment's time and its severity's rank."""

    rule: str
    time: float
    rank: int


class CustomerState(msgspec.Struct, array_like=True):
    """All that is remembered of one customer. Lists are in event-time order, ``seen`` in order of arrival."""

    payments: list[Payment] = []
    logins: list[Login] = []
    views: list[PageView] = []
    raised: list[Raised] = []
    seen: list[str] = []


class Finding(msgspec.Struct, frozen=True):
    """A rule's verdict about ``payment``. ``score`` in [0, 1]; ``reason`` is for people."""

    rule: str
    score: float
    payment: Payment
    reason: str


def event_of(stream: str, row: Any) -> tuple[str, Event] | None:
    """The customer and the event that a row means to the rules; None if it means nothing to them.

    :param row: a row that fulfils its stream's contract, with columns as attributes (:mod:`core.row_reader`).
    """
    if stream == "transactions":
        event: Event = Payment(
            row.event_id,
            row.event_time.timestamp(),
            row.card_id,
            row.device_id,
            row.order_id,
            row.amount,
            row.currency,
            row.country,
            row.latitude,
            row.longitude,
            row.status == "declined",
        )
    elif stream == "system_logs" and row.customer_id and row.action in _LOGIN_ACTIONS:
        event = Login(
            row.event_id, row.event_time.timestamp(), row.action, row.device_id or "", row.country or ""
        )
    elif stream == "clicks" and row.customer_id and row.page_type in _VIEWS_THAT_MATTER:
        event = PageView(row.event_id, row.event_time.timestamp(), row.device_id, row.country)
    else:
        return None
    return row.customer_id, event


def observe(state: CustomerState, profile: Profile | None, event: Event) -> list[Finding]:
    """Take one event of the customer into ``state`` and return the findings to raise, most certain first."""
    if event.event_id in state.seen:
        return []
    state.seen.append(event.event_id)
    del state.seen[:-_KEEP_IDS]
    _remember(state, event)
    concerned = [p for p in state.payments if 0 <= p.time - event.time <= COOLDOWN_SECONDS]
    if isinstance(event, Payment) and event not in concerned:
        concerned.append(event)  # so old that the state does not keep it
    found = [f for payment in concerned for f in judge(state, profile, payment) if f.score >= THRESHOLD]
    found.sort(key=lambda f: (-f.score, f.rule, f.payment.event_id))
    return [f for f in found if _raise(state, f)]


def judge(state: CustomerState, profile: Profile | None, payment: Payment) -> list[Finding]:
    """What every rule says about one payment, whatever its score."""
    known = _Known(state, profile, payment)
    verdicts = (
        _card_testing(known),
        _velocity_burst(known),
        _impossible_travel(known),
        _amount_outlier(known),
        _account_takeover(known),
    )
    return [v for v in verdicts if v is not None]


class _Known:
    """The evidence at the time of one payment."""

    def __init__(self, state: CustomerState, profile: Profile | None, payment: Payment) -> None:
        self.profile, self.payment = profile, payment
        place = (payment.time, payment.event_id)
        self.before = [p for p in state.payments if (p.time, p.event_id) < place]
        self.logins = [x for x in state.logins if x.time <= payment.time]
        self.views = [v for v in state.views if 0 <= payment.time - v.time <= 120]
        self.new_device = profile is not None and payment.device_id not in profile.devices
        self.abroad = profile is not None and payment.country != profile.country

    def recent(self, seconds: float) -> list[Payment]:
        """This payment and those at most ``seconds`` before it, oldest first."""
        return [p for p in self.before if self.payment.time - p.time <= seconds] + [self.payment]

    def log_amount(self) -> tuple[float, float]:
        """Expected log amount and its spread, wide while there are few samples."""
        if self.profile is None:
            return 3.4, 1.1
        n, prior = self.profile.samples, 6
        variance = ((n - 1) * self.profile.log_amount_std**2 + prior * 0.6**2) / (n - 1 + prior)
        return self.profile.log_amount_mean, sqrt(max(variance, 0.09) * (1 + 1 / n))


def _card_testing(known: _Known) -> Finding | None:
    """Several tiny payments within a minute, declined or with many cards."""
    mean, spread = known.log_amount()
    small = min(max(5.0, exp(mean - 2.2 * spread)), 10.0)
    tiny = [p for p in known.recent(60) if p.amount <= small]
    # A declined payment that the customer tries again belongs to one order; a tester makes a new one each
    # time.
    orders, declined = len({p.order_id for p in tiny}), len({p.order_id for p in tiny if p.declined})
    cards = len({p.card_id for p in tiny})
    if known.payment.amount > small or orders < 4 or (declined < 2 and cards < 3):
        return None
    points = 0.2 * (orders - 3) + 0.35 * declined + 0.35 * (cards - 1) + 0.6 * known.new_device
    reason = (
        f"{orders} payments of at most {small:.2f} {known.payment.currency} within a minute, {declined} "
        f"declined, {cards} card(s), "
        f"{_device(known)}. Somebody tests stolen cards: block these cards and the device."
    )
    return Finding("card_testing", _certainty(points), known.payment, reason)


def _velocity_burst(known: _Known) -> Finding | None:
    """More orders within twenty seconds than this customer can place."""
    mean, spread = known.log_amount()
    # Small things (songs, tips) are often bought in a row: they count less.
    orders = {p.order_id: 0.4 if log(p.amount) < mean - 1.3 * spread else 1.0 for p in known.recent(20)}
    expected = known.profile.purchases_per_day * 20 / 86_400 if known.profile else 0.0
    excess = sum(orders.values()) - 4 - 2 * expected
    if excess < 1:
        return None
    points = 1.4 + 0.6 * (excess - 1) + 0.4 * known.new_device
    reason = (
        f"{len(orders)} orders within 20 s, usual are {expected:.1f}, {_device(known)}. "
        "Hold the open orders and ask the customer; if unknown, block the card."
    )
    return Finding("velocity_burst", _certainty(points), known.payment, reason)


def _impossible_travel(known: _Known) -> Finding | None:
    """A payment further away from an earlier sighting of the customer than one can fly in between."""
    payment, best = known.payment, None
    for when, lat, lon, country, what in _sightings(known):
        km = distance_km(lat, lon, payment.latitude, payment.longitude)
        speed = km / max(payment.time - when, 60.0) * 3600
        if km < 500 or speed < 1000 or _came_home(known, lat, lon):
            continue
        # The longer ago, the likelier that one customer switched a tunnel (VPN) on, and not that there are
        # two.
        points = 0.3 + min(km, 6000) / 6000 + 0.7 * (country != payment.country) + 1.2 * known.new_device
        points -= 0.7 * (payment.time - when > 60)
        reason = (
            f"{what} in {country}, then a payment in {payment.country}, {km:,.0f} km away, "
            f"{payment.time - when:.0f} s later; {_device(known)}. "
            f"Call the customer; hold the order paid in {payment.country}."
        )
        if best is None or _certainty(points) > best.score:
            best = Finding("impossible_travel", _certainty(points), payment, reason)
    return best


def _sightings(known: _Known) -> Iterable[tuple[float, float, float, str, str]]:
    """Time, place and country of where the customer was seen before: at payments, and browsing at home."""
    for p in known.recent(900)[:-1]:
        yield p.time, p.latitude, p.longitude, p.country, "A payment"
    profile = known.profile
    for v in known.views:
        if profile and v.country == profile.country and v.device_id in profile.devices:
            yield v.time, profile.latitude, profile.longitude, v.country, "Browsing"


def _came_home(known: _Known, latitude: float, longitude: float) -> bool:
    """Whether this payment is the honest one of the two: made at home, after one far away."""
    profile, payment = known.profile, known.payment
    if profile is None:
        return False
    here = distance_km(profile.latitude, profile.longitude, payment.latitude, payment.longitude)
    return here < 300 < distance_km(profile.latitude, profile.longitude, latitude, longitude)


def _amount_outlier(known: _Known) -> Finding | None:
    """An amount far above this customer's own."""
    mean, spread = known.log_amount()
    payment = known.payment
    z = (log(payment.amount) - mean) / spread
    if z < 3:
        return None
    points = 0.6 * (z - 2.3) + 0.5 * known.new_device + 0.3 * known.abroad
    reason = (
        f"{payment.amount:,.2f} {payment.currency} is {payment.amount / exp(mean):.0f} times what this "
        "customer usually pays "
        f"({exp(mean):.2f}), {_device(known)}. Hold the order until the customer confirms it."
    )
    return Finding("amount_outlier", _certainty(points), payment, reason)


def _account_takeover(known: _Known) -> Finding | None:
    """Wrong passwords, then a sign-in from an unknown device, then a payment from it."""
    payment = known.payment
    signed_in = [
        x for x in known.logins if x.action == "login_succeeded" and x.device_id == payment.device_id
    ]
    if not known.new_device or not signed_in:
        return None
    entry = signed_in[-1]
    failed = sum(x.action == "login_failed" and 0 <= entry.time - x.time <= 300 for x in known.logins)
    if failed < 3:
        return None
    # People need seconds to type a password; guessing machines do not.
    quick = sum(x.action == "login_failed" and 0 <= entry.time - x.time <= 15 for x in known.logins)
    points = 0.9 + 0.2 * (failed - 3) + 0.6 * (quick >= 4) + 0.9 * known.abroad
    reason = (
        f"{failed} wrong passwords, then a sign-in from an unknown device in "
        f"{entry.country or 'an unknown country'} and a payment "
        f"{payment.time - entry.time:.0f} s later. Lock the account, end its sessions, hold the order."
    )
    return Finding("account_takeover", _certainty(points), payment, reason)


def _device(known: _Known) -> str:
    if known.profile is None:
        return "customer without a profile"
    return "unknown device" if known.new_device else "known device"


def _certainty(points: float) -> float:
    """Evidence to score: 0 points are 0, 1.32 are 0.6, 2 are 0.75, 4 are 0.94; never 1."""
    return round(1 - 2 ** -max(points, 0.0), 4)


def _remember(state: CustomerState, event: Event) -> None:
    if isinstance(event, Payment):
        _insert(state.payments, event, _KEEP_PAYMENTS)
    elif isinstance(event, Login):
        _insert(state.logins, event, _KEEP_LOGINS)
    else:
        _insert(state.views, event, _KEEP_VIEWS)


def _insert(events: list[Any], event: Event, keep: int) -> None:
    """Put in by (time, id); forget what is beyond the horizon or the number to keep."""
    at = len(events)
    while at and (events[at - 1].time, events[at - 1].event_id) > (event.time, event.event_id):
        at -= 1
    events.insert(at, event)
    oldest = events[-1].time - _HORIZON_SECONDS
    events[:] = [e for e in events if e.time >= oldest][-keep:]


def _raise(state: CustomerState, finding: Finding) -> bool:
    """Whether a finding is news; if so it is noted."""
    rank = severity_rank(severity_of(finding.score))
    near = [r for r in state.raised if abs(r.time - finding.payment.time) < COOLDOWN_SECONDS]
    if any(r.rule == finding.rule or r.rank >= rank for r in near):
        return False
    state.raised.append(Raised(finding.rule, finding.payment.time, rank))
    del state.raised[:-_KEEP_FINDINGS]
    return True
