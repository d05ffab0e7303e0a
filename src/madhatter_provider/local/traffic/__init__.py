"""Seeded, labelled traffic for the five streams, and scores of alerts and findings against its labels."""

from __future__ import annotations

from madhatter_provider.local.traffic.generate import Outgoing, generate
from madhatter_provider.local.traffic.score import (
    FaultScore,
    FraudScore,
    read_labels,
    score_alerts,
    score_faults,
)

__all__ = [
    "FaultScore",
    "FraudScore",
    "Outgoing",
    "generate",
    "read_labels",
    "score_alerts",
    "score_faults",
]
