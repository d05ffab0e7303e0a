"""Land a slice as files in an object store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from madhatter_provider.core.landing.files import FileOptions
from madhatter_provider.core.slices.offsets import Slice
from madhatter_provider.links.control_room import SliceLink
from madhatter_provider.operators.retrying import retry_defaults
from madhatter_provider.transfers.landing_step import checked_processes, land_slice

if TYPE_CHECKING:
    from airflow.sdk import Context


class KafkaToObjectStorageOperator(BaseOperator):
    """Read a slice, keep what the contract allows, quarantine the rest with reasons, write files under names
    made of offsets.

    Returns the manifest (JSON): files, counts, event times. Repeating it writes the same files, or nothing if
    they are there.

    :param owned: the slice, as ``KafkaClaimSliceOperator`` returns it. (templated)
    :param contract: path of the stream's ODCS contract. (templated)
    :param landing_root: URL below which files go: ``file://``, ``gs://``, ``s3://`` … (templated)
    :param kafka_config_id: connection id of Kafka.
    :param schema_registry_conn_id: connection id of the schema registry, for formats that need one; default:
        ``schema_registry_default``.
    :param file_format: ``parquet`` or ``ndjson``.
    :param compression: ``zstd``, ``gzip`` or ``none``; for Parquet ``snappy`` too.
    :param validate: without it (NDJSON only) messages are written as they came.
    :param tombstones: ``quarantine``, or ``keep`` as rows with coordinates and key only.
    :param processes: processes that read and write side by side, whole partitions each.
    :raises ConfigurationError: an option is unknown, or does not go with another one.
    """

    template_fields: Sequence[str] = ("owned", "contract", "landing_root")
    operator_extra_links = (SliceLink(),)

    def __init__(
        self,
        *,
        owned: Mapping[str, Any] | Any,
        contract: str,
        landing_root: str,
        kafka_config_id: str = "kafka_default",
        schema_registry_conn_id: str | None = None,
        file_format: str = "parquet",
        compression: str = "zstd",
        validate: bool = True,
        tombstones: str = "quarantine",
        processes: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**retry_defaults(kwargs))
        self.owned, self.contract, self.landing_root = owned, contract, landing_root
        self.kafka_config_id, self.schema_registry_conn_id = kafka_config_id, schema_registry_conn_id
        self.file_format, self.compression = file_format, compression
        self.validate, self.tombstones = validate, tombstones
        self.processes = checked_processes(processes)
        self._options()

    def _options(self) -> FileOptions:
        return FileOptions(self.file_format, self.compression, self.validate, self.tombstones)

    def execute(self, context: Context) -> dict[str, Any]:
        """Land."""
        from madhatter_provider.core.contracts.contract import load_contract
        from madhatter_provider.core.landing.land import Landing
        from madhatter_provider.hooks.kafka import KafkaSliceHook
        from madhatter_provider.hooks.object_store import open_store
        from madhatter_provider.hooks.schema_registry import open_schemas

        contract = load_contract(self.contract)
        job = Landing(
            contract,
            Slice.from_json(self.owned),
            context["run_id"],
            open_store(self.landing_root),
            self._options(),
            open_schemas(contract, self.schema_registry_conn_id),
        )
        kafka = KafkaSliceHook(self.kafka_config_id)
        return land_slice(job, kafka, processes=self.processes).to_json()
