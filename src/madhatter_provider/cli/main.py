"""The ``madhatter`` command. Sub-commands import what is heavy only when they are called."""

from __future__ import annotations

import sys

import typer

from madhatter_provider.cli import doctor, local, sql, traffic
from madhatter_provider.cli.demo.command import demo
from madhatter_provider.core.errors import MadHatterError

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Real-time data for Airflow.")
app.command()(demo)
app.add_typer(doctor.app, name="doctor")
app.add_typer(local.app, name="local")
app.add_typer(sql.app, name="sql")
app.add_typer(traffic.app, name="traffic")


def main() -> None:
    """Run the command. Errors of ours are said in words, with the remedy and without a stack trace."""
    try:
        app(prog_name="madhatter")
    except MadHatterError as err:
        typer.secho(f"{type(err).__name__}: {err}", fg="red", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
