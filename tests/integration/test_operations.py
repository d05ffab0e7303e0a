"""Services and sensors on the local Snowflake: what is planted is found, once, and what is not is not."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from madhatter_provider.core.operations.evaluation import evaluate, new_measurements, record
from madhatter_provider.core.warehouse.ledger import LedgerRow
from madhatter_provider.core.warehouse.ledger import record as record_ranges
from madhatter_provider.testing.snowflake import RunningSnowflake

pytestmark = pytest.mark.integration

# Later than the rows of all other tests: the newest row of a table is where its windows end.
NINE = datetime(2032, 3, 1, 9, tzinfo=UTC)


class Telemetry:
    """Loads readings and log lines of this test, and judges them as the DAG ``operations`` does."""

    def __init__(self, sql: Any) -> None:
        self.sql, self.topic_id = sql, uuid.uuid4().hex
        self.offset = 0

    def load(
        self, table: str, columns: dict[str, str], rows: list[tuple[datetime, list[Any]]], partition: int = 0
    ) -> None:
        """Rows as (time, the other values); time of the event and of its arrival are the same.

        :param columns: the other columns, with their types.
        """
        values = [
            [when.isoformat(), uuid.uuid4().hex, self.offset + i, *row]
            for i, (when, row) in enumerate(rows, 1)
        ]
        self.offset += len(rows)
        picks = ", ".join(f"r.VALUE[{i}]::{kind}" for i, kind in enumerate(columns.values(), 3))
        self.sql.execute(
            f"INSERT INTO RAW.{table} (EVENT_TIME, _TIMESTAMP, EVENT_ID, _OFFSET, _TOPIC_ID, _PARTITION, "
            f"{', '.join(columns)}) SELECT r.VALUE[0]::TIMESTAMP_TZ, r.VALUE[0]::TIMESTAMP_TZ, "
            f"r.VALUE[1]::VARCHAR, r.VALUE[2]::NUMBER, '{self.topic_id}', {partition}, {picks} "
            "FROM TABLE(FLATTEN(INPUT => PARSE_JSON(?))) AS r",
            [json.dumps(values)],
        )

    def readings(
        self, sensor: str, kind: str, values: list[float], *, first: int = 0, partition: int = 0
    ) -> None:
        """One reading a minute, the first so many minutes after nine."""
        rows: list[tuple[datetime, list[Any]]] = [
            (NINE + timedelta(minutes=first + i), [sensor, kind, "WH-01", "warehouse", value])
            for i, value in enumerate(values)
        ]
        text = dict.fromkeys(("SENSOR_ID", "SENSOR_TYPE", "SITE_ID", "SITE_TYPE"), "VARCHAR")
        self.load("IOT_TELEMETRY", {**text, '"VALUE"': "FLOAT"}, rows, partition)

    def log_lines(
        self,
        service: str,
        minutes: Iterable[int],
        lines: int,
        errors: int = 0,
        slow: int = 0,
        partition: int = 0,
    ) -> None:
        """Log lines of these minutes; ``errors`` and ``slow``: of each."""
        rows: list[tuple[datetime, list[Any]]] = [
            (
                NINE + timedelta(minutes=minute, milliseconds=i),
                [service, "ERROR" if i < errors else "INFO", 5000 if i < slow else 20],
            )
            for minute in minutes
            for i in range(lines)
        ]
        columns = {"SERVICE": "VARCHAR", "LEVEL": "VARCHAR", "DURATION_MS": "NUMBER"}
        self.load("SYSTEM_LOGS", columns, rows, partition)

    def ranges(self, stream: str, *ranges: tuple[int, int, int, str]) -> None:
        """Rows of the ledger: partition, start, end, state."""
        rows = [
            LedgerRow(
                stream=stream, topic_id=self.topic_id, partition_id=partition, start_offset=start,
                end_offset=end, state=state,
            )
            for partition, start, end, state in ranges
        ]  # fmt: skip
        self.sql.execute(*record_ranges(rows))

    def judge(self) -> list[tuple[str, str, str]]:
        """Changes of state that one evaluation records."""
        found = evaluate(self.sql.execute(new_measurements("OPS.OPERATIONS_MEASUREMENTS")), "operations", "r")
        if statements := record(found):
            self.sql.transact(statements, repeatable=True)
        return [(c["CHECK_NAME"], c["SUBJECT"], c["TO_STATE"]) for c in found.changes]


@pytest.fixture
def telemetry(snowflake: RunningSnowflake) -> Iterator[Telemetry]:
    made = Telemetry(snowflake.client())
    yield made
    for table in ("RAW.IOT_TELEMETRY", "RAW.SYSTEM_LOGS"):
        made.sql.execute(f"DELETE FROM {table} WHERE _TOPIC_ID = ?", [made.topic_id])
    for table in ("OPS.SLICES", "OPS.TOPIC_ENDS"):
        made.sql.execute(f"DELETE FROM {table} WHERE TOPIC_ID = ?", [made.topic_id])
    for table in ("OPS.HEALTH", "OPS.HEALTH_CHANGES"):
        made.sql.execute(f"DELETE FROM {table} WHERE CHECK_NAME LIKE 'sensor%' OR CHECK_NAME LIKE 'service%'")


def wander(start: float, step: float, readings: int) -> list[float]:
    """Readings of a healthy sensor: never the same twice, never far off."""
    return [round(start + step * ((i * 7) % 5 - 2), 2) for i in range(readings)]


def test_faulty_sensors_are_found_and_healthy_ones_are_not(telemetry: Telemetry) -> None:
    for number in range(6):
        telemetry.readings(f"S1000{number}", "temperature", wander(4.0, 0.1, 40))
        telemetry.readings(f"S2000{number}", "humidity", wander(55.0, 1.0, 40))
    telemetry.readings(
        "S30000", "temperature", [*wander(4.0, 0.1, 20), 12.0, *wander(4.1, 0.1, 19)]
    )  # a glitch
    telemetry.readings("S30001", "temperature", [*wander(4.0, 0.1, 20), *wander(10.6, 0.1, 20)])
    telemetry.readings("S30002", "humidity", [*wander(55.0, 1.0, 20), *[54.5] * 20])
    telemetry.readings("S30003", "humidity", [*wander(55.0, 1.0, 20), *wander(75.0, 0.5, 20)])
    telemetry.readings("S30004", "humidity", wander(55.0, 1.0, 20))
    found = telemetry.judge()
    assert set(found) == {
        ("sensor_excursion", "S30001", "critical"), ("sensor_stuck", "S30002", "warning"),
        ("sensor_drift", "S30003", "warning"), ("sensor_silent", "S30004", "warning"),
    }  # fmt: skip
    assert telemetry.judge() == []
    anomalies = telemetry.sql.execute("SELECT * FROM MARTS.SENSOR_ANOMALIES ORDER BY SENSOR_ID")
    assert [(a["SENSOR_ID"], a["KIND"], a["STATE"]) for a in anomalies] == [
        ("S30001", "excursion", "critical"), ("S30002", "stuck", "warning"),
        ("S30003", "drift", "warning"), ("S30004", "silent", "warning"),
    ]  # fmt: skip
    excursion = anomalies[0]
    assert (excursion["VALUE"], excursion["EXPECTED"], excursion["SITE_ID"]) == (10.7, 5.0, "WH-01")
    assert NINE + timedelta(minutes=20) < excursion["STARTED_AT"] < NINE + timedelta(minutes=25)

    telemetry.readings("S30004", "humidity", wander(55.0, 1.0, 1), first=40)
    telemetry.readings("S30001", "temperature", wander(4.0, 0.1, 3), first=40)
    assert set(telemetry.judge()) == {("sensor_silent", "S30004", "ok"), ("sensor_excursion", "S30001", "ok")}


def test_a_slice_that_is_late_makes_nobody_silent(telemetry: Telemetry) -> None:
    """Partition 1 is loaded half an hour further than the range under way of partition 0."""
    telemetry.readings("S40000", "humidity", wander(55.0, 1.0, 20), partition=0)
    telemetry.readings("S40001", "humidity", wander(55.0, 1.0, 50), partition=1)
    telemetry.ranges("iot_telemetry", (0, 21, 30, "claimed"))
    assert telemetry.judge() == []
    # Readings of its own partition beyond the range under way prove nothing either.
    telemetry.readings("S40002", "humidity", wander(55.0, 1.0, 30), first=20, partition=0)
    assert telemetry.judge() == []


def test_a_fault_of_a_service_must_burn_in_both_windows(telemetry: Telemetry) -> None:
    for service in ("calm", "hiccup", "broken", "slow"):
        telemetry.log_lines(service, range(15), 30)
    telemetry.log_lines("calm", range(15, 30), 30)
    telemetry.log_lines("hiccup", (m for m in range(15, 30) if m != 20), 30)
    telemetry.log_lines("hiccup", [20], 30, errors=25)
    telemetry.log_lines("broken", range(15, 30), 30, errors=20)
    telemetry.log_lines("slow", range(15, 30), 30, slow=28)
    found = telemetry.judge()
    assert [change for change in found if change[2] != "critical"] == [
        ("service_errors", "broken", "warning"), ("service_latency", "slow", "warning"),
    ]  # fmt: skip
    assert {subject for _, subject, _ in found} == {"broken", "slow"}
    assert telemetry.judge() == []
    slo = {r["SERVICE"]: r for r in telemetry.sql.execute("SELECT * FROM MARTS.SERVICE_SLO")}
    assert slo["broken"]["STATE"] in ("warning", "critical")
    assert slo["broken"]["BURN_RATE_5M"] == pytest.approx(100 * 20 / 30 / 2)
    assert (slo["calm"]["STATE"], slo["calm"]["ERROR_PERCENT_1H"], slo["calm"]["P95_DURATION_MS"]) == (
        "ok",
        0,
        20,
    )
    # Log lines that come late count in their window, and judge no window a second time.
    telemetry.log_lines("calm", [10], 30, errors=30)
    assert telemetry.judge() == []


def test_too_few_log_lines_are_not_judged(telemetry: Telemetry) -> None:
    telemetry.log_lines("rare", range(10), 3, errors=3)
    assert telemetry.judge() == []


def test_a_service_that_falls_silent_while_others_log_is_missed(telemetry: Telemetry) -> None:
    telemetry.log_lines("quiet", range(15), 3)
    telemetry.log_lines("talker", range(24), 3)
    telemetry.log_lines("newcomer", range(11), 3)
    assert telemetry.judge() == []
    telemetry.log_lines("talker", range(24, 28), 3)
    assert telemetry.judge() == [("service_silent", "quiet", "warning")]
    assert telemetry.judge() == []
    (row,) = telemetry.sql.execute(
        "SELECT * FROM OPS.HEALTH WHERE CHECK_NAME = 'service_silent' AND SUBJECT = 'quiet'"
    )
    assert (row["OBSERVED"], row["EXPECTED"]) == (360, 30)
    assert row["DETAIL"] == "no log line for 360 s while others log; allowed: 300 s"
    telemetry.log_lines("talker", range(28, 48), 3)
    assert telemetry.judge() == [("service_silent", "quiet", "critical")]
    slo = telemetry.sql.execute("SELECT STATE FROM MARTS.SERVICE_SLO WHERE SERVICE = 'quiet'")
    assert slo == [{"STATE": "critical"}]
    telemetry.log_lines("quiet", range(48, 51), 3)
    assert telemetry.judge() == []
    telemetry.log_lines("quiet", range(51, 52), 3)
    assert telemetry.judge() == [("service_silent", "quiet", "ok")]


def test_a_silence_that_is_over_was_one(telemetry: Telemetry) -> None:
    """Both its ends are in one slice."""
    telemetry.log_lines("quiet", [*range(15), 30], 3)
    telemetry.log_lines("talker", range(31), 3)
    assert telemetry.judge() == [("service_silent", "quiet", "warning")]


def test_a_service_is_allowed_its_own_pauses(telemetry: Telemetry) -> None:
    """Five minutes of every quarter of an hour it logs."""
    telemetry.log_lines("batches", [m for m in range(50) if m % 15 < 5], 1)
    telemetry.log_lines("talker", range(59), 1)
    assert telemetry.judge() == []
    rows = telemetry.sql.execute("SELECT * FROM OPS.SERVICE_SILENCE WHERE SERVICE = 'batches'")
    assert {(r["USUAL_SECONDS"], r["ALLOWED_SECONDS"]) for r in rows} == {(330, 1650)}
    assert sorted(r["SILENT_SECONDS"] for r in rows) == [240, 300, 300, 300]


def test_logs_that_stand_still_or_come_late_make_no_service_silent(telemetry: Telemetry) -> None:
    # Nobody logs for half an hour: what is still then are the logs.
    telemetry.log_lines("first", [*range(15), 45], 3)
    telemetry.log_lines("second", [*range(15), 45], 3)
    assert telemetry.judge() == []
    # Another partition is loaded much further.
    telemetry.log_lines("third", range(46), 3, partition=1)
    telemetry.log_lines("talker", range(59), 3, partition=2)
    assert telemetry.judge() == []
    # Its own partition is, beyond a range that is under way.
    late = telemetry.offset
    telemetry.ranges("system_logs", (1, late + 1, late + 4, "claimed"))
    telemetry.log_lines("other", [58], 3, partition=1)
    assert telemetry.judge() == []


def test_a_service_with_a_partition_of_its_own_is_missed_when_nothing_waits_there(
    telemetry: Telemetry,
) -> None:
    telemetry.log_lines("alone", range(15), 3, partition=0)
    end = telemetry.offset + 1
    telemetry.log_lines("talker", range(40), 3, partition=1)
    telemetry.ranges("system_logs", (0, 1, end, "loaded"))

    def kafka_told(end_offset: int, minute: int) -> None:
        when = f"'{(NINE + timedelta(minutes=minute)).isoformat()}'::TIMESTAMP_TZ"
        telemetry.sql.execute(
            "INSERT INTO OPS.TOPIC_ENDS "
            "(STREAM, TOPIC_ID, PARTITION_ID, END_OFFSET, FIRST_SEEN_AT, LAST_SEEN_AT) "
            f"SELECT 'system_logs', ?, 0, {end_offset}, {when}, {when}",
            [telemetry.topic_id],
        )

    kafka_told(end, 16)
    kafka_told(end + 5, 40)  # messages that are not loaded yet
    assert telemetry.judge() == []
    telemetry.sql.execute("DELETE FROM OPS.TOPIC_ENDS WHERE TOPIC_ID = ?", [telemetry.topic_id])
    kafka_told(end, 40)
    assert telemetry.judge() == [("service_silent", "alone", "warning")]
