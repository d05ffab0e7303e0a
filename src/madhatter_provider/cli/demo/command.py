"""``madhatter demo``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer


def demo(
    seconds: Annotated[float, typer.Option(min=5, help="How long traffic is sent.")] = 60.0,
    rate: Annotated[
        float, typer.Option(min=10, help="Events per second over all streams; a fifth are payments.")
    ] = 300.0,
    seed: Annotated[int, typer.Option(help="Same seed, same customers and same events.")] = 1,
    summary: Annotated[Path | None, typer.Option(help="Write the summary here, as JSON.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the platform running.")] = False,
    broken: Annotated[
        str | None,
        typer.Option(
            "--break", metavar="STREAM", help="This stream's producer violates its contract in mid-run."
        ),
    ] = None,
) -> None:
    """From nothing to the first caught fraud: start the platform, send labelled traffic, prove that nothing
    was lost.
    """
    from rich.console import Console

    from madhatter_provider.cli.demo.flow import Demo, Options
    from madhatter_provider.cli.demo.report import show
    from madhatter_provider.cli.demo.verdict import summary as summarise
    from madhatter_provider.core.errors import MadHatterError

    console = Console()
    if not console.is_terminal:
        console = Console(width=110)
    write = partial(_write, summary)
    write({"ok": False, "failures": ["the demo did not end"]})
    try:
        result = summarise(Demo(Options(seconds, rate, seed, keep, broken), console).run())
    except MadHatterError as err:
        write({"ok": False, "failures": [f"{type(err).__name__}: {err}"]})
        raise
    write(result)
    show(console, result)
    if not result["ok"]:
        raise typer.Exit(1)


def _write(file: Path | None, summary: Mapping[str, Any]) -> None:
    """Scripts read this file however the demo ends; that it can be written is known before it begins."""
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
