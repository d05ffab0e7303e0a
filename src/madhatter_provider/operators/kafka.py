"""Claim a slice: the first task of a run, and the only one that moves the position."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, BaseOperator

from madhatter_provider.core.contracts.contract import load_contract
from madhatter_provider.core.runs.recording import raise_for_losses
from madhatter_provider.core.slices.claim_options import ClaimOptions, OnStateLost, Start
from madhatter_provider.core.slices.claims import Claim
from madhatter_provider.links.control_room import SliceLink
from madhatter_provider.operators.claim import (
    claim_or_skip,
    claimer_arguments,
    claiming,
    refuse_second_claimer,
)
from madhatter_provider.operators.slice_run import open_run, skip_if_replayed

if TYPE_CHECKING:
    from airflow.sdk import Context

    from madhatter_provider.core.runs.recording import SliceRun
    from madhatter_provider.hooks.kafka import KafkaSliceHook


class SliceClaimer(BaseOperator):
    """Base of operators that claim a slice of ``topic`` for their run.

    One task of a DAG may do this at a time; ``max_active_tis_per_dag=1`` is set and must stay.

    :param topic: topic to claim from.
    :param asset: asset whose watcher started the run; its state store holds the position.
    :param kafka_config_id: connection id of Kafka.
    :param start: where the first run of this DAG begins: ``earliest``, ``latest``, an ISO-8601 time with
        zone, or ``{partition: offset}``.
    :param max_messages: most offsets that one run claims; the rest is left to the next run.
    :param max_bytes: about the most bytes that one run claims, estimated from the first messages of each
        partition; at least one message.
    :param on_state_lost: when Airflow has lost the position: ``restore`` it from the mirror group or the
        ledger, ``fail``, or ``start`` as the first run did.
    :raises ConfigurationError: an option means nothing, or another task of the DAG claims from this asset.
    """

    def __init__(
        self,
        *,
        topic: str,
        asset: Asset,
        kafka_config_id: str = "kafka_default",
        start: Start = "earliest",
        max_messages: int | None = None,
        max_bytes: int | None = None,
        on_state_lost: OnStateLost = "restore",
        **kwargs: Any,
    ) -> None:
        super().__init__(**claimer_arguments(asset, kwargs))
        self.topic, self.claims_from, self.kafka_config_id = topic, asset, kafka_config_id
        self.options = ClaimOptions(
            topic=topic,
            start=start,
            max_messages=max_messages,
            max_bytes=max_bytes,
            on_state_lost=on_state_lost,
        )
        self.split = 1
        refuse_second_claimer(self, asset)

    def claim(
        self,
        context: Context,
        kafka: KafkaSliceHook,
        ledger: SliceRun | None = None,
        *,
        again: bool = False,
    ) -> Claim:
        """Steps 1 and 2 of the protocol: this run's slice, the same at every call.

        :param again: this try has claimed before, and was deferred.
        :raises AirflowSkipException: nothing is pending, or a replay has decided on the slice since.
        :raises LostRangeError: something is lost, and no later step will say so.
        """
        options = dataclasses.replace(self.options, topic=self.topic)
        mine = claiming(context, self.claims_from, options, kafka, ledger, self.split)
        claim = claim_or_skip(mine)
        self.log.info("Claimed %s: %d offsets", claim.slice, len(claim.slice))
        if ledger is None:
            mine.say_losses_once(claim)
        elif again or context["ti"].try_number > 1:
            skip_if_replayed(ledger, [claim.slice])
        return claim


class KafkaClaimSliceOperator(SliceClaimer):
    """Claim a slice and return it, split for mapped landing tasks.

    Returns a list of slices as JSON (at most ``split``), to be given to
    ``KafkaToObjectStorageOperator.expand``. Skips when nothing is pending.

    :param contract: path of the stream's ODCS contract; with ``snowflake_conn_id``, the claim is recorded in
        the ledger.
    :param snowflake_conn_id: connection id of Snowflake.
    :param split: number of landing tasks to split the slice among.
    """

    template_fields: Sequence[str] = ("topic", "contract")
    operator_extra_links = (SliceLink(),)

    def __init__(
        self,
        *,
        contract: str | None = None,
        snowflake_conn_id: str | None = None,
        split: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.contract, self.snowflake_conn_id = contract, snowflake_conn_id
        self.split = split

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Claim."""
        from madhatter_provider.hooks.kafka import KafkaSliceHook

        ledger = None
        if self.contract and self.snowflake_conn_id:
            ledger = open_run(context, load_contract(self.contract), self.snowflake_conn_id)
        claim = self.claim(context, KafkaSliceHook(self.kafka_config_id), ledger)
        if ledger is not None and not len(claim.slice):  # no gate will come to say it
            lost = ledger.losses(claim.lost.topic, claim.lost.topic_id)
            raise_for_losses(ledger.contract.stream, claim.run_id, lost)
        # As it was split when it was claimed: other parts would be other files.
        return [piece.to_json() for piece in claim.slice.split(claim.parts or self.split)]
