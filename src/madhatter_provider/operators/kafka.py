"""Claim a slice: the first task of a run, and the only one that moves the position."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from madhatter_provider.core.claims import Claim, ClaimRecord, TopicBounds, take
from madhatter_provider.core.contract import load_contract
from madhatter_provider.core.crash_points import reached
from madhatter_provider.core.errors import BrokerError, ConfigurationError, TopicError
from madhatter_provider.core.offsets import Slice
from madhatter_provider.core.slice_run import raise_for_losses
from madhatter_provider.core.slice_state import DAGS_KEY, mirror_group, record_key
from madhatter_provider.operators.retrying import retry_defaults
from madhatter_provider.operators.slice_gate import open_run

if TYPE_CHECKING:
    from airflow.sdk import Context

    from madhatter_provider.core.slice_run import SliceRun
    from madhatter_provider.hooks.kafka import KafkaSliceHook

Start = str | Mapping[int, int]


class SliceClaimer(BaseOperator):
    """Base of operators that claim a slice of ``topic`` for their run.

    One task of a DAG may do this at a time; ``max_active_tis_per_dag=1`` is set and must stay.

    :param topic: topic to claim from.
    :param asset: asset whose watcher started the run; its state store holds the position.
    :param kafka_config_id: connection id of Kafka.
    :param start: where the first run of this DAG begins: ``earliest``, ``latest``, an ISO-8601 time, or
        ``{partition: offset}``.
    :param max_messages: most offsets that one run claims; the rest is left to the next run.
    """

    def __init__(
        self,
        *,
        topic: str,
        asset: Asset,
        kafka_config_id: str = "kafka_default",
        start: Start = "earliest",
        max_messages: int | None = None,
        **kwargs: Any,
    ) -> None:
        if kwargs.get("max_active_tis_per_dag", 1) != 1:
            raise ConfigurationError(
                "A claim needs max_active_tis_per_dag=1",
                where=f"task {kwargs.get('task_id')}",
                remedy="Leave it out; to land slices in parallel use task_groups.land_stream(detailed=True).",
            )
        kwargs["max_active_tis_per_dag"] = 1
        kwargs["inlets"] = [asset, *(i for i in kwargs.get("inlets") or [] if i != asset)]
        super().__init__(**retry_defaults(kwargs))
        self.topic, self.asset, self.kafka_config_id = topic, asset, kafka_config_id
        self.start, self.max_messages = start, max_messages
        self.split = 1

    def claim(self, context: Context, kafka: KafkaSliceHook, ledger: SliceRun | None = None) -> Claim:
        """Steps 1 and 2 of the protocol: this run's slice, the same at every call.

        :raises AirflowSkipException: nothing is pending.
        """
        dag_id, run_id = context["dag"].dag_id, context["run_id"]
        store: Any = context["asset_state_store"][self.asset]
        stored = store.get(record_key(dag_id))
        record = None if stored is None else ClaimRecord.from_json(stored)
        known = record is not None and record.of(run_id) is not None
        if ledger is not None and not known and context["ti"].try_number > 1:
            owned = ledger.recorded_claim()
            if owned is not None:
                self.log.info("Claim of an earlier try, from the ledger: %s", owned)
                return Claim(run_id, owned, Slice(owned.topic, owned.topic_id))
        bounds = kafka.bounds(self.topic)
        first = self._first(kafka, bounds, dag_id, ledger) if record is None else None
        new, claim = take(record, run_id, bounds, first=first, max_messages=self.max_messages)
        if new != record:
            reached("claim.before_store")
            store.set(record_key(dag_id), new.to_json())
            reached("claim.after_store")
            self._register(store, dag_id)
            self._mirror(kafka, dag_id, new)
            reached("claim.after_mirror")
        if not len(claim.slice) and not len(claim.lost):
            raise AirflowSkipException(f"Nothing new in {self.topic}")
        self.log.info("Claimed %s: %d offsets", claim.slice, len(claim.slice))
        if ledger is not None:
            ledger.record_claim(claim, self.split)
            reached("claim.after_ledger")
        elif new != record:  # no ledger keeps the loss: the try that finds it fails, a cleared task goes on
            raise_for_losses(self.topic, run_id, claim.lost)
        return claim

    def _first(
        self, kafka: KafkaSliceHook, bounds: TopicBounds, dag_id: str, ledger: SliceRun | None
    ) -> dict[int, int]:
        """Where to begin without a record: where the mirror or the ledger says this DAG was, else where
        ``start`` says.
        """
        partitions = sorted(bounds.ends)
        mirrored = kafka.mirrored_position(mirror_group(dag_id), self.topic, bounds.topic_id, partitions)
        recorded = ledger.recorded_position(bounds.topic_id) if ledger is not None else {}
        known = {p: max(mirrored.get(p, 0), recorded.get(p, 0)) for p in {*mirrored, *recorded}}
        if known:
            self.log.warning("Airflow has no position of %s in %s; restored %s", dag_id, self.topic, known)
            return known
        return first_offsets(self.start, kafka, bounds)

    def _register(self, store: Any, dag_id: str) -> None:
        """The watcher must know which positions to look at."""
        dags = store.get(DAGS_KEY, [])
        if dag_id not in dags:
            store.set(DAGS_KEY, sorted({*dags, dag_id}))

    def _mirror(self, kafka: KafkaSliceHook, dag_id: str, record: ClaimRecord) -> None:
        try:
            kafka.mirror_position(mirror_group(dag_id), self.topic, record.topic_id, record.position)
        except (BrokerError, TopicError) as err:
            # The mirror is a convenience: the claim is stored, the run goes on.
            self.log.warning("Position not mirrored to the group %s: %s", mirror_group(dag_id), err)


def first_offsets(start: Start, kafka: KafkaSliceHook, bounds: TopicBounds) -> dict[int, int]:
    """Offsets that ``start`` means.

    :raises ConfigurationError: ``start`` is none of the accepted forms.
    """
    if isinstance(start, Mapping):
        return {
            p: min(max(int(start.get(p, bounds.starts[p])), bounds.starts[p]), end)
            for p, end in bounds.ends.items()
        }
    if start == "earliest":
        return dict(bounds.starts)
    if start == "latest":
        return dict(bounds.ends)
    try:
        moment = datetime.fromisoformat(start)
    except ValueError as err:
        raise ConfigurationError(
            f"start={start!r} is not understood",
            where=f"topic {bounds.topic}",
            remedy="Use earliest, latest, an ISO-8601 time with zone, or {partition: offset}.",
        ) from err
    if moment.tzinfo is None:
        raise ConfigurationError(
            f"start={start!r} has no time zone",
            where=f"topic {bounds.topic}",
            remedy="Add Z or an offset such as +01:00.",
        )
    return kafka.offsets_at(bounds.topic, sorted(bounds.ends), int(moment.timestamp() * 1000))


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
        return [piece.to_json() for piece in claim.slice.split(self.split)]
