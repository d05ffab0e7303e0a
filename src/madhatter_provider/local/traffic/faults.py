"""Faults that are planted in services and sensors: known from the labels alone, never from an event.

A plan is a function of the seed; it draws no random number of the traffic, so the traffic is the same with
and without faults but for what a fault changes. How long a fault lasts follows from how often a sensor
reports: a run that is too short for anybody to see a kind of fault has none of it.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SENSOR_FAULTS = ("sensor_excursion", "sensor_stuck", "sensor_drift", "sensor_silent")
SERVICE_FAULTS = ("service_errors", "service_latency", "service_silent")

# Readings that a fault spoils: at least, and if there is time. What was there before it: a sensor that never
# reported is not missed.
_READINGS = {
    "sensor_excursion": (4.0, 8.0, 0.5),
    "sensor_stuck": (5.2, 14.0, 0.0),
    "sensor_drift": (5.2, 20.0, 0.0),
    "sensor_silent": (3.9, 10.0, 2.2),
}
_TYPES = {
    "sensor_excursion": ("temperature",),
    "sensor_stuck": ("temperature", "humidity", "vibration", "fuel"),
    "sensor_drift": ("temperature", "humidity", "vibration"),
    "sensor_silent": ("temperature", "humidity", "vibration", "door", "fuel"),
}
# Services with enough log lines, and how a fault changes them.
_SERVICES = ("catalog", "payments", "shipping", "checkout", "search")
_ERROR_CHANCE, _SLOWER = (0.3, 0.8), (6.5, 12.0)
_SERVICE_SHARE, _SERVICE_SECONDS = 0.35, (10.0, 600.0)
# Services that may fall silent ("auth" not: its lines tell of fraud), when, and how long at least.
_MAY_BE_SILENT = (*_SERVICES, "cart")
_SILENT_FROM, _SILENT_SECONDS = 0.4, 18.0
_MIN_RATE = 100.0


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of one service or sensor. ``begin`` and ``end`` in seconds of the traffic.

    ``size``: how far a drift or an excursion goes, in the unit of the sensor, negative for downwards; the
    share of requests that fail; the factor of answer times.
    """

    kind: str
    subject: str
    begin: float
    end: float
    size: float = 0.0

    def active(self, at: float) -> bool:
        """Whether it is there at second ``at``."""
        return self.begin <= at < self.end

    def shift(self, at: float) -> float:
        """What it adds to a reading: an excursion is quick, a drift slow."""
        ramp = (self.end - self.begin) * (0.15 if self.kind == "sensor_excursion" else 0.35)
        return self.size * min(1.0, (at - self.begin) / ramp)


class Faults:
    """The faults of one run, found by what they concern."""

    def __init__(self, planned: Sequence[Fault] = ()) -> None:
        self._by_subject: dict[str, list[Fault]] = {}
        for fault in planned:
            self._by_subject.setdefault(fault.subject, []).append(fault)

    def of(self, subject: str, at: float) -> Fault | None:
        """The fault of a service or sensor at second ``at``."""
        return next((f for f in self._by_subject.get(subject, ()) if f.active(at)), None)

    def error_chance(self, service: str, at: float, usual: float) -> float:
        """Share of requests that fail."""
        fault = self.of(service, at)
        return fault.size if fault is not None and fault.kind == "service_errors" else usual

    def slowness(self, service: str, at: float) -> float:
        """Factor of the answer times."""
        fault = self.of(service, at)
        return fault.size if fault is not None and fault.kind == "service_latency" else 1.0

    def silent(self, subject: str, at: float) -> bool:
        """Whether a sensor or service sends nothing."""
        fault = self.of(subject, at)
        return fault is not None and fault.kind in ("sensor_silent", "service_silent")


def plan_sensor_faults(
    seed: int, seconds: float, interval: float, types: Mapping[str, str], spread: Mapping[str, float]
) -> list[Fault]:
    """Two faults of each kind, one more every five minutes; no sensor has two.

    :param interval: seconds between two readings of a sensor.
    :param types: type by sensor id.
    :param spread: of the readings, by type: a drift is a multiple of it.
    """
    rng = random.Random(f"{seed}/sensor-faults")
    free = sorted(types)
    rng.shuffle(free)
    planned = []
    for kind in SENSOR_FAULTS:
        least, usual, before = (number * interval for number in _READINGS[kind])
        for _ in range(2 + int(seconds // 300)):
            lasts = max(least, min(usual, 0.75 * (seconds - before)))
            sensor = next((s for s in free if types[s] in _TYPES[kind]), None)
            if before + lasts > seconds or sensor is None:
                break
            free.remove(sensor)
            begin = rng.uniform(before, seconds - lasts)
            size = _size(rng, kind, types[sensor], spread)
            planned.append(Fault(kind, sensor, begin, begin + lasts, size))
    return planned


def _size(rng: random.Random, kind: str, sensor_type: str, spread: Mapping[str, float]) -> float:
    if kind == "sensor_excursion":
        return rng.choice((rng.uniform(4.8, 9.0), rng.uniform(-6.5, -2.8)))
    if kind == "sensor_drift":
        # A temperature that drifts downwards would leave the cold chain, and be an excursion.
        direction = 1 if sensor_type == "temperature" else rng.choice((-1, 1))
        return direction * rng.uniform(7.0, 11.0) * spread[sensor_type]
    return 0.0


def plan_service_faults(seed: int, seconds: float, rate: float) -> list[Fault]:
    """One fault of each kind, one more every twenty minutes, each of another service. What was not heard for
    long before it is not missed: silence comes late, and not at all in a short run.

    :param rate: messages per second over all streams.
    """
    rng = random.Random(f"{seed}/service-faults")
    least, most = _SERVICE_SECONDS
    lasts = min(most, seconds * _SERVICE_SHARE)
    if lasts < least or rate < _MIN_RATE:
        return []
    number = min(1 + int(seconds // 1200), len(_SERVICES) // 2)
    services = rng.sample(_SERVICES, 2 * number)
    planned = []
    for i, service in enumerate(services):
        begin = rng.uniform(0.1 * seconds, seconds - lasts)
        size = rng.uniform(*(_SLOWER if i % 2 else _ERROR_CHANCE))
        planned.append(Fault(SERVICE_FAULTS[i % 2], service, begin, begin + lasts, size))
    if lasts >= _SILENT_SECONDS:
        for service in rng.sample([s for s in _MAY_BE_SILENT if s not in services], number):
            begin = rng.uniform(_SILENT_FROM * seconds, seconds - lasts)
            planned.append(Fault("service_silent", service, begin, begin + lasts))
    return planned
