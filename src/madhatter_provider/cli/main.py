"""The ``madhatter`` command. Each sub-command lives in its own module and is imported only when it is called."""

from __future__ import annotations

import typer

app = typer.Typer(name="madhatter", no_args_is_help=True, add_completion=False, help="Real-time data for Airflow.")


@app.callback()
def _root() -> None:
    """Real-time data for Airflow."""
