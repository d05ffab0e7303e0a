"""From a slice of a topic to gated rows in Snowflake, in one task: a task start costs more than most slices
do.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from madhatter_provider.core.contracts.contract import load_contract
from madhatter_provider.core.errors import LoadError, LoadTimeout
from madhatter_provider.core.landing.files import FileOptions
from madhatter_provider.core.landing.land import Landing
from madhatter_provider.core.runs.recording import raise_if_held
from madhatter_provider.links.control_room import SliceLink
from madhatter_provider.operators.kafka import SliceClaimer
from madhatter_provider.operators.slice_run import open_run
from madhatter_provider.transfers.landing_step import checked_processes, land_slice
from madhatter_provider.triggers.snowpipe import SnowpipeIngestTrigger, raise_for_event

if TYPE_CHECKING:
    from airflow.sdk import Context

    from madhatter_provider.core.landing.manifest import Manifest
    from madhatter_provider.core.runs.recording import SliceRun


class KafkaToSnowflakeOperator(SliceClaimer):
    """Claim a slice, land it, ingest it through Snowpipe, pass it through the fast gate, record it in the
    ledger.

    The steps are those of docs/slice-protocol.md. Each is idempotent: wherever a try died, the next one goes
    on there. The task polls briefly for the load and defers when it takes longer. Its outlets publish only if
    the gate passes.

    :param contract: path of the stream's ODCS contract. (templated)
    :param landing_root: URL below which landing files go; the Snowflake stage points there. (templated)
    :param snowflake_conn_id: connection id of Snowflake.
    :param schema_registry_conn_id: connection id of the schema registry, for formats that need one; default:
        ``schema_registry_default``.
    :param tombstones: ``quarantine``, or ``keep`` as rows with coordinates and key only.
    :param processes: processes that read and write side by side, whole partitions each.
    :param poll_seconds: time between two looks at the load.
    :param defer_after: seconds to wait for the load in the worker before deferring.
    :param load_timeout: seconds until a load that did not finish fails the try.

    Takes ``topic``, ``asset``, ``kafka_config_id``, ``start``, ``max_messages``, ``max_bytes`` and
    ``on_state_lost`` of :class:`SliceClaimer` too.
    """

    template_fields: Sequence[str] = ("topic", "contract", "landing_root")
    operator_extra_links = (SliceLink(),)

    def __init__(
        self,
        *,
        contract: str,
        landing_root: str,
        snowflake_conn_id: str = "snowflake_default",
        schema_registry_conn_id: str | None = None,
        tombstones: str = "quarantine",
        processes: int = 1,
        poll_seconds: float = 0.3,
        defer_after: float = 20.0,
        load_timeout: float = 1800.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.contract, self.landing_root, self.snowflake_conn_id = contract, landing_root, snowflake_conn_id
        self.schema_registry_conn_id, self.tombstones = schema_registry_conn_id, tombstones
        self.processes = checked_processes(processes)
        FileOptions(tombstones=tombstones)
        self.poll_seconds, self.defer_after, self.load_timeout = poll_seconds, defer_after, load_timeout

    def execute(self, context: Context) -> dict[str, Any]:
        """Do all steps."""
        return self._steps(context)

    def _steps(self, context: Context, *, again: bool = False) -> dict[str, Any]:
        from madhatter_provider.hooks.kafka import KafkaSliceHook
        from madhatter_provider.hooks.object_store import open_store
        from madhatter_provider.hooks.schema_registry import open_schemas

        contract = load_contract(self.contract)
        kafka = KafkaSliceHook(self.kafka_config_id)
        run = open_run(context, contract, self.snowflake_conn_id)
        claim = self.claim(context, kafka, run, again=again)
        job = Landing(
            contract,
            claim.slice,
            context["run_id"],
            open_store(self.landing_root),
            FileOptions(tombstones=self.tombstones),
            open_schemas(contract, self.schema_registry_conn_id),
        )
        # Of a slice loaded long ago neither files nor messages need be left: the ingest counts its rows.
        manifest = land_slice(job, kafka, processes=self.processes, loaded_is_enough=True)
        landed_at = datetime.now(UTC)
        self._ingest(manifest, run, landed_at)
        gate = run.judge(manifest)
        run.record_loaded([manifest], gate, landed_at)
        cpu = time.process_time()
        self.log.info("Loaded %d rows; gate: %s; CPU %.2f s", manifest.landed, gate.decision, cpu)
        lost = run.losses(claim.lost.topic, claim.lost.topic_id) if len(claim.lost) else claim.lost
        raise_if_held(contract, context["run_id"], gate, lost)
        return {"slice": claim.slice.to_json(), "quarantined": manifest.quarantined, **gate.as_dict()}

    def resume(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Go on after the deferral: the same steps, of which the finished ones cost next to nothing."""
        raise_for_event(event)
        return self._steps(context, again=True)

    def _ingest(self, manifest: Manifest, run: SliceRun, landed_at: datetime) -> None:
        from madhatter_provider.core.warehouse.ingest import ingest, ingests_of
        from madhatter_provider.hooks.snowpipe import SnowpipeHook

        pipes = SnowpipeHook(self.snowflake_conn_id).pipes
        wanted = ingests_of([manifest], run.contract.table)
        try:
            for one in wanted:
                ingest(pipes, run.sql, one, poll_seconds=self.poll_seconds, timeout=self.defer_after)
        except LoadError:
            run.record_landed([manifest], landed_at)  # for those who look why it is not loaded
            raise
        except LoadTimeout as late:
            self.log.info("Deferring: %s", late.what)
            run.record_landed([manifest], landed_at)
            trigger = SnowpipeIngestTrigger(
                [w.to_json() for w in wanted],
                self.snowflake_conn_id,
                poll_seconds=max(2.0, self.poll_seconds),
                timeout=self.load_timeout,
            )
            self.defer(trigger=trigger, method_name="resume")
        finally:
            pipes.close()
