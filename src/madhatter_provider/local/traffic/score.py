"""How good alerts, and findings about services and sensors, are against the labels of the traffic."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.local.traffic.faults import SENSOR_FAULTS, SERVICE_FAULTS

FAULTS = (*SENSOR_FAULTS, *SERVICE_FAULTS)
_GROUP_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class FraudScore:
    """Caught cases and false alarms.

    ``recall`` and ``precision`` are 1 when there was nothing to find or nothing alerted.
    """

    cases: int
    caught: int
    alerts: int
    alerted_cases: int
    false_alerted_cases: int
    recall: float
    precision: float
    missed: tuple[str, ...] = ()


def read_labels(path: str | Path) -> list[dict[str, Any]]:
    """All labels of a labels file.

    :raises ConfigurationError: the file cannot be read or is not a labels file.
    """
    file = Path(path)
    try:
        return [msgspec.json.decode(line) for line in file.read_bytes().splitlines() if line]
    except (OSError, msgspec.DecodeError) as err:
        raise ConfigurationError(
            f"Cannot read the labels: {err}",
            where=str(file),
            remedy="Give the file that `madhatter traffic --labels` wrote.",
        ) from err


def score_alerts(labels: Iterable[Mapping[str, Any]], alerts: Iterable[Mapping[str, Any]]) -> FraudScore:
    """Score alerts (rows of contract ``fraud_alerts``; the same alert_id twice counts once) against labels.

    A case is caught if an alert refers to one of its payments. Alerts of a customer with at most ten minutes
    between neighbours are one alerted case; it is false if none of them refers to a payment of a labelled
    case.
    """
    case_of = {e: label["case"] for label in labels if label["kind"] == "fraud" for e in label["event_ids"]}
    names = set(case_of.values())
    unique = {alert["alert_id"]: alert for alert in alerts}
    groups = _groups(list(unique.values()))
    hits = [
        {case_of[a["transaction_id"]] for a in group if a["transaction_id"] in case_of} for group in groups
    ]
    caught: set[str] = set().union(*hits) if hits else set()
    false = sum(not hit for hit in hits)
    return FraudScore(
        cases=len(names),
        caught=len(caught),
        alerts=len(unique),
        alerted_cases=len(groups),
        false_alerted_cases=false,
        recall=len(caught) / len(names) if names else 1.0,
        precision=1 - false / len(groups) if groups else 1.0,
        missed=tuple(sorted(names - caught)),
    )


@dataclass(frozen=True, slots=True)
class FaultScore:
    """Planted faults that were found, and findings that were none. ``missed`` and ``false`` are named as
    ``check subject``; ``recall`` and ``precision`` are 1 when there was nothing to find or nothing found.
    """

    planted: int
    found: int
    missed: tuple[str, ...]
    false: tuple[str, ...]
    found_by_kind: Mapping[str, tuple[int, int]]

    @property
    def recall(self) -> float:
        """Share of the planted faults that were found."""
        return self.found / self.planted if self.planted else 1.0

    @property
    def precision(self) -> float:
        """Share of the findings that were planted."""
        findings = self.found + len(self.false)
        return self.found / findings if findings else 1.0


def score_faults(
    labels: Iterable[Mapping[str, Any]], changes: Iterable[Mapping[str, Any]], *, grace: float
) -> FaultScore:
    """Score changes of state (rows of ``OPS.HEALTH_CHANGES``) against the labels of planted faults.

    A fault is found if its check left ``ok`` for its subject while it was there or at most ``grace`` seconds
    later. All findings of one check and subject that belong to no fault are one false finding.
    """
    planted = [label for label in labels if label["kind"] == "fault"]
    raised = [
        (c["CHECK_NAME"], c["SUBJECT"], c["CHANGED_AT"].timestamp())
        for c in changes
        if c["FROM_STATE"] == "ok" and c["CHECK_NAME"] in FAULTS
    ]
    hits = {
        i: {n for n, (check, subject, at) in enumerate(raised)
            if (check, subject) == (f["fault"], f["subject"]) and f["from"] <= at <= f["until"] + grace}
        for i, f in enumerate(planted)
    }  # fmt: skip
    right = set().union(*hits.values()) if hits else set()
    false = {f"{check} {subject}" for n, (check, subject, _) in enumerate(raised) if n not in right}
    kinds: dict[str, tuple[int, int]] = {}
    for i, fault in enumerate(planted):
        found, number = kinds.get(fault["fault"], (0, 0))
        kinds[fault["fault"]] = (found + bool(hits[i]), number + 1)
    missed = sorted(f"{f['fault']} {f['subject']}" for i, f in enumerate(planted) if not hits[i])
    return FaultScore(
        planted=len(planted),
        found=len(planted) - len(missed),
        missed=tuple(missed),
        false=tuple(sorted(false)),
        found_by_kind=kinds,
    )


def _groups(alerts: list[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    groups: list[list[Mapping[str, Any]]] = []
    last: tuple[str, float] | None = None
    for when, alert in sorted(
        ((_seconds(a["event_time"]), a) for a in alerts), key=lambda x: (x[1]["customer_id"], x[0])
    ):
        if last and last[0] == alert["customer_id"] and when - last[1] <= _GROUP_SECONDS:
            groups[-1].append(alert)
        else:
            groups.append([alert])
        last = (alert["customer_id"], when)
    return groups


def _seconds(event_time: str | datetime) -> float:
    when = event_time if isinstance(event_time, datetime) else datetime.fromisoformat(event_time)
    return when.timestamp()
