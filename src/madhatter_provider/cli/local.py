"""``madhatter local``: start, inspect and end the local platform."""

from __future__ import annotations

import json
import os
import shlex
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from madhatter_provider.local.platform import Platform, ServiceStatus
    from madhatter_provider.local.supervisor import Event

app = typer.Typer(no_args_is_help=True, help="The whole platform on this machine.")

_MARKS = {
    "ready": "[green]✓[/]", "done": "[green]✓[/]", "running": "[green]✓[/]", "ended": "[green]✓[/]",
    "absent": "[yellow]-[/]", "moved": "[yellow]![/]",
}  # fmt: skip


def print_event(event: Event) -> None:
    """One line for a person; starts are not worth one, their end is."""
    from rich.console import Console
    from rich.markup import escape

    if event.what == "starting":
        return
    said = {"running": "runs already", "absent": "left out", "ended": "ended"}.get(event.what, "")
    seconds = "" if event.seconds is None else f"{event.seconds:5.1f} s"
    text = ", ".join(part for part in (said, event.text) if part)
    Console(soft_wrap=True).print(f"{_MARKS[event.what]} {event.name:<22} {seconds:>7}  {escape(text)}")


def _platform(ports: list[str] | None = None) -> Platform:
    from madhatter_provider.local.platform import Platform

    return Platform(report=print_event, pinned_ports=dict(map(_pinned, ports or [])))


def _pinned(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    if not number.isdecimal():
        raise typer.BadParameter(f"{text!r} is not NAME=NUMBER, as in airflow=8080")
    return name, int(number)


@app.command()
def up(
    only: Annotated[
        list[str] | None, typer.Option(help="Only this service or step and what it needs. May be repeated.")
    ] = None,
    port: Annotated[
        list[str] | None, typer.Option(metavar="NAME=NUMBER", help="Fix a port, as in airflow=8080.")
    ] = None,
) -> None:
    """Start what does not run yet and wait until it is ready. Ctrl-C ends what this command started."""
    platform = _platform(port)
    platform.start(only or None)
    if any(status.name == "airflow-api-server" and status.alive for status in platform.services):
        typer.echo(f"Airflow: {platform.airflow_url}  {_logins(platform)}")
    typer.echo(f"Everything is in {platform.home.root}; end it with: madhatter local down")


def _logins(platform: Platform) -> str:
    return ", ".join(f"user {user} password {word}" for user, word in platform.airflow_passwords.items())


@app.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """Show every service: process, memory, ports. Exit code 3 if one does not run."""
    platform = _platform()
    found = platform.services
    if as_json:
        typer.echo(json.dumps([{**asdict(s), "log": str(s.log)} for s in found], indent=1))
    else:
        _print_table(platform, found)
    if not all(service.alive for service in found):
        raise typer.Exit(3)


def _print_table(platform: Platform, found: list[ServiceStatus]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None)
    for column in ("service", "kind", "version", "state", "pid", "MB", "up", "ports"):
        table.add_column(column, no_wrap=column in ("service", "kind", "state"))
    for service in found:
        table.add_row(
            service.name, service.kind, service.version,
            "[green]running[/]" if service.alive else "[red]down[/]",
            str(service.pid or ""), str(service.rss_mb or ""),
            "" if service.uptime is None else f"{service.uptime:.0f} s",
            " ".join(str(port) for port in service.ports.values()),
        )  # fmt: skip
    console = Console()
    console.print(table)
    console.print(f"{sum(s.rss_mb for s in found)} MB in all; Airflow: {platform.airflow_url}")
    if any(service.alive for service in found):
        console.print(_logins(platform))


@app.command()
def logs(
    service: Annotated[str | None, typer.Argument(help="Default: a list of the log files.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many to begin with.")] = 50,
) -> None:
    """Show a service's log."""
    from madhatter_provider.core.errors import ConfigurationError
    from madhatter_provider.local.home import local_home

    folder = local_home().logs
    known = {file.stem: file for file in sorted(folder.glob("*.log"))}
    if service is None:
        typer.echo("\n".join(f"{name:<22} {file}" for name, file in known.items()))
        return
    if service not in known:
        names = ", ".join(known) or "none yet: madhatter local up"
        raise ConfigurationError(f"No log of {service!r}", where=str(folder), remedy=f"Logs: {names}.")
    for line in _lines(known[service], lines, follow=follow):
        typer.echo(line, nl=False)


def _lines(file: Path, count: int, *, follow: bool) -> Iterator[str]:
    with file.open(encoding="utf-8", errors="replace") as source:
        yield from deque(source, maxlen=count)
        while follow:
            line = source.readline()
            if line:
                yield line
            else:
                time.sleep(0.2)


@app.command()
def down() -> None:
    """End everything; nothing is left running. Data stay in .madhatter until they are deleted."""
    _platform().stop()


@app.command()
def restart(service: Annotated[str, typer.Argument(help="Name, as in `status`.")]) -> None:
    """End one service and start it again, on its ports and with its data."""
    _platform().restart(service)


@app.command()
def env() -> None:
    """Print the platform's environment for a shell: eval "$(madhatter local env)"."""
    for name, value in sorted(_platform().env.items()):
        if os.environ.get(name) != value:
            typer.echo(f"export {name}={shlex.quote(value)}")
