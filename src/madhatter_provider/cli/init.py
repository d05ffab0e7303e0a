"""``madhatter init``: a project to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from madhatter_provider.core.errors import ConfigurationError


def init(
    folder: Annotated[Path, typer.Argument(help="Where to put it; made if it is not there.")],
) -> None:
    """Write a project with one stream: data contract, landing DAG, samples and a test that kills the DAG in
    mid-run. Files that are there are left alone, and then nothing is written.
    """
    from madhatter_provider.local.starter_project import starter_files

    files = starter_files()
    there = sorted(name for name in files if (folder / name).exists())
    if there:
        raise ConfigurationError(
            f"Already there: {', '.join(there)}", where=str(folder), remedy="Choose another folder."
        )
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        typer.echo(path)
    typer.echo(f"Next: cd {folder} && madhatter local up")
