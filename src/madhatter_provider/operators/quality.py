"""The deep gate: Great Expectations over everything that was loaded and not yet looked at."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, AssetAlias, BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from madhatter_provider.core.contracts.contract import Contract, load_contract
from madhatter_provider.core.errors import GateFailed, SqlError
from madhatter_provider.core.warehouse import ledger
from madhatter_provider.core.warehouse.ledger import LedgerRow
from madhatter_provider.core.warehouse.suite import (
    StreamRound,
    compile_suite,
    record_results,
    recorded_decisions,
    rows_query,
)
from madhatter_provider.links.control_room import QualityLink
from madhatter_provider.operators.retrying import retry_defaults

if TYPE_CHECKING:
    from airflow.sdk import Context

    from madhatter_provider.hooks.snowflake_rest import SnowflakeRest


class QualityGateOperator(BaseOperator):
    """One round of the deep gate: all loaded, not yet judged ranges of several streams, in one process.

    The steps; a try that died is repeated from where it stopped, a retry changes no judgement:

    1. Ask the ledger for ranges that are loaded and not deep-gated. None, and none judged by this run:
       skip, before Great Expectations is imported.
    2. Per stream: check exactly those rows against the suite compiled from the contract; write the page.
    3. Per stream: record the results, then the judgement in the ledger. A stream that could not be checked (a
       column is missing, say) stays unjudged and does not stop the others; its decision is ``error``.
    4. Publish the verified assets of the streams that passed (or passed with warnings), through an asset
       alias: events of a task's outlets would be published for all streams or for none.

    A failed stream does not fail this task, or the others' assets would be held back with it: let
    :class:`QualityVerdictOperator` follow.

    :param contracts: paths of the streams' ODCS contracts. (templated)
    :param verified: asset to publish by stream.
    :param alias: name of the asset alias.
    :param report_root: URL below which the pages go, ``<stream>/<run id>.html``; none are written
        without. (templated)
    :param snowflake_conn_id: connection id of Snowflake.
    :param limit: most ranges in one round; the rest is for the next.
    """

    template_fields: Sequence[str] = ("contracts", "report_root")
    operator_extra_links = (QualityLink(),)

    def __init__(
        self,
        *,
        contracts: Sequence[str],
        verified: Mapping[str, Asset] | None = None,
        alias: str = "verified_streams",
        report_root: str | None = None,
        snowflake_conn_id: str = "snowflake_default",
        limit: int = 10_000,
        **kwargs: Any,
    ) -> None:
        self._alias = AssetAlias(alias)
        if verified:
            kwargs["outlets"] = [*kwargs.get("outlets", ()), self._alias]
        super().__init__(**retry_defaults(kwargs))
        self.contracts, self.verified, self.report_root = contracts, dict(verified or {}), report_root
        self.snowflake_conn_id, self.limit = snowflake_conn_id, limit

    def execute(self, context: Context) -> dict[str, dict[str, Any]]:
        """Run the round and return what it decided, by stream."""
        from madhatter_provider.hooks.snowflake_rest import SnowflakeRestHook

        contracts = {c.stream: c for c in map(load_contract, self.contracts)}
        with SnowflakeRestHook(self.snowflake_conn_id).client as sql:
            errors = self._round(sql, contracts, context)
            found = sql.execute(*recorded_decisions(context["run_id"]))
        if not found and not errors:
            raise AirflowSkipException("Nothing was loaded since the last round.")
        summary = {r["STREAM"]: _decision(r) for r in found} | errors
        for stream, decision in summary.items():
            self._publish(context, stream, decision)
        return summary

    def _round(
        self, sql: SnowflakeRest, contracts: Mapping[str, Contract], context: Context
    ) -> dict[str, dict[str, Any]]:
        """Judge every stream; decisions of those that could not be checked."""
        from madhatter_provider.hooks.great_expectations import GreatExpectationsHook

        pending: dict[str, list[LedgerRow]] = {}
        for row in sql.execute(*ledger.not_deep_gated(list(contracts), self.limit)):
            pending.setdefault(row["STREAM"], []).append(LedgerRow.from_row(row))
        hook = GreatExpectationsHook(self.snowflake_conn_id)
        errors: dict[str, dict[str, Any]] = {}
        for stream, rows in pending.items():
            try:
                done = self._check(hook, StreamRound(contracts[stream], tuple(rows)), context["run_id"])
            except SqlError as err:
                self.log.exception("%s could not be checked", stream)
                errors[stream] = {
                    "decision": "error",
                    "broken": [err.what],
                    "ranges": len(rows),
                    "report": None,
                }
                continue
            if done.outcomes:
                sql.execute(*record_results(done, context["dag"].dag_id, context["run_id"]))
            judged = [dataclasses.replace(r, deep_gate=done.decision, deep_gated_at=None) for r in rows]
            sql.execute(*ledger.record(judged))
            self.log.info(
                "%s: %s over %d ranges %s", stream, done.decision, len(rows), ", ".join(done.broken)
            )
        return errors

    def _check(self, hook: Any, wanted: StreamRound, round_id: str) -> StreamRound:
        """The outcomes. Ranges without any row have none: there is nothing that could be wrong."""
        if not sum(r.rows_loaded or 0 for r in wanted.rows):
            return wanted
        contract = wanted.contract
        query = rows_query(contract, wanted.rows)
        outcomes, page = hook.check(contract.stream, query, compile_suite(contract))
        return dataclasses.replace(
            wanted,
            outcomes=tuple(outcomes),
            report=self._write(f"{contract.stream}/{_file_name(round_id)}.html", page),
        )

    def _write(self, path: str, page: str) -> str:
        if not self.report_root:
            return ""
        from madhatter_provider.hooks.object_store import open_store

        open_store(self.report_root).write(path, page.encode())
        return f"{self.report_root.rstrip('/')}/{path}"

    def _publish(self, context: Context, stream: str, decision: Mapping[str, Any]) -> None:
        if decision["decision"] in ("pass", "warn") and (asset := self.verified.get(stream)):
            context["outlet_events"][self._alias].add(asset, extra={"stream": stream, **decision})


class QualityVerdictOperator(BaseOperator):
    """Fail when a stream failed the deep gate. Goes behind :class:`QualityGateOperator`, which has published
    the others.

    :param summary: what the gate returned. (templated)
    :raises GateFailed: a critical expectation failed; the message names streams and expectations.
    """

    template_fields: Sequence[str] = ("summary",)

    def __init__(self, *, summary: Any, **kwargs: Any) -> None:
        super().__init__(**retry_defaults(kwargs))
        self.summary = summary

    def execute(self, context: Context) -> None:
        """Look at the summary."""
        failed = {s: d for s, d in self.summary.items() if d["decision"] in ("fail", "error")}
        if failed:
            raise GateFailed(
                "; ".join(f"{stream}: {', '.join(d['broken'])}" for stream, d in failed.items()),
                where=f"deep gate, run {context['run_id']}",
                remedy="See the page named in the gate's result and OPS.QUALITY_RESULTS; these verified "
                "assets were not published. Mend rows or contract, set DEEP_GATE to NULL, run again.",
            )


def _decision(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "decision": row["DECISION"],
        "broken": [b for b in (row["BROKEN"] or "").split(",") if b],
        "ranges": row["RANGES"],
        "report": row["REPORT"],
    }


def _file_name(round_id: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", round_id)
