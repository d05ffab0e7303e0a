"""Land one stream: from a slice of its topic to gated rows in Snowflake."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Asset, TaskGroup

from madhatter_provider.core.slices.claim_options import OnStateLost, Start
from madhatter_provider.operators.kafka import KafkaClaimSliceOperator
from madhatter_provider.operators.slice_gate import SliceGateOperator
from madhatter_provider.operators.snowpipe import SnowpipeIngestOperator
from madhatter_provider.transfers.kafka_to_object_storage import KafkaToObjectStorageOperator
from madhatter_provider.transfers.kafka_to_snowflake import KafkaToSnowflakeOperator


def land_stream(
    *,
    topic: str,
    contract: str,
    asset: Asset,
    loaded: Asset,
    landing_root: str,
    kafka_config_id: str = "kafka_default",
    snowflake_conn_id: str = "snowflake_default",
    schema_registry_conn_id: str | None = None,
    start: Start = "earliest",
    max_messages: int | None = None,
    max_bytes: int | None = None,
    on_state_lost: OnStateLost = "restore",
    tombstones: str = "quarantine",
    processes: int = 1,
    detailed: bool = False,
    split: int = 1,
    **task_arguments: Any,
) -> KafkaToSnowflakeOperator | TaskGroup:
    """Add the tasks that land a stream to the current DAG.

    One task by default, since every task start costs up to two seconds of CPU. ``detailed`` shows each step
    as a task and maps the landing over ``split`` parts of the slice: for big slices and backfills.

    :param asset: the topic's asset, whose watcher starts the DAG.
    :param loaded: asset of the RAW table; its event is published when the slice's gate has passed.
    :param start: where the first run begins; with ``max_messages``, ``max_bytes`` and ``on_state_lost`` as in
        ``SliceClaimer``.
    :param schema_registry_conn_id: connection id of the schema registry, for formats that need one; default:
        ``schema_registry_default``.
    :param tombstones: ``quarantine`` messages without a value, or ``keep`` them as rows without columns.
    :param processes: processes in which one task lands, whole partitions each.
    :param split: number of tasks that land side by side.
    """
    where: dict[str, Any] = {"kafka_config_id": kafka_config_id}
    landing: dict[str, Any] = {
        "contract": contract,
        "landing_root": landing_root,
        "schema_registry_conn_id": schema_registry_conn_id,
        "tombstones": tombstones,
        "processes": processes,
    }
    claim: dict[str, Any] = {
        "topic": topic,
        "asset": asset,
        "start": start,
        "max_messages": max_messages,
        "max_bytes": max_bytes,
        "on_state_lost": on_state_lost,
        **where,
    }
    if not detailed:
        return KafkaToSnowflakeOperator(
            task_id="land",
            snowflake_conn_id=snowflake_conn_id,
            outlets=[loaded],
            **claim,
            **landing,
            **task_arguments,
        )
    with TaskGroup(group_id="land") as group:
        claimed = KafkaClaimSliceOperator(
            task_id="claim",
            split=split,
            contract=contract,
            snowflake_conn_id=snowflake_conn_id,
            **claim,
            **task_arguments,
        )
        landed = KafkaToObjectStorageOperator.partial(
            task_id="land", **where, **landing, **task_arguments
        ).expand(owned=claimed.output)
        ingested = SnowpipeIngestOperator(
            task_id="ingest",
            contract=contract,
            manifests=landed.output,
            snowflake_conn_id=snowflake_conn_id,
            **task_arguments,
        )
        gated = SliceGateOperator(
            task_id="gate",
            contract=contract,
            manifests=landed.output,
            snowflake_conn_id=snowflake_conn_id,
            outlets=[loaded],
            **task_arguments,
        )
        ingested >> gated
    return group
