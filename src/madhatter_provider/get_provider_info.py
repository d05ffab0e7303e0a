"""Metadata that Airflow's providers manager reads. Imports nothing, so that it costs nothing."""

from __future__ import annotations

from typing import Any

_PACKAGE = "madhatter_provider"
_INTEGRATION = "MadHatter"


def _option(description: str, default: str, example: str | None = None) -> dict[str, Any]:
    return {
        "description": description,
        "version_added": "0.1.0",
        "type": "string",
        "example": example,
        "default": default,
    }


_OPTIONS = {
    "snowflake_conn_id": _option("Connection to the ledger and the marts.", "snowflake_default"),
    "kafka_config_id": _option("Connection to the brokers. Empty: they are not asked.", "kafka_default"),
    "replay_dag_id": _option("DAG that a replay starts.", "replay"),
    "dashboards_folder": _option(
        "Folder of the dashboards' definitions. Empty: include/dashboards beside the DAG folder, if there.",
        "",
        "/opt/airflow/include/dashboards",
    ),
    "refresh_seconds": _option("How old an answer of Snowflake may be before it is asked again.", "5"),
}


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
        "extra-links": [
            f"{_PACKAGE}.operators.dataflow.DataflowJobLink",
            *(f"{_PACKAGE}.links.control_room.{name}" for name in ("SliceLink", "ReplayLink", "QualityLink")),
        ],
        "config": {"madhatter": {"description": "The control room in the UI.", "options": _OPTIONS}},
    }


def _modules(kind: str, *names: str) -> dict[str, Any]:
    return {
        "integration-name": _INTEGRATION,
        "python-modules": [f"{_PACKAGE}.{kind}.{name}" for name in names],
    }
