"""Metadata that Airflow's providers manager reads. Imports nothing, so that it costs nothing."""

from __future__ import annotations

from typing import Any

_PACKAGE = "madhatter_provider"
_INTEGRATION = "MadHatter"


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata (schema: Airflow's ``provider_info.schema.json``).

    Connections are those of the official providers (``kafka``, ``snowflake``, ``google_cloud_platform``), so
    no connection type is added. The control room is loaded by its ``airflow.plugins`` entry point.
    """
    return {
        "package-name": "airflow-provider-madhatter",
        "name": _INTEGRATION,
        "description": "Real-time data: Kafka slices, Snowpipe, Dataflow, quality gates.",
        "integrations": [
            {
                "integration-name": _INTEGRATION,
                "external-doc-url": "https://kafka.apache.org/documentation/",
                "tags": ["apache", "service"],
            }
        ],
        "operators": [
            _modules(
                "operators",
                "approval",
                "kafka",
                "slice_gate",
                "snowpipe",
                "quality",
                "replay",
                "dataflow",
                "health",
            )
        ],
        "transfers": [
            {
                "source-integration-name": _INTEGRATION,
                "target-integration-name": _INTEGRATION,
                "python-module": f"{_PACKAGE}.transfers.{name}",
            }
            for name in ("kafka_to_object_storage", "kafka_to_snowflake")
        ],
        "hooks": [_modules("hooks", "kafka", "snowflake_rest", "snowpipe", "great_expectations", "dataflow")],
        "sensors": [_modules("sensors", "kafka")],
        "triggers": [
            _modules("triggers", "kafka_slice", "kafka_lag", "kafka_waiting", "snowpipe", "dataflow")
        ],
        "notifications": [f"{_PACKAGE}.notifications.health.HealthNotifier"],
        "task-decorators": [
            {"name": "kafka_slice", "class-name": f"{_PACKAGE}.decorators.kafka_slice.kafka_slice_task"}
        ],
        "extra-links": [f"{_PACKAGE}.operators.dataflow.DataflowJobLink"],
    }


def _modules(kind: str, *names: str) -> dict[str, Any]:
    return {
        "integration-name": _INTEGRATION,
        "python-modules": [f"{_PACKAGE}.{kind}.{name}" for name in names],
    }
