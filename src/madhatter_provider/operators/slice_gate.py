"""The fast gate as a task of its own, for the detailed composition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from madhatter_provider.core.contracts.contract import load_contract
from madhatter_provider.core.landing.manifest import Manifest
from madhatter_provider.core.runs.recording import raise_if_held
from madhatter_provider.links.control_room import SliceLink
from madhatter_provider.operators.retrying import retry_defaults
from madhatter_provider.operators.slice_run import open_run, skip_if_replayed

if TYPE_CHECKING:
    from airflow.sdk import Context


class SliceGateOperator(BaseOperator):
    """Count a slice's rows in Snowflake, measure the contract's critical rules in one SQL, record both in the
    ledger.

    Fails when a critical rule fails, so that its outlets publish nothing; the rows stay loaded and the ledger
    says so. Fails too when retention took a part of the claim, until the loss is acknowledged. Skips what a
    replay has decided on since.

    :param contract: path of the stream's ODCS contract. (templated)
    :param manifests: manifests of the landing tasks. (templated)
    :param snowflake_conn_id: connection id of Snowflake.
    """

    template_fields: Sequence[str] = ("contract", "manifests")
    operator_extra_links = (SliceLink(),)

    def __init__(
        self, *, contract: str, manifests: Any, snowflake_conn_id: str = "snowflake_default", **kwargs: Any
    ) -> None:
        super().__init__(**retry_defaults(kwargs))
        self.contract, self.manifests, self.snowflake_conn_id = contract, manifests, snowflake_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Judge and record."""
        contract = load_contract(self.contract)
        landed = [Manifest.from_json(m) for m in self.manifests]
        manifest = Manifest.merge(landed)
        run = open_run(context, contract, self.snowflake_conn_id)
        skip_if_replayed(run, [manifest.slice])
        gate = run.judge(manifest)
        run.record_loaded(landed, gate)
        raise_if_held(contract, context["run_id"], gate, run.losses(manifest.topic, manifest.topic_id))
        return gate.as_dict()
