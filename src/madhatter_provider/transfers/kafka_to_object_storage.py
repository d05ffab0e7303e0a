"""Land a slice as typed Parquet files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from madhatter_provider.core.landing import Landing, land, landed_before
from madhatter_provider.core.offsets import Slice
from madhatter_provider.operators.retrying import retry_defaults

if TYPE_CHECKING:
    from airflow.sdk import Context

    from madhatter_provider.core.manifest import Manifest
    from madhatter_provider.hooks.kafka import KafkaSliceHook


class KafkaToObjectStorageOperator(BaseOperator):
    """Read a slice, keep what the contract allows, quarantine the rest with reasons, write Parquet under
    names made of offsets.

    Returns the manifest (JSON): files, counts, event times. Repeating it writes the same files, or nothing if
    they are there.

    :param owned: the slice, as ``KafkaClaimSliceOperator`` returns it. (templated)
    :param contract: path of the stream's ODCS contract. (templated)
    :param landing_root: URL below which files go: ``file://``, ``gs://``, ``s3://`` … (templated)
    :param kafka_config_id: connection id of Kafka.
    """

    template_fields: Sequence[str] = ("owned", "contract", "landing_root")

    def __init__(
        self,
        *,
        owned: Mapping[str, Any] | Any,
        contract: str,
        landing_root: str,
        kafka_config_id: str = "kafka_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**retry_defaults(kwargs))
        self.owned, self.contract, self.landing_root = owned, contract, landing_root
        self.kafka_config_id = kafka_config_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Land."""
        from madhatter_provider.core.contract import load_contract
        from madhatter_provider.hooks.kafka import KafkaSliceHook
        from madhatter_provider.hooks.object_store import open_store

        job = Landing(
            load_contract(self.contract),
            Slice.from_json(self.owned),
            context["run_id"],
            open_store(self.landing_root),
        )
        manifest = land_slice(job, KafkaSliceHook(self.kafka_config_id))
        self.log.info(
            "Landed %d rows, quarantined %d of %s", manifest.landed, manifest.quarantined, manifest.slice
        )
        return manifest.to_json()


def land_slice(job: Landing, kafka: KafkaSliceHook) -> Manifest:
    """Step 3 of the protocol, once."""
    return landed_before(job) or land(job, kafka.read(job.owned))
