"""Services and sensors: burn rates, temperature excursions, stuck, drifting and silent sensors. Judged when
a slice of system logs or of telemetry is loaded; changes of state are told to people.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import DAG, AssetOrTimeSchedule, CronTriggerTimetable
from streams import ON_CALL_GUIDE, raw_asset

from madhatter_provider.notifications.health import HealthNotifier
from madhatter_provider.operators.health import HealthCheckOperator

LOADED = raw_asset("system_logs") | raw_asset("iot_telemetry")

with DAG(
    "operations",
    # Each loaded slice; and every ten minutes, should an event have been lost.
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable("*/10 * * * *", timezone="UTC"), assets=LOADED
    ),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    # Two, so that an event that arrives while a run works is never left waiting for the next one.
    max_active_runs=2,
    default_args={"retries": 3, "retry_delay": timedelta(seconds=10)},
    tags=["operations"],
    doc_md=__doc__,
):
    HealthCheckOperator(
        task_id="services_and_sensors",
        measurements="OPS.OPERATIONS_MEASUREMENTS",
        on_success_callback=HealthNotifier(guide=ON_CALL_GUIDE),
    )
