"""Planted faults: told by the labels, seen in the rows, and nothing else is changed by them."""

from __future__ import annotations

import importlib
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest

from madhatter_provider.local.traffic import Outgoing, generate
from madhatter_provider.local.traffic.faults import SENSOR_FAULTS, SERVICE_FAULTS, Fault
from madhatter_provider.local.traffic.generate import plan_faults
from madhatter_provider.local.traffic.send import Sender

SEED, RATE, SECONDS = 41, 300, 60


@pytest.fixture(scope="module")
def planned() -> list[Fault]:
    return plan_faults(SEED, RATE, SECONDS)


@pytest.fixture(scope="module")
def minute() -> list[Outgoing]:
    return [m for m in generate(SEED, RATE, SECONDS) if m.stream in ("system_logs", "iot_telemetry")]


def rows(messages: list[Outgoing], key: str) -> Iterator[tuple[float, dict[str, Any]]]:
    """Good rows of one sensor or service in the order of their event."""
    for m in messages:
        if m.key.decode() == key and not (m.defect or m.late or m.duplicate):
            yield m.due, json.loads(m.value)


def of(planned: list[Fault], kind: str) -> list[Fault]:
    return [f for f in planned if f.kind == kind]


def test_a_minute_has_every_kind_and_no_sensor_has_two(planned: list[Fault]) -> None:
    assert {f.kind for f in planned} == {*SENSOR_FAULTS, *SERVICE_FAULTS}
    assert len({f.subject for f in planned}) == len(planned) == 11
    assert all(0 <= f.begin < f.end <= SECONDS for f in planned)


def test_sensors_do_what_their_faults_say(planned: list[Fault], minute: list[Outgoing]) -> None:
    for fault in of(planned, "sensor_silent"):
        assert not [m for m in minute if m.key.decode() == fault.subject and fault.active(m.due)]
        assert len(list(rows(minute, fault.subject))) >= 2
    for fault in of(planned, "sensor_stuck"):
        assert len({r["value"] for due, r in rows(minute, fault.subject) if fault.active(due)}) == 1
    for fault in of(planned, "sensor_excursion"):
        late = fault.begin + 0.5 * (fault.end - fault.begin)
        values = [r["value"] for due, r in rows(minute, fault.subject) if late < due < fault.end]
        assert values
        assert all(not 2 <= value <= 8 for value in values)
    for fault in of(planned, "sensor_drift"):
        seen = [r for due, r in rows(minute, fault.subject) if fault.active(due)]
        usual = {"temperature": 4.0, "humidity": 55.0, "vibration": 2.2}[seen[0]["sensor_type"]]
        assert seen[-1]["value"] - usual == pytest.approx(fault.size, abs=0.4 * abs(fault.size))


def test_services_do_what_their_faults_say(planned: list[Fault], minute: list[Outgoing]) -> None:
    (errors,) = of(planned, "service_errors")
    (slow,) = of(planned, "service_latency")

    def share(fault: Fault, wrong: Any) -> tuple[float, float]:
        """Share of wrong rows, during the fault and without it."""
        during = [wrong(r) for due, r in rows(minute, fault.subject) if fault.active(due)]
        else_ = [wrong(r) for due, r in rows(minute, fault.subject) if not fault.active(due)]
        return sum(during) / len(during), sum(else_) / len(else_)

    bad, usual = share(errors, lambda r: r["level"] == "ERROR")
    assert bad == pytest.approx(errors.size, abs=0.12)
    assert usual < 0.08
    bad, usual = share(slow, lambda r: r["duration_ms"] > 250)
    assert bad > 2 * usual
    assert bad > 0.5
    (silent,) = of(planned, "service_silent")
    said = [m.due for m in minute if m.key.decode() == silent.subject]
    assert not [due for due in said if silent.active(due)]
    assert min(said) < silent.begin
    assert max(said) > silent.end


def test_faults_change_nothing_but_their_subjects(
    monkeypatch: pytest.MonkeyPatch, planned: list[Fault]
) -> None:
    faulty = {f.subject for f in planned}
    with_faults = [m for m in generate(SEED, RATE, 20) if m.key.decode() not in faulty]
    module = importlib.import_module("madhatter_provider.local.traffic.generate")
    monkeypatch.setattr(module, "plan_faults", lambda *_, **__: [])
    without = [m for m in generate(SEED, RATE, 20) if m.key.decode() not in faulty]
    assert [m.value for m in with_faults] == [m.value for m in without]


def test_no_row_tells_of_a_fault(planned: list[Fault], minute: list[Outgoing]) -> None:
    """Rows of faulty subjects have the keys that all rows have, and no word of the labels."""
    for fault in planned:
        for _, row in rows(minute, fault.subject):
            stream = "system_logs" if "service" in row else "iot_telemetry"
            healthy = next(json.loads(m.value) for m in minute if m.stream == stream and not m.defect)
            assert list(row) == list(healthy)
            assert fault.kind.split("_")[1] not in json.dumps([row.get("status"), row.get("action")])


def test_what_nobody_could_see_is_not_planted() -> None:
    assert plan_faults(1, 50, 8) == []
    assert not [f for f in plan_faults(1, 150, 30) if f.kind in SENSOR_FAULTS]
    assert not [f for f in plan_faults(1, 300, 60, break_stream="system_logs") if f.kind in SERVICE_FAULTS]
    assert not [f for f in plan_faults(1, 300, 60, break_stream="iot_telemetry") if f.kind in SENSOR_FAULTS]
    assert not [f for f in plan_faults(1, 300, 50) if f.kind == "service_silent"]
    assert len(plan_faults(1, 300, 1800)) > len(plan_faults(1, 300, 60))


def test_labels_have_the_times_of_the_clock() -> None:
    out = io.StringIO()
    Sender("localhost:1", out).label_faults([Fault("sensor_stuck", "S00001", 5.0, 50.0)], start=1000.0)
    assert json.loads(out.getvalue()) == {
        "kind": "fault", "fault": "sensor_stuck", "subject": "S00001", "from": 1005.0, "until": 1050.0,
    }  # fmt: skip
