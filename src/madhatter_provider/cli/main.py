"""The ``madhatter`` command. Sub-commands import what is heavy only when they are called."""

from __future__ import annotations

import typer

from madhatter_provider.cli import doctor, local, sql, traffic
from madhatter_provider.cli.demo.command import demo

app = typer.Typer(
    name="madhatter", no_args_is_help=True, add_completion=False, help="Real-time data for Airflow."
)
app.command()(demo)
app.add_typer(doctor.app, name="doctor")
app.add_typer(local.app, name="local")
app.add_typer(sql.app, name="sql")
app.add_typer(traffic.app, name="traffic")

if __name__ == "__main__":
    app()
