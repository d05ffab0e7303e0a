"""The summary of a demo, and the invariants that it must keep. Pure: all numbers come in, text comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from madhatter_provider.cli.demo.control_room import ControlRoomFacts

MIN_RECALL = 0.8
MIN_PRECISION = 0.8


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """One stream. ``wrong_reasons`` and ``innocent`` are bad rows missed, and good rows quarantined, in
    words.
    """

    produced: int
    landed: int
    loaded: int
    quarantined: int
    injected_bad: int
    gaps: int
    overlaps: int
    duplicates: int
    runs: int
    p95_event_to_queryable_seconds: float | None
    wrong_reasons: Sequence[str] = ()
    innocent: Sequence[str] = ()

    def summary(self) -> dict[str, Any]:
        """The numbers that scripts read."""
        return {k: v for k, v in asdict(self).items() if k not in ("wrong_reasons", "innocent")}


@dataclass(frozen=True, slots=True)
class AlertFacts:
    """The alert leg, by alert id. ``None`` where it was not run."""

    published: frozenset[str]
    executed: Sequence[str] | None
    recorded: frozenset[str]


@dataclass(frozen=True, slots=True)
class CaseFacts:
    """Fraud cases: opened; with orders held; asked about; decided by a person; alerts in them."""

    opened: int
    held: int
    asked: int
    decided: int
    alerts: int


@dataclass(frozen=True, slots=True)
class Notifications:
    """``sent``: arrived at the chat, the incident tool or the mailbox; ``duplicates``: arrived once more;
    ``lost``: due, but never arrived.
    """

    sent: int
    duplicates: int
    lost: int


@dataclass(slots=True)
class Facts:
    """Everything measured."""

    streams: Mapping[str, StreamFacts]
    alerts: AlertFacts
    cases: CaseFacts
    notifications: Notifications | None
    fraud: Mapping[str, Any]
    quality: Mapping[str, Any]
    operations: Mapping[str, Any]
    recommendations: Mapping[str, Any]
    gate_failures: Mapping[str, int]
    control_room: ControlRoomFacts
    services: Sequence[Mapping[str, Any]]
    seconds: Mapping[str, float | None]
    broken_stream: str | None = None
    notes: list[str] = field(default_factory=list)


def failures(facts: Facts) -> list[str]:
    """Every invariant that does not hold, in words."""
    return [
        *_lost_or_doubled(facts),
        *_wrong_rows(facts),
        *_alert_leg(facts.alerts),
        *_response(facts),
        *_fraud(facts),
        *_operations(facts.operations),
        *_gates(facts),
        *(f"control room, {p.title}: {p.problem}" for p in facts.control_room.pages if p.problem),
        *_recommendations(facts),
    ]


def summary(facts: Facts) -> dict[str, Any]:
    """The JSON that scripts read."""
    found = failures(facts)
    return {
        "ok": not found,
        "failures": found,
        "notes": facts.notes,
        "streams": {name: s.summary() for name, s in facts.streams.items()},
        "fraud": dict(facts.fraud),
        "cases": asdict(facts.cases),
        "notifications": None if facts.notifications is None else asdict(facts.notifications),
        "quality": dict(facts.quality),
        "operations": dict(facts.operations),
        "control_room": facts.control_room.as_dict(),
        "recommendations": dict(facts.recommendations),
        "services": [dict(s) for s in facts.services],
        "seconds": dict(facts.seconds),
    }


def _lost_or_doubled(facts: Facts) -> list[str]:
    found = []
    for name, s in facts.streams.items():
        wrong = {k: getattr(s, k) for k in ("gaps", "overlaps", "duplicates") if getattr(s, k)}
        if wrong:
            found.append(f"{name}: {wrong}")
        if s.produced != s.loaded + s.quarantined:
            found.append(f"{name}: {s.produced} produced, {s.loaded} loaded + {s.quarantined} quarantined")
        if not s.produced:
            found.append(f"{name}: nothing was produced")
    return found


def _wrong_rows(facts: Facts) -> list[str]:
    found = []
    for name, s in facts.streams.items():
        if s.wrong_reasons:
            found.append(
                f"{name}: {len(s.wrong_reasons)} bad rows not quarantined for their reason: "
                f"{s.wrong_reasons[0]}"
            )
        if s.innocent:
            found.append(f"{name}: {len(s.innocent)} good rows quarantined: {s.innocent[0]}")
    return found


def _alert_leg(alerts: AlertFacts) -> list[str]:
    found = []
    if alerts.published != alerts.recorded:
        missing, extra = len(alerts.published - alerts.recorded), len(alerts.recorded - alerts.published)
        found.append(
            f"alerts: {missing} published but not recorded in Snowflake, {extra} recorded but not published"
        )
    if alerts.executed is not None:
        executed = frozenset(alerts.executed)
        if executed != alerts.published:
            missing, extra = len(alerts.published - executed), len(executed - alerts.published)
            found.append(f"alerts: {missing} published but not acted on, {extra} acted on but not published")
        if len(alerts.executed) != len(executed):
            found.append(f"alerts: {len(alerts.executed) - len(executed)} acted on more than once")
    return found


def _response(facts: Facts) -> list[str]:
    found, cases, told = [], facts.cases, facts.notifications
    if cases.alerts != len(facts.alerts.published):
        found.append(f"cases: {len(facts.alerts.published)} alerts published, {cases.alerts} in cases")
    if cases.held and not cases.asked:
        found.append("cases: orders are held, but nobody was asked")
    if cases.asked and not cases.decided:
        found.append("cases: people were asked, but nothing was decided")
    if told is not None and told.lost:
        found.append(f"notifications: {told.lost} were due but did not arrive")
    if told is not None and told.duplicates:
        found.append(f"notifications: {told.duplicates} arrived more than once")
    return found


def _fraud(facts: Facts) -> list[str]:
    found = []
    if facts.fraud["cases"] and facts.fraud["recall"] < MIN_RECALL:
        found.append(f"fraud: recall {facts.fraud['recall']:.2f} is below {MIN_RECALL}")
    if facts.fraud["alerts"] and facts.fraud["precision"] < MIN_PRECISION:
        found.append(f"fraud: precision {facts.fraud['precision']:.2f} is below {MIN_PRECISION}")
    return found


def _operations(found: Mapping[str, Any]) -> list[str]:
    failures = []
    if found["planted"] and found["found"] < MIN_RECALL * found["planted"]:
        failures.append(
            f"operations: {found['found']} of {found['planted']} faults found; not: {found['missed']}"
        )
    if found["false"] > max(1, (1 - MIN_PRECISION) * found["found"]):
        failures.append(f"operations: {found['false']} false findings: {found['false_findings']}")
    return failures


def _gates(facts: Facts) -> list[str]:
    found = [
        f"{stream}: {n} slices failed the gate"
        for stream, n in facts.gate_failures.items()
        if n and stream != facts.broken_stream
    ]
    if not facts.quality["gates"]:
        found.append("quality: no deep gate was judged")
    broken = facts.broken_stream
    if broken and not facts.streams[broken].quarantined:
        found.append(f"{broken}: its producer broke the contract, but nothing was quarantined")
    return found


def _recommendations(facts: Facts) -> list[str]:
    found = []
    if not facts.recommendations["lists"] and facts.broken_stream is None:
        found.append("recommendations: no list was made")
    if number := facts.recommendations["not_on_topic"]:
        found.append(f"recommendations: {number} lists are not on the topic as they are in the table")
    return found
