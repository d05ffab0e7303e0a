"""The ``madhatter`` command. Sub-commands import what is heavy only when they are called."""

from __future__ import annotations

import errno
import sys
from typing import Annotated, NoReturn

import typer

from madhatter_provider import __version__
from madhatter_provider.cli import doctor, ledger, local, local_data, looker, quarantine, sql, traffic
from madhatter_provider.cli.audit import audit
from madhatter_provider.cli.demo.command import demo
from madhatter_provider.cli.init import init
from madhatter_provider.cli.replay import replay
from madhatter_provider.core.errors import MadHatterError, StorageError

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Real-time data for Airflow.")
app.command()(audit)
app.command()(demo)
app.command()(init)
app.command()(replay)
local.app.command()(local_data.send)
local.app.command("sql")(local_data.query)
app.add_typer(doctor.app, name="doctor")
app.add_typer(ledger.app, name="ledger")
app.add_typer(local.app, name="local")
app.add_typer(looker.app, name="looker")
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(sql.app, name="sql")
app.add_typer(traffic.app, name="traffic")


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"madhatter {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Say the version.", callback=_say_version, is_eager=True)
    ] = False,
) -> None:
    """What stands before a sub-command."""


_ROOM = "Free space there, or set MADHATTER_HOME to a roomier place."
_RIGHTS = "Give yourself the right to write there, or choose another place."
_FILE = "A part of this path is a file: choose another place."
_OF_THE_MACHINE = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: _RIGHTS,
    errno.ENOTDIR: _FILE,
    errno.EEXIST: _FILE,
    errno.EISDIR: "This is a folder: name a file in it.",
    errno.ENOENT: "Check the path.",
}


def main() -> None:
    """Run the command. Errors of ours, and what the file system refuses, are said in words, with the remedy
    and without a stack trace.
    """
    try:
        app(prog_name="madhatter")
    except MadHatterError as err:
        _fail(err)
    except OSError as err:
        if err.errno not in _OF_THE_MACHINE:
            raise
        where = str(err.filename or "a file of this command")
        _fail(StorageError(err.strerror or str(err), where=where, remedy=_OF_THE_MACHINE[err.errno]))


def _fail(err: MadHatterError) -> NoReturn:
    typer.secho(f"{type(err).__name__}: {err}", fg="red", err=True)
    sys.exit(1)


if __name__ == "__main__":
    main()
