"""``madhatter audit``: compare what all places say of a stream, and mend what differs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from madhatter_provider.cli.connections import (
    CONTRACTS,
    ContractsOption,
    KafkaOption,
    LandingOption,
    SnowflakeOption,
    contract_of,
    moment,
    person,
    snowflake,
)
from madhatter_provider.cli.replay import (
    BootstrapOption,
    ConfigFileOption,
    RegistryOption,
    TombstonesOption,
    kafka_connection,
    new_id,
)
from madhatter_provider.core.errors import ConfigurationError

if TYPE_CHECKING:
    from rich.console import Console

    from madhatter_provider.cli.airflow_state import AirflowState
    from madhatter_provider.cli.audit_gather import Sources
    from madhatter_provider.core.audit.model import Evidence, Finding, Patience
    from madhatter_provider.core.audit.plan import Action
    from madhatter_provider.core.audit.repair import Repair

_MOST_LINES = 200
_STATEMENT_SECONDS = 3600.0
_PING_SECONDS = 20.0


def audit(
    streams: Annotated[list[str] | None, typer.Argument(help="Streams.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All streams that have a contract.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    repair: Annotated[bool, typer.Option("--repair", help="Show the plan, ask, and carry it out.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --repair: do not ask.")] = False,
    since: Annotated[
        str | None, typer.Option(help="Only what was claimed since this time (2026-11-24T09:30:00Z).")
    ] = None,
    contents: Annotated[
        bool, typer.Option("--contents", help="Read landing files whole: is their content what was landed?")
    ] = False,
    dag_id: Annotated[
        str | None, typer.Option(help="DAG that lands the stream.  [default: land_<stream>]")
    ] = None,
    with_dag: Annotated[
        list[str] | None, typer.Option(help="Another DAG that claims from the topic; may be repeated.")
    ] = None,
    patience_minutes: Annotated[float, typer.Option(min=0, help="A claim may take this long to load.")] = 60,
    deep_gate_hours: Annotated[
        float, typer.Option(min=0, help="The deep gate may take this long; 0: there is none.")
    ] = 24,
    airflow_url: Annotated[
        str | None, typer.Option(envvar="MADHATTER_AIRFLOW_URL", help="Airflow's API server.")
    ] = None,
    airflow_user: Annotated[str | None, typer.Option(envvar="MADHATTER_AIRFLOW_USER")] = None,
    asset: Annotated[
        str | None, typer.Option(help="Name of the topic's asset.  [default: topic_<stream>]")
    ] = None,
    contracts: ContractsOption = CONTRACTS,
    landing_root: LandingOption = None,
    snowflake_conn_id: SnowflakeOption = "snowflake_default",
    kafka_config_id: KafkaOption = "kafka_default",
    bootstrap_servers: BootstrapOption = None,
    config_file: ConfigFileOption = None,
    schema_registry_conn_id: RegistryOption = None,
    tombstones: TombstonesOption = "quarantine",
) -> None:
    """Compare broker, mirror group, position, ledger, landing files and rows of a stream, and say how to mend
    what differs.

    Exit code 0: all agree. 1: there are differences. 2: there are none, but a place could not be looked at.
    """
    from rich.console import Console

    from madhatter_provider.core.audit.model import Patience

    names = _streams(streams or [], everything, contracts, one=bool(dag_id or asset))
    if as_json and repair:
        raise ConfigurationError("--json and --repair", remedy="Give one of them.")
    if contents and not landing_root:
        raise ConfigurationError(
            "--contents, but where landing files are is not known",
            remedy="Set MADHATTER_LANDING_ROOT, or give --landing-root.",
        )
    kafka = kafka_connection(kafka_config_id, bootstrap_servers, config_file)
    patience = Patience(load=patience_minutes * 60, deep_gate=deep_gate_hours * 3600)
    results = []
    for stream in names:
        airflow = _airflow(airflow_url, airflow_user, asset or f"topic_{stream}")
        with _auditing(
            stream, contracts, landing_root, snowflake_conn_id, kafka, airflow,
            dag_id or f"land_{stream}", with_dag or [], patience, moment(since), contents,
        ) as sources:  # fmt: skip
            console = Console(soft_wrap=True, quiet=as_json)
            job = Audit(sources, console, schema_registry_conn_id, tombstones)
            results.append(job.run(repair=repair, yes=yes))
    if as_json:
        typer.echo(json.dumps([r for r, _ in results], indent=1))
    # A difference is worse than a place that did not answer.
    codes = {code for _, code in results}
    raise typer.Exit(next((code for code in (1, 2) if code in codes), 0))


def _streams(given: Sequence[str], everything: bool, contracts: Path, *, one: bool) -> list[str]:
    from madhatter_provider.core.contracts.contract import load_contracts

    if everything == bool(given):
        raise ConfigurationError("Which stream?", remedy="Name streams, or give --all.")
    names = sorted(load_contracts(contracts)) if everything else list(given)
    if one and len(names) > 1:
        raise ConfigurationError(
            "--dag-id and --asset are of one stream", where=", ".join(names), remedy="Name one stream."
        )
    return names


def _airflow(url: str | None, user: str | None, asset: str) -> AirflowState | None:
    if url is None:
        return None
    from madhatter_provider.cli.airflow_state import AirflowState

    env = os.environ.get
    return AirflowState(url, asset, env("MADHATTER_AIRFLOW_TOKEN"), user, env("MADHATTER_AIRFLOW_PASSWORD"))


@contextmanager
def _auditing(
    stream: str,
    contracts: Path,
    landing_root: str | None,
    snowflake_conn_id: str,
    kafka_config_id: str,
    airflow: AirflowState | None,
    dag_id: str,
    others: Sequence[str],
    patience: Patience,
    since: datetime | None,
    contents: bool,
) -> Iterator[Sources]:
    contract = contract_of(stream, contracts)
    from madhatter_provider.cli.audit_gather import Sources
    from madhatter_provider.hooks.kafka import KafkaSliceHook

    profile = snowflake_conn_id
    with snowflake(profile, _STATEMENT_SECONDS) as sql, snowflake(profile, _PING_SECONDS) as probe:
        yield Sources(
            contract, sql, lambda: probe.execute("SELECT 1"), KafkaSliceHook(kafka_config_id), landing_root,
            airflow, dag_id, tuple(others), patience, since, contents,
        )  # fmt: skip


class Audit:
    """One stream's audit."""

    def __init__(
        self,
        sources: Sources,
        console: Console,
        registry: str | None = None,
        tombstones: str = "quarantine",
    ) -> None:
        """For a repair: connection id of the schema registry, and what becomes of tombstones."""
        self.sources, self.console = sources, console
        self._registry, self._tombstones = registry, tombstones

    def run(self, *, repair: bool, yes: bool) -> tuple[dict[str, Any], int]:
        """Look, show, and if wanted mend and look again: the result, and the exit code."""
        from madhatter_provider.core.audit.report import as_dict

        evidence, findings, actions = self._look()
        if repair and any(a.repairs for a in actions):
            if not yes:
                typer.confirm("Carry out this plan?", abort=True)
            job = self._repair()
            job.carry_out(actions)
            self.console.print("\nAnd now:")
            evidence, findings, actions = self._look()
            if job.failed:
                self.console.print(f"[red]{len(job.failed)} actions failed[/]")
        return as_dict(evidence, findings, actions), self._code(evidence, findings)

    def _look(self) -> tuple[Evidence, list[Finding], list[Action]]:
        from madhatter_provider.core.audit.findings import compare
        from madhatter_provider.core.audit.plan import plan

        evidence = self.sources.gather()
        findings = compare(evidence)
        actions = plan(evidence, findings)
        self._show(evidence, findings, actions)
        return evidence, findings, actions

    def _code(self, evidence: Evidence, findings: Sequence[Finding]) -> int:
        from madhatter_provider.core.audit.model import Place
        from madhatter_provider.core.audit.report import exit_code

        asked: list[Place] = ["broker", "mirror", "ledger", "snowflake"]
        if self.sources.landing_root is not None:
            asked.append("landing")
        if self.sources.airflow is not None:
            asked.append("airflow")
        return exit_code(evidence, findings, asked=asked)

    def _repair(self) -> Repair:
        from madhatter_provider.core.audit.repair import Repair
        from madhatter_provider.core.slices.state import mirror_group
        from madhatter_provider.hooks.landing_listing import remove_scratch
        from madhatter_provider.hooks.object_store import open_store
        from madhatter_provider.hooks.schema_registry import open_schemas

        sources = self.sources
        root, kafka, topic = sources.landing_root, sources.kafka, sources.contract.topic
        if root is None:
            raise ConfigurationError(
                "A repair needs the landing root",
                where=f"stream {sources.contract.stream}",
                remedy="Set MADHATTER_LANDING_ROOT, or give --landing-root.",
            )

        def set_mirror(dag_id: str, topic_id: str, position: Mapping[int, int]) -> None:
            kafka.mirror_position(mirror_group(dag_id), topic, topic_id, position, back=True)

        return Repair(
            sources.contract, sources.sql, kafka, open_store(root), person(), new_id, set_mirror,
            self._set_position, lambda: remove_scratch(root, sources.patience.scratch),
            open_schemas(sources.contract, self._registry), self._tombstones,
            lambda line: self.console.print(line, markup=False),
        )  # fmt: skip

    def _set_position(self, dag_id: str, topic_id: str, position: Mapping[int, int]) -> None:
        """Never backwards: a run may have claimed since the audit looked."""
        from madhatter_provider.core.slices.claims import ClaimRecord

        airflow = self.sources.airflow
        if airflow is None:
            raise ConfigurationError("Airflow was not looked at", remedy="Give --airflow-url.")
        now = airflow.record(dag_id)
        if now is None or now.topic_id != topic_id:
            airflow.store(dag_id, ClaimRecord(self.sources.contract.topic, topic_id, dict(position)))
            return
        known = {p: max(now.position.get(p, 0), position.get(p, 0)) for p in {*now.position, *position}}
        airflow.store(dag_id, ClaimRecord(now.topic, topic_id, known, now.claims, now.forgotten, now.cuts))

    def _show(self, evidence: Evidence, findings: Sequence[Finding], actions: Sequence[Action]) -> None:
        from rich.table import Table

        from madhatter_provider.core.audit.report import lines

        colours = {"agree": "green", "differ": "red", "not looked at": "yellow"}
        table = Table(title=f"Stream {evidence.stream}, topic id {evidence.topic_id or 'unknown'}")
        for name in ("", "", "looked at", "found"):
            table.add_column(name)
        for line in lines(evidence, findings):
            table.add_row(
                line.check, f"[{colours[line.verdict]}]{line.verdict}[/]", line.looked_at, line.found
            )
        self.console.print(table)
        self._list("Findings", [f"{f.kind} {' '.join(map(str, f.owned)) or '-'}: {f.said}" for f in findings])
        self._list("Plan", [str(a) for a in actions])

    def _list(self, title: str, rows: Sequence[str]) -> None:
        if rows:
            self.console.print(f"\n[bold]{title}[/]")
        for row in rows[:_MOST_LINES]:
            self.console.print(f"  {row}", markup=False, highlight=False)
        if len(rows) > _MOST_LINES:
            self.console.print(f"  … and {len(rows) - _MOST_LINES} more: --json lists all")
