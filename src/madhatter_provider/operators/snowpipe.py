"""Load landed files into Snowflake through Snowpipe, and wait until every row is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from madhatter_provider.core.contracts.contract import load_contract
from madhatter_provider.core.errors import ConfigurationError, LoadTimeout
from madhatter_provider.core.landing.manifest import Manifest, slices_of
from madhatter_provider.core.warehouse.ingest import Ingest, ingest, ingests_of
from madhatter_provider.hooks.snowpipe import SnowpipeHook
from madhatter_provider.links.control_room import SliceLink
from madhatter_provider.operators.retrying import retry_defaults
from madhatter_provider.operators.slice_run import run_of, skip_if_replayed
from madhatter_provider.triggers.snowpipe import SnowpipeIngestTrigger, raise_for_event

if TYPE_CHECKING:
    from airflow.sdk import Context


class SnowpipeIngestOperator(BaseOperator):
    """Hand the files of landing manifests to Snowpipe; succeed when the tables hold exactly their rows.

    Good rows go through ``RAW.<table>_PIPE``, quarantined ones through ``RAW.QUARANTINE_PIPE``. The steps are
    those of :mod:`madhatter_provider.core.warehouse.ingest`; a retry or a clear loads nothing twice, and
    skips what a replay has decided on since. Claimed ranges are ``landed`` in the ledger from now on, and
    ``LANDED_AT`` is this time, however long ago the files were written. The task looks at the load for
    ``defer_after`` seconds and then defers.

    :param contract: path of the stream's ODCS contract. (templated)
    :param manifests: one manifest or several, as the landing operators return them. (templated)
    :param snowflake_conn_id: connection id of Snowflake.
    :param schema: schema of tables and pipes.
    :param poll_seconds: time between two looks at the load.
    :param defer_after: seconds to wait in the worker before deferring.
    :param load_timeout: seconds until a load that did not finish fails the try.
    :raises LoadTimeout: not every row arrived in time.
    :raises LoadError: Snowflake refused a file.
    :raises ConservationError: a table does not hold exactly the rows of the files.
    """

    template_fields: Sequence[str] = ("contract", "manifests")
    operator_extra_links = (SliceLink(),)

    def __init__(
        self,
        *,
        contract: str,
        manifests: Any,
        snowflake_conn_id: str = "snowflake_default",
        schema: str = "RAW",
        poll_seconds: float = 1.0,
        defer_after: float = 20.0,
        load_timeout: float = 1800.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**retry_defaults(kwargs))
        self.contract, self.manifests, self.schema = contract, manifests, schema
        self.snowflake_conn_id = snowflake_conn_id
        self.poll_seconds, self.defer_after, self.load_timeout = poll_seconds, defer_after, load_timeout

    def execute(self, context: Context) -> dict[str, int]:
        """Hand over, wait a little, then defer if need be."""
        contract, landed = load_contract(self.contract), _manifests(self.manifests)
        wanted = ingests_of(landed, contract.table, self.schema)
        hook = SnowpipeHook(self.snowflake_conn_id)
        run = run_of(context, contract, hook.client)
        try:
            skip_if_replayed(run, slices_of(landed))
            run.record_landed(landed)
            for one in wanted:
                done = ingest(
                    hook, hook.client, one, poll_seconds=self.poll_seconds, timeout=self.defer_after
                )
                self.log.info(
                    "%s: %d rows of %d files in %.1f s", one.table, done.rows, done.files, done.seconds
                )
        except LoadTimeout as late:
            self.log.info("Deferring: %s", late.what)
            self.defer(trigger=self._trigger(wanted), method_name="finish")
        finally:
            hook.close()
        return _summary(wanted)

    def finish(self, context: Context, event: dict[str, Any]) -> dict[str, int]:
        """Go on after the trigger's event."""
        raise_for_event(event)
        return _summary([Ingest.from_json(w) for w in event["wanted"]])

    def _trigger(self, wanted: list[Ingest]) -> SnowpipeIngestTrigger:
        return SnowpipeIngestTrigger(
            wanted=[w.to_json() for w in wanted],
            snowflake_conn_id=self.snowflake_conn_id,
            poll_seconds=max(2.0, self.poll_seconds),
            timeout=self.load_timeout,
        )


def _manifests(given: Any) -> list[Manifest]:
    """Manifests of whatever a template or an XCom gave."""
    many = [given] if isinstance(given, Mapping) else list(given)
    if not all(isinstance(m, Mapping) for m in many):
        raise ConfigurationError(
            f"Not manifests: {str(given)[:200]}", remedy="Pass the landing tasks' output."
        )
    return [Manifest.from_json(m) for m in many]


def _summary(wanted: Sequence[Ingest]) -> dict[str, int]:
    """Rows by table."""
    rows: dict[str, int] = {}
    for one in wanted:
        rows[one.table] = rows.get(one.table, 0) + one.rows
    return rows
