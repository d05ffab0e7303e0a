"""``madhatter looker``: reports of Looker Studio for the dashboards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from madhatter_provider.core.errors import ConfigurationError

app = typer.Typer(no_args_is_help=True, help="Reports of Looker Studio for the dashboards.")


@app.callback()
def _looker() -> None:
    """Reports of Looker Studio for the dashboards."""


@app.command("links")
def links_(
    template: Annotated[
        list[str],
        typer.Option(help="Template report: its id or address; for one dashboard only, NAME=ID. Repeatable."),
    ],
    dashboards: Annotated[
        Path, typer.Option(envvar="AIRFLOW__MADHATTER__DASHBOARDS_FOLDER", help="Folder of the dashboards.")
    ] = Path("include/dashboards"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print one address per dashboard. Who opens it gets a copy of the template, under the dashboard's name.
    No credential is asked for, and none is in the address.
    """
    from madhatter_provider.core.dashboards.definition import load_dashboards
    from madhatter_provider.core.dashboards.looker import links

    named = dict(t.split("=", 1) for t in template if "=" in t and not t.startswith("http"))
    others = [t for t in template if t not in {f"{k}={v}" for k, v in named.items()}]
    if len(others) > 1:
        raise ConfigurationError(
            "Two templates are given for all dashboards",
            where="--template",
            remedy="Give one, and NAME=ID for those that have their own.",
        )
    found = links(load_dashboards(dashboards), named, others[0] if others else None)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for name, address in found.items():
        typer.echo(f"{name}\n  {address}")
