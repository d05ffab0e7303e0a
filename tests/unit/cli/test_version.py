"""``madhatter --version``."""

from __future__ import annotations

from typer.testing import CliRunner

from madhatter_provider import __version__
from madhatter_provider.cli.main import app


def test_the_version_is_said() -> None:
    answer = CliRunner().invoke(app, ["--version"])
    assert (answer.exit_code, answer.stdout) == (0, f"madhatter {__version__}\n")
