"""What every task that claims a slice has in common, be it an operator or a decorated function."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from airflow.sdk import Asset, BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.core.runs.claiming import Claiming, ClaimingRun
from madhatter_provider.core.slices.claim_options import ClaimOptions
from madhatter_provider.core.slices.claims import Claim
from madhatter_provider.operators.retrying import retry_defaults

if TYPE_CHECKING:
    from airflow.sdk import Context

    from madhatter_provider.core.runs.recording import SliceRun
    from madhatter_provider.hooks.kafka import KafkaSliceHook


def claimer_arguments(asset: Asset, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Operator arguments with what a claim needs: the asset among the inlets, one task at a time, the retry
    policy.

    :raises ConfigurationError: the author wants several tasks at a time.
    """
    if arguments.get("max_active_tis_per_dag", 1) != 1:
        raise ConfigurationError(
            "A claim needs max_active_tis_per_dag=1",
            where=f"task {arguments.get('task_id')}",
            remedy="Leave it out; to land slices in parallel use task_groups.land_stream(detailed=True).",
        )
    inlets = [asset, *(i for i in arguments.get("inlets") or [] if i != asset)]
    return retry_defaults({**arguments, "max_active_tis_per_dag": 1, "inlets": inlets})


def refuse_second_claimer(task: BaseOperator, asset: Asset) -> None:
    """The position belongs to the DAG: two tasks of one DAG would take each other's messages.

    :raises ConfigurationError: another task of the DAG claims from the same asset.
    """
    if not task.has_dag():
        return
    for other in task.dag.tasks:
        if other is not task and getattr(other, "claims_from", None) == asset:
            raise ConfigurationError(
                f"Two tasks claim from asset {asset.name!r}: {other.task_id} and {task.task_id}",
                where=f"DAG {task.dag.dag_id}",
                remedy="Give each its own DAG; every DAG on an asset gets all messages.",
            )


def claiming(
    context: Context,
    asset: Asset,
    options: ClaimOptions,
    kafka: KafkaSliceHook,
    ledger: SliceRun | None = None,
    parts: int = 1,
) -> Claiming:
    """The claim of the task that runs.

    :param parts: number of parts that the slice is landed in.
    """
    ti: Any = context["ti"]
    dag_run, dag_id, task_id = context["dag_run"], context["dag"].dag_id, context["task"].task_id
    if dag_run.run_type == "backfill":
        ti.log.warning("A backfill's interval says nothing to a slice: this run claims what is pending. "
                       "To read old messages again, replay them.")  # fmt: skip

    def succeeded_before() -> bool:
        return bool(ti.get_ti_count(dag_id=dag_id, task_ids=[task_id], states=["success"]))

    run = ClaimingRun(dag_id, context["run_id"], ti.try_number > 1, dag_run.run_after, succeeded_before)
    store = cast("Any", context)["asset_state_store"][asset]
    return Claiming(options, run, kafka, store, _Memory(context), ledger, parts)


def claim_or_skip(claiming: Claiming) -> Claim:
    """The claim.

    :raises AirflowSkipException: nothing is pending.
    """
    claim = claiming.claim()
    if not len(claim.slice) and not len(claim.lost):
        raise AirflowSkipException(f"Nothing new in {claiming.options.topic}")
    return claim


class _Memory:
    """This task's state in this run. Airflow's clean-up must leave it: a run may be cleared years later."""

    def __init__(self, context: Context) -> None:
        self._store: Any = cast("Any", context)["task_state_store"]

    def get(self, key: str, default: Any = None) -> Any:
        return self._store.get(key, default)

    def set(self, key: str, value: Any) -> None:
        from airflow.sdk.execution_time.context import NEVER_EXPIRE

        self._store.set(key, value, retention=NEVER_EXPIRE)
