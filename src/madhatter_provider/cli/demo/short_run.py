"""Windows of the checks for a run of a minute: with those of every day, nothing would last long enough."""

from __future__ import annotations

from typing import Final

SETTINGS: Final = {
    "services.bucket_seconds": 5,
    "services.short_seconds": 10,
    "services.long_seconds": 40,
    "services.late_seconds": 3,
    "services.silent_seconds": 10,
    "sensors.excursion_readings": 2,
    "sensors.stuck_readings": 4,
    "sensors.drift_readings": 3,
    "sensors.silent_intervals": 2.5,
    "sensors.known_readings": 2,
    "service_errors.worse_after": 0,
    "service_errors.better_after": 15,
    "service_latency.worse_after": 0,
    "service_latency.better_after": 15,
    "service_silent.better_after": 15,
}
GRACE_SECONDS: Final = 20.0
"""A fault that was found so long after its end was found."""
