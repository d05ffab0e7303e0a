"""Traffic as a pure function: ``generate(seed, rate, seconds)`` yields messages in the order of their due
time.

Nothing is sent here and no clock is read: the same arguments give the same bytes. Another start gives other
event ids, so that two runs on one platform are not duplicates of each other.
"""

from __future__ import annotations

import heapq
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import count

import msgspec

from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.local.traffic import cases, defects
from madhatter_provider.local.traffic.faults import Fault, Faults, plan_service_faults
from madhatter_provider.local.traffic.journey import Step
from madhatter_provider.local.traffic.sensors import Sensors, sensor_faults
from madhatter_provider.local.traffic.shoppers import Shoppers
from madhatter_provider.local.traffic.world import World

STREAMS = ("clicks", "searches", "transactions", "system_logs", "iot_telemetry")
# Share of each stream in the rate.
SHARES = {"clicks": 0.4, "searches": 0.1, "transactions": 0.2, "system_logs": 0.2, "iot_telemetry": 0.1}
DEFAULT_CUSTOMERS = 4000
DEFAULT_RATE = 300.0

_BAD_SHARE, _DUPLICATE_SHARE, _LATE_SHARE = 0.008, 0.004, 0.003
_PAYMENTS_PER_CASE = 120.0
_WARM_UP_SECONDS = 90.0  # visits that are under way when the traffic begins


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message to send ``due`` seconds after the start, and what only the labels file may tell about it.

    ``case``/``fraud_kind``: set for a fraudulent payment. ``defect``: why the row violates its contract.
    ``duplicate``: same bytes as an earlier message. ``late``: its event time lies well before its due time.
    """

    due: float
    stream: str
    key: bytes
    value: bytes
    event_id: str
    case: str | None = None
    fraud_kind: str | None = None
    customer_id: str | None = None
    defect: str | None = None
    duplicate: bool = False
    late: bool = False


def generate(
    seed: int,
    rate: float = DEFAULT_RATE,
    seconds: float = 60.0,
    *,
    start: float = 1_790_000_000.0,
    customers: int = DEFAULT_CUSTOMERS,
    break_stream: str | None = None,
    break_after: float | None = None,
) -> Iterator[Outgoing]:
    """Messages of all streams in the order of ``due``.

    :param rate: messages per second over the five streams (:data:`SHARES`).
    :param start: Unix time of second 0; event times are ``start + due``.
    :param break_stream: this stream's rows violate the contract from ``break_after`` seconds on (default:
        half time).
    :raises ConfigurationError: an argument is out of range or the stream is unknown.
    """
    if rate <= 0 or seconds <= 0 or not 1 <= customers <= 999_999:
        raise ConfigurationError(
            f"Traffic needs rate > 0, seconds > 0 and 1 to 999999 customers, got {rate}, {seconds}, "
            f"{customers}",
            where="madhatter traffic",
            remedy="Correct the option.",
        )
    if break_stream is not None and break_stream not in STREAMS:
        raise ConfigurationError(
            f"Unknown stream {break_stream!r}",
            where="madhatter traffic --break",
            remedy=f"Choose one of {', '.join(STREAMS)}.",
        )
    break_at = None if break_stream is None else (seconds / 2 if break_after is None else break_after)
    return _Run(seed, rate, seconds, start, customers, break_stream, break_at).messages()


def plan_faults(
    seed: int, rate: float = DEFAULT_RATE, seconds: float = 60.0, *, break_stream: str | None = None
) -> list[Fault]:
    """The faults that :func:`generate` plants with these arguments. A stream that will break has none."""
    planned = []
    if break_stream != "iot_telemetry":
        planned += sensor_faults(seed, seconds, rate * SHARES["iot_telemetry"])
    if break_stream != "system_logs":
        planned += plan_service_faults(seed, seconds, rate)
    return planned


class _Run:
    def __init__(
        self,
        seed: int,
        rate: float,
        seconds: float,
        start: float,
        customers: int,
        break_stream: str | None,
        break_at: float | None,
    ) -> None:
        self._rng = random.Random(f"{seed}/traffic")
        self._faults = Faults(plan_faults(seed, rate, seconds, break_stream=break_stream))
        self._world = World(seed, customers, start, self._faults)
        self._rate, self._seconds, self._start = rate, seconds, start
        self._break_stream, self._break_at = break_stream, break_at
        self._heap: list[tuple[float, int, Step | Outgoing]] = []
        self._number = count()
        self._case_kind: dict[str, str] = {}
        self._shop_rate, self._browse_rate, log_share = self._calibrate()
        self._shoppers = Shoppers(self._rng, self._world, log_share)
        self._sensors = Sensors(self._rng, self._world)
        self._plan_cases(log_share)

    def messages(self) -> Iterator[Outgoing]:
        heap = self._heap
        visits, sensors = self._visits(), self._readings()
        next_visit, next_reading = next(visits), next(sensors)
        while True:
            due = heap[0][0] if heap else self._seconds
            if next_visit <= due and next_visit < self._seconds:
                next_visit = next(visits)
            elif next_reading.due <= due and next_reading.due < self._seconds:
                self._push(next_reading)
                next_reading = next(sensors)
            elif due >= self._seconds:
                return
            else:
                yield from self._message(heapq.heappop(heap)[2])

    def _message(self, item: Step | Outgoing) -> Iterator[Outgoing]:
        if isinstance(item, Outgoing):
            message = item
        elif item.due >= 0:
            message = self._outgoing(item)
            if message.defect is None and self._rng.random() < _DUPLICATE_SHARE:
                self._push(_again(message, item.due + self._rng.uniform(0.05, 2.0)))
        else:
            return
        if not self._faults.silent(message.key.decode(), message.due):
            yield message

    def _push(self, item: Step | Outgoing) -> None:
        heapq.heappush(self._heap, (item.due, next(self._number), item))

    def _outgoing(self, step: Step) -> Outgoing:
        rng, (due, stream, key, row, case) = self._rng, step
        fraud = case if stream == "transactions" else None
        late = case is None and rng.random() < _LATE_SHARE
        row["event_time"] = _timestamp(self._start + due - (rng.uniform(60, 600) if late else 0.0))
        defect = None
        if stream == self._break_stream and self._break_at is not None and due >= self._break_at:
            defect, value = defects.CONTRACT_BREAK, defects.break_contract(stream, row)
        elif case is None and not late and rng.random() < _BAD_SHARE:
            defect, value = defects.spoil(rng, stream, row)
        else:
            value = msgspec.json.encode(row)
        return Outgoing(
            due=due,
            stream=stream,
            key=key.encode(),
            value=value,
            event_id=row["event_id"],
            case=fraud,
            fraud_kind=self._case_kind[fraud] if fraud else None,
            customer_id=row.get("customer_id"),
            defect=defect,
            late=late and defect is None,
        )

    def _visits(self) -> Iterator[float]:
        """Start times of visits (Poisson); each visit's steps are pushed when its time has come."""
        rng, at, hour = self._rng, -_WARM_UP_SECONDS, None
        total = self._shop_rate + self._browse_rate
        while True:
            at += rng.expovariate(total)
            yield at
            now = int((self._start + at) // 3600)
            if now != hour:
                hour, shoppers = now, self._world.shoppers(now % 24)
            customer = shoppers.draw(rng)
            plan = self._shoppers.shop if rng.random() * total < self._shop_rate else self._shoppers.browse
            for step in plan(customer, at).steps:
                self._push(step)

    def _readings(self) -> Iterator[Step]:
        at, rate = 0.0, self._rate * SHARES["iot_telemetry"]
        while True:
            at += self._rng.expovariate(rate)
            yield self._sensors.reading(at)

    def _calibrate(self) -> tuple[float, float, float]:
        """Visits per second with and without purchase, and the share of log lines kept, that give the
        wanted rates.
        """
        rng = random.Random(f"{self._world.seed}/calibrate")
        trial = Shoppers(rng, self._world, log_share=1.0)
        population = self._world.customers
        shop = _mean_steps([trial.shop(rng.choice(population), 0.0).steps for _ in range(800)])
        browse = _mean_steps([trial.browse(rng.choice(population), 0.0).steps for _ in range(400)])
        wanted = {stream: share * self._rate for stream, share in SHARES.items()}
        fraud = wanted["transactions"] / _PAYMENTS_PER_CASE * 5.5
        shop_rate = (wanted["transactions"] - fraud) / shop["transactions"]
        browse_rate = max(0.0, wanted["clicks"] - shop_rate * shop["clicks"]) / browse["clicks"]
        logins = shop_rate * shop["logins"] + browse_rate * browse["logins"]
        requests = shop_rate * shop["system_logs"] + browse_rate * browse["system_logs"] - logins
        return shop_rate, browse_rate, min(1.0, max(0.0, wanted["system_logs"] - logins) / requests)

    def _plan_cases(self, log_share: float) -> None:
        """Fraud cases, as many of each kind, spread evenly over the run.

        None is left incomplete by its end or by a contract break.
        """
        rng = random.Random(f"{self._world.seed}/cases")
        end = self._seconds
        if self._break_stream in ("transactions", "system_logs") and self._break_at is not None:
            end = min(end, self._break_at)
        number = max(len(cases.KINDS), round(self._rate * SHARES["transactions"] * end / _PAYMENTS_PER_CASE))
        pace = min(1.0, end / (2 * cases.LONGEST_SECONDS))
        planner = cases.Cases(self._rng, self._world, log_share=log_share, pace=pace)
        victims = rng.sample(self._world.customers, min(number, len(self._world.customers)))
        for i, victim in enumerate(victims):
            case, kind = f"{cases.KINDS[i % len(cases.KINDS)]}-{i + 1:04d}", cases.KINDS[i % len(cases.KINDS)]
            steps = planner.plan(kind, case, victim, 0.0).steps
            begin = rng.uniform(0.0, max(0.0, end - max(step.due for step in steps)))
            self._case_kind[case] = kind
            for step in steps:
                self._push(step._replace(due=step.due + begin))


def _again(message: Outgoing, due: float) -> Outgoing:
    return Outgoing(
        due=due, stream=message.stream, key=message.key, value=message.value, event_id=message.event_id,
        customer_id=message.customer_id, duplicate=True,
    )  # fmt: skip


def _mean_steps(visits: list[list[Step]]) -> dict[str, float]:
    steps = [step for visit in visits for step in visit]
    sums = {stream: float(sum(step.stream == stream for step in steps)) for stream in STREAMS}
    sums["logins"] = float(
        sum(step.row.get("action", "request").startswith(("login", "password")) for step in steps)
    )
    return {name: value / len(visits) for name, value in sums.items()}


@lru_cache(maxsize=64)
def _second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def _timestamp(at: float) -> str:
    """ISO 8601 in UTC with milliseconds and Z."""
    second = int(at)
    return f"{_second(second)}.{int((at - second) * 1000):03d}Z"
