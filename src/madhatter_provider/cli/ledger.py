"""``madhatter ledger``: look at the ledger of slices, and acknowledge losses."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import typer

from madhatter_provider.cli.connections import (
    CONTRACTS,
    ContractsOption,
    SnowflakeOption,
    contract_of,
    moment,
    person,
    snowflake,
)
from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.core.slices.offsets import OffsetRange, Slice

app = typer.Typer(no_args_is_help=True, help="The ledger of slices.")

_Stream = Annotated[str, typer.Argument(help="Stream.")]
_Json = Annotated[bool, typer.Option("--json", help="For programs.")]
_RANGE = re.compile(r"(\d+):(\d+)-(\d+)")


@app.command()
def show(
    stream: _Stream,
    state: Annotated[
        list[str] | None, typer.Option(help="Only claimed, lost, landed or loaded; may be repeated.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="Only what was claimed since this time (2026-11-24T09:30:00Z).")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most ranges, the newest.")] = 100,
    as_json: _Json = False,
    contracts: ContractsOption = CONTRACTS,
    snowflake_conn_id: SnowflakeOption = "snowflake_default",
) -> None:
    """Ranges, the newest first."""
    from madhatter_provider.core.warehouse.ledger import recent

    contract_of(stream, contracts)
    with snowflake(snowflake_conn_id) as sql:
        rows = sql.execute(*recent(stream, state or (), moment(since), limit))
    columns = (
        "TOPIC_ID", "PARTITION_ID", "START_OFFSET", "END_OFFSET", "STATE", "GATE", "DEEP_GATE", "ROWS_LOADED",
        "ROWS_QUARANTINED", "RUN_ID", "CLAIMED_AT", "LOADED_AT", "ACKNOWLEDGED_BY",
    )  # fmt: skip
    _print(stream, rows, columns, as_json, empty="No range of this stream is in the ledger.")


@app.command()
def gaps(
    stream: _Stream,
    as_json: _Json = False,
    contracts: ContractsOption = CONTRACTS,
    snowflake_conn_id: SnowflakeOption = "snowflake_default",
) -> None:
    """Offsets that no range covers, and ranges that overlap. Exit code 1 if there are any."""
    from madhatter_provider.core.warehouse import ledger

    contract_of(stream, contracts)
    with snowflake(snowflake_conn_id) as sql:
        missing = sql.execute(*ledger.gaps(stream))
        twice = sql.execute(*ledger.overlaps(stream))
    columns = ("KIND", "TOPIC_ID", "PARTITION_ID", "START_OFFSET", "END_OFFSET")
    found = [
        {**r, "KIND": "gap", "START_OFFSET": r["GAP_START"], "END_OFFSET": r["GAP_END"]} for r in missing
    ]
    for r in twice:
        found.append({**r, "KIND": "overlap", "END_OFFSET": min(r["PREVIOUS_END"], r["END_OFFSET"])})
    _print(stream, found, columns, as_json, empty="The ledger tiles the topic.")
    raise typer.Exit(1 if found else 0)


@app.command()
def acknowledge(
    stream: _Stream,
    ranges: Annotated[
        list[str] | None, typer.Option("--range", help="PARTITION:START-END; may be repeated.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All losses of the stream.")] = False,
    reason: Annotated[str, typer.Option(help="Why one can live with it; it is recorded.")] = "",
    topic_id: Annotated[
        str | None, typer.Option(help="Epoch of the ranges.  [default: that of the newest loss]")
    ] = None,
    contracts: ContractsOption = CONTRACTS,
    snowflake_conn_id: SnowflakeOption = "snowflake_default",
) -> None:
    """Say that you know of losses: their runs succeed when they are cleared, and audits agree."""
    from madhatter_provider.core.warehouse import ledger_changes

    contract = contract_of(stream, contracts)
    if everything == bool(ranges):
        raise ConfigurationError("Which losses?", remedy="Give --range, or --all.")
    with snowflake(snowflake_conn_id) as sql:
        losses = sql.execute(*ledger_changes.unacknowledged(stream))
        epoch = topic_id or (str(losses[0]["TOPIC_ID"]) if losses else "")
        meant = None if everything else Slice(contract.topic, epoch, tuple(map(_range, ranges or ())))
        chosen = [r for r in losses if meant is None or _covers(meant, r)]
        if not chosen:
            known = " ".join(f"{r['PARTITION_ID']}:{r['START_OFFSET']}-{r['END_OFFSET']}" for r in losses)
            raise ConfigurationError(
                "No loss that is not acknowledged is meant",
                where=f"stream {stream}",
                remedy=f"There are: {known or 'none'}. --range must cover one of them.",
            )
        sql.execute(*ledger_changes.acknowledge(stream, meant, reason, person()))
    offsets = sum(int(r["END_OFFSET"]) - int(r["START_OFFSET"]) for r in chosen)
    runs = sorted({str(r["RUN_ID"]) for r in chosen})
    typer.echo(f"Acknowledged {len(chosen)} losses, {offsets} offsets. Clear if red: {', '.join(runs)}")


def _range(text: str) -> OffsetRange:
    found = _RANGE.fullmatch(text.strip())
    if found is None:
        raise ConfigurationError(f"{text!r} is no range", remedy="Write PARTITION:START-END, as 0:100-200.")
    return OffsetRange(*map(int, found.groups()))


def _covers(meant: Slice, row: dict[str, Any]) -> bool:
    start, end = int(row["START_OFFSET"]), int(row["END_OFFSET"])
    return meant.topic_id == row["TOPIC_ID"] and any(
        r.partition == int(row["PARTITION_ID"]) and r.start <= start and end <= r.end for r in meant
    )


def _picked(row: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: row[name] for name in names}


def _print(
    stream: str, rows: Sequence[dict[str, Any]], columns: Sequence[str], as_json: bool, *, empty: str
) -> None:
    if as_json:
        typer.echo(json.dumps([_picked(r, columns) for r in rows], indent=1, default=str))
        return
    if not rows:
        typer.echo(empty)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"Ledger of {stream}")
    for column in columns:
        table.add_column(column.lower().replace("_", " "))
    for row in rows:
        table.add_row(*("" if row[c] is None else _text(row[c]) for c in columns))
    Console(soft_wrap=True).print(table)


def _text(value: Any) -> str:
    return value.isoformat(timespec="seconds") if isinstance(value, datetime) else str(value)
