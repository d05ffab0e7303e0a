"""Seeded, labelled traffic for the five streams, and the score of alerts against its labels."""

from __future__ import annotations

from madhatter_provider.local.traffic.generate import Outgoing, generate
from madhatter_provider.local.traffic.score import FraudScore, read_labels, score_alerts

__all__ = ["FraudScore", "Outgoing", "generate", "read_labels", "score_alerts"]
