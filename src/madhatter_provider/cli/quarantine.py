"""``madhatter quarantine``: look at the messages that were not loaded, and judge them again."""

from __future__ import annotations

from typing import Annotated

import typer

from madhatter_provider.cli.connections import (
    CONTRACTS,
    ContractsOption,
    LandingOption,
    SnowflakeOption,
    contract_of,
    person,
    snowflake,
)
from madhatter_provider.cli.replay import (
    DryRunOption,
    IdOption,
    Options,
    ReasonOption,
    RegistryOption,
    TombstonesOption,
    conclude,
    replaying,
    say_how_to_go_on,
)

app = typer.Typer(no_args_is_help=True, help="Messages that were not loaded, and why.")

_Stream = Annotated[str, typer.Argument(help="Stream.")]
_Rules = Annotated[
    list[str] | None, typer.Option("--rule", help="Only what this rule holds back; repeat it for several.")
]
_Since = Annotated[str | None, typer.Option(help="Only messages since this time (2026-11-24T09:30:00Z).")]


@app.command("list")
def count(
    stream: _Stream,
    rule: _Rules = None,
    since: _Since = None,
    contracts: ContractsOption = CONTRACTS,
    snowflake_conn_id: SnowflakeOption = "snowflake_default",
) -> None:
    """Which rules hold back how many messages."""
    from rich.console import Console
    from rich.table import Table

    from madhatter_provider.core.replay.quarantine import Selection, count_by_rule

    chosen = Selection.of(contract_of(stream, contracts).stream, rule or (), since)
    with snowflake(snowflake_conn_id) as sql:
        held = count_by_rule(sql, chosen)
    if not held:
        typer.echo(f"No message of {stream} is in quarantine.")
        return
    table = Table("Rule", "Column", "Contract", "Rows", "First", "Last", "Example")
    for h in held:
        first, last = (t.isoformat(timespec="seconds") if t else "" for t in (h.first, h.last))
        table.add_row(h.rule, h.column or "", h.contract_version, str(h.rows), first, last, h.example)
    Console().print(table)


@app.command()
def show(
    stream: _Stream,
    rule: _Rules = None,
    since: _Since = None,
    limit: Annotated[int, typer.Option(min=1, help="Most messages to show, the newest.")] = 20,
    contracts: ContractsOption = CONTRACTS,
    snowflake_conn_id: SnowflakeOption = "snowflake_default",
) -> None:
    """The messages themselves, as they came. They may hold personal data."""
    from madhatter_provider.core.replay import quarantine

    chosen = quarantine.Selection.of(contract_of(stream, contracts).stream, rule or (), since)
    with snowflake(snowflake_conn_id) as sql:
        rows = quarantine.show(sql, chosen, limit)
    for row in rows:
        when = row.timestamp.isoformat(timespec="milliseconds") if row.timestamp else "?"
        typer.echo(f"{row.partition}:{row.offset} {when} key={row.key} run={row.run_id}")
        typer.echo(f"  {row.rule}: {row.reason} (contract {row.contract_version})")
        typer.echo(f"  {row.text}")
    typer.echo(f"{len(rows)} shown")


@app.command("replay")
def again(
    stream: _Stream,
    rule: _Rules = None,
    since: _Since = None,
    reason: ReasonOption = "",
    dry_run: DryRunOption = False,
    replay_id: IdOption = None,
    contracts: ContractsOption = CONTRACTS,
    landing_root: LandingOption = None,
    snowflake_conn_id: SnowflakeOption = "snowflake_default",
    schema_registry_conn_id: RegistryOption = None,
    tombstones: TombstonesOption = "quarantine",
) -> None:
    """Judge messages again by the contract as it is now. Those that pass move to the stream's table, in one
    transaction; the others stay, with their new reason.
    """
    from madhatter_provider.core.replay.quarantine import Selection
    from madhatter_provider.core.replay.quarantine_replay import plan_quarantine, replay_quarantine

    options = Options(landing_root, snowflake_conn_id, "", schema_registry_conn_id, tombstones, replay_id)
    with replaying(contract_of(stream, contracts), options) as job:
        chosen = Selection.of(job.contract.stream, rule or (), since)
        if dry_run:
            typer.echo("\n".join(plan_quarantine(job, chosen).lines()))
            return
        say_how_to_go_on(job)
        conclude(replay_quarantine(job, chosen, reason=reason, who=person()))
