"""Metadata that Airflow's providers manager reads. Imports nothing, so that it costs nothing."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata (schema: Airflow's ``provider_info.schema.json``)."""
    return {
        "package-name": "airflow-provider-madhatter",
        "name": "MadHatter",
        "description": "Real-time data: Kafka slices, Snowpipe, Dataflow, quality gates.",
    }
