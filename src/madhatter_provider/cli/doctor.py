"""``madhatter doctor``: what this machine lacks, and how to get it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from madhatter_provider.local.doctor import Finding

app = typer.Typer(invoke_without_command=True, help="Say what this machine lacks and how to get it.")


@app.callback()
def doctor() -> None:
    """Check what the local platform uses. Exit code 1 only if something required is missing."""
    from rich.console import Console
    from rich.table import Table

    from madhatter_provider.local.doctor import examine
    from madhatter_provider.local.home import local_home

    findings = examine(local_home())
    console = Console(soft_wrap=True)
    table = Table("", "what", "found", box=None)
    for finding in findings:
        table.add_row(_mark(finding), finding.name, finding.found)
    console.print(table)
    for finding in findings:
        if not finding.ok:
            console.print(f"\n{finding.name}: without it, no {finding.without}.\n  {finding.command}")
    if any(not finding.ok and finding.need == "required" for finding in findings):
        console.print("\n[red]Something required is missing.[/]")
        raise typer.Exit(1)
    console.print("\nThe local platform can start: madhatter local up")


def _mark(finding: Finding) -> str:
    if finding.ok:
        return "[green]OK[/]"
    return "[red]missing[/]" if finding.need == "required" else "[yellow]missing[/]"
