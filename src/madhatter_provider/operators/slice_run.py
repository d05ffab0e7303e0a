"""The run of a task over its slice, as the ledger knows it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowSkipException

from madhatter_provider.core.runs.recording import SliceRun, raise_for_losses

if TYPE_CHECKING:
    from airflow.sdk import Context

    from madhatter_provider.core.contracts.contract import Contract
    from madhatter_provider.core.slices.offsets import Slice
    from madhatter_provider.core.warehouse.sql_client import Sql


def open_run(context: Context, contract: Contract, snowflake_conn_id: str) -> SliceRun:
    """The run of this task, with a connection to Snowflake."""
    from madhatter_provider.hooks.snowflake_rest import SnowflakeRestHook

    return run_of(context, contract, SnowflakeRestHook(snowflake_conn_id).client)


def run_of(context: Context, contract: Contract, sql: Sql) -> SliceRun:
    """The run of this task, over a connection that there is."""
    return SliceRun(contract, context["dag"].dag_id, context["run_id"], sql)


def skip_if_replayed(run: SliceRun, slices: Iterable[Slice]) -> None:
    """Leave alone what a replay has decided on since: the landing's files are older than what is loaded.

    :raises AirflowSkipException: it has.
    :raises LostRangeError: it has, and retention took a part of the claim, which nobody has acknowledged.
    :raises ConfigurationError: it has of a part, and the rest is not loaded.
    """
    for owned in slices:
        if run.is_replayed(owned):
            raise_for_losses(run.contract.stream, run.run_id, run.losses(owned.topic, owned.topic_id))
            raise AirflowSkipException(f"A replay has decided on {owned} since: it is left as it is")
