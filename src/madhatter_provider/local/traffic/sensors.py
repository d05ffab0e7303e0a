"""Readings of the sensors in warehouses and delivery vans: slow drifts around a set point, rare faults."""

from __future__ import annotations

import random
from dataclasses import dataclass
from math import cos, sin

from madhatter_provider.local.traffic.journey import Row, Step
from madhatter_provider.local.traffic.world import CITIES, City, World

_WAREHOUSES, _VANS = 6, 40


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
        for i in range(_WAREHOUSES):
            self._install(
                f"WH-{i + 1:02d}",
                rng.choice(CITIES),
                ("temperature", "humidity", "vibration", "door") * 5,
                moves=False,
            )
        for i in range(_VANS):
            self._install(
                f"VAN-{i + 1:03d}",
                rng.choice(CITIES),
                ("temperature", "vibration", "door", "fuel"),
                moves=True,
            )
        rng.shuffle(self._sensors)
        self._turn = 0

    def reading(self, at: float) -> Step:
        """The next sensor's reading at second ``at``."""
        sensor = self._sensors[self._turn % len(self._sensors)]
        self._turn += 1
        value, status = self._measure(sensor)
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
                    f"S{len(self._sensors) + 1:05d}",
                    kind,
                    site,
                    city,
                    moves,
                    level,
                    rng.uniform(25, 100),
                    rng.uniform(0, 6.28),
                )
            )

    def _measure(self, sensor: _Sensor) -> tuple[float, str]:
        kind, rng = _KINDS[sensor.kind], self._rng
        if sensor.kind == "door":
            if rng.random() < 0.15:
                sensor.value = 1.0 - sensor.value
        elif sensor.kind == "fuel":
            sensor.value = max(1.0, sensor.value - rng.random() * 0.02)
        else:  # drifts away and is drawn back to the set point
            sensor.value += 0.02 * (kind.level - sensor.value) + rng.gauss(0, kind.drift)
            if rng.random() < 0.0005:
                sensor.value += rng.choice((-1, 1)) * kind.fault
        value = round(sensor.value + rng.gauss(0, kind.noise), 2) if kind.noise else sensor.value
        if sensor.kind in ("vibration", "fuel", "humidity"):
            value = max(0.0, value)
        off = abs(sensor.value - kind.level)
        return value, "fault" if off > kind.fault else "warning" if off > kind.warning else "ok"

    def _place(self, sensor: _Sensor) -> tuple[float | None, float | None]:
        if not sensor.moves:
            return None, None
        sensor.travelled += 0.0008
        sensor.bearing += self._rng.gauss(0, 0.1)
        latitude = sensor.city.latitude + sensor.travelled * cos(sensor.bearing)
        return round(latitude, 4), round(sensor.city.longitude + sensor.travelled * sin(sensor.bearing), 4)
