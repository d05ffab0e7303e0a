"""Readings of the sensors in warehouses and delivery vans: they wander around a set point, and one in two
thousand is far off for no reason. Faults are planted (:mod:`~madhatter_provider.local.traffic.faults`).
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from math import cos, sin, sqrt

from madhatter_provider.local.traffic.faults import Fault, plan_sensor_faults
from madhatter_provider.local.traffic.journey import Row, Step
from madhatter_provider.local.traffic.world import CITIES, City, World

_WAREHOUSES, _VANS = 6, 40
_IN_WAREHOUSE = ("temperature", "humidity", "vibration", "door") * 5
_IN_VAN = ("temperature", "vibration", "door", "fuel")
_RETURN = 0.02  # share of its distance by which a reading is drawn back to the set point


@dataclass(frozen=True, slots=True)
class _Kind:
    """Set point, spread of the drift, noise, warning and fault distance from the set point."""

    unit: str
    level: float
    drift: float
    noise: float
    warning: float
    fault: float


_KINDS = {
    "temperature": _Kind("celsius", 4.0, 0.05, 0.05, 2.5, 5.0),
    "humidity": _Kind("percent", 55.0, 0.2, 0.3, 15.0, 30.0),
    "vibration": _Kind("mm_s", 2.2, 0.06, 0.15, 3.0, 6.0),
    "door": _Kind("open", 0.0, 0.0, 0.0, 2.0, 3.0),
    "fuel": _Kind("litre", 60.0, 0.0, 0.2, 48.0, 58.0),
}


@dataclass(slots=True)
class _Sensor:
    sensor_id: str
    kind: str
    site_id: str
    city: City
    moves: bool
    value: float
    battery: float
    bearing: float
    travelled: float = 0.0


class Sensors:
    """All sensors; each call of :meth:`reading` is the next one's turn."""

    def __init__(self, rng: random.Random, world: World) -> None:
        self._rng, self._world = rng, world
        self._sensors: list[_Sensor] = []
        self._frozen: dict[str, float] = {}
        for i in range(_WAREHOUSES):
            self._install(f"WH-{i + 1:02d}", rng.choice(CITIES), _IN_WAREHOUSE, moves=False)
        for i in range(_VANS):
            self._install(f"VAN-{i + 1:03d}", rng.choice(CITIES), _IN_VAN, moves=True)
        rng.shuffle(self._sensors)
        self._turn = 0

    def reading(self, at: float) -> Step:
        """The next sensor's reading at second ``at``."""
        sensor = self._sensors[self._turn % len(self._sensors)]
        self._turn += 1
        value, status = self._measure(sensor, self._world.faults.of(sensor.sensor_id, at), at)
        latitude, longitude = self._place(sensor)
        sensor.battery = max(5.0, sensor.battery - self._rng.random() * 0.004)
        row: Row = {
            "event_id": self._world.new_id(self._rng),
            "event_time": "",
            "sensor_id": sensor.sensor_id,
            "sensor_type": sensor.kind,
            "site_id": sensor.site_id,
            "site_type": "delivery_van" if sensor.moves else "warehouse",
            "value": value,
            "unit": _KINDS[sensor.kind].unit,
            "battery_percent": int(sensor.battery),
            "latitude": latitude,
            "longitude": longitude,
            "status": status,
        }
        return Step(at, "iot_telemetry", sensor.sensor_id, row, None)

    def _install(self, site: str, city: City, kinds: tuple[str, ...], *, moves: bool) -> None:
        rng = self._rng
        for kind in kinds:
            level = rng.uniform(15, 60) if kind == "fuel" else _KINDS[kind].level
            self._sensors.append(
                _Sensor(
                    _sensor_id(len(self._sensors)),
                    kind,
                    site,
                    city,
                    moves,
                    level,
                    rng.uniform(25, 100),
                    rng.uniform(0, 6.28),
                )
            )

    def _measure(self, sensor: _Sensor, fault: Fault | None, at: float) -> tuple[float, str]:
        kind, rng, shift = _KINDS[sensor.kind], self._rng, 0.0
        if sensor.kind == "door":
            if rng.random() < 0.15:
                sensor.value = 1.0 - sensor.value
        elif sensor.kind == "fuel":
            sensor.value = max(1.0, sensor.value - rng.random() * 0.02)
        else:  # drifts away and is drawn back to the set point
            sensor.value += _RETURN * (kind.level - sensor.value) + rng.gauss(0, kind.drift)
            if rng.random() < 0.0005:
                shift = rng.choice((-1, 1)) * kind.fault
        if fault is not None:
            shift += fault.shift(at)
        value = sensor.value + shift
        if kind.noise:
            value = round(value + rng.gauss(0, kind.noise), 2)
        if sensor.kind in ("vibration", "fuel", "humidity"):
            value = max(0.0, value)
        if fault is not None and fault.kind == "sensor_stuck":
            value = self._frozen.setdefault(sensor.sensor_id, value)
        off = abs(sensor.value + shift - kind.level)
        return value, "fault" if off > kind.fault else "warning" if off > kind.warning else "ok"

    def _place(self, sensor: _Sensor) -> tuple[float | None, float | None]:
        if not sensor.moves:
            return None, None
        sensor.travelled += 0.0008
        sensor.bearing += self._rng.gauss(0, 0.1)
        latitude = sensor.city.latitude + sensor.travelled * cos(sensor.bearing)
        return round(latitude, 4), round(sensor.city.longitude + sensor.travelled * sin(sensor.bearing), 4)


def sensor_types() -> dict[str, str]:
    """Type of every sensor, by id."""
    installed = [*_IN_WAREHOUSE * _WAREHOUSES, *_IN_VAN * _VANS]
    return {_sensor_id(i): kind for i, kind in enumerate(installed)}


def sensor_faults(seed: int, seconds: float, readings_per_second: float) -> list[Fault]:
    """The faults of a run that is so long."""
    types = sensor_types()
    # Where a reading that wanders and is drawn back will be, in the long run.
    wander = 1 / sqrt(1 - (1 - _RETURN) ** 2)
    spread = {name: sqrt((kind.drift * wander) ** 2 + kind.noise**2) for name, kind in _KINDS.items()}
    return plan_sensor_faults(seed, seconds, len(types) / readings_per_second, types, spread)


def _sensor_id(index: int) -> str:
    return f"S{index + 1:05d}"
