"""Every `madhatter …` of the documentation is a command that there is, with options that it has. The
changelog may name what there was.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from madhatter_provider.cli.main import app

ROOT = Path(__file__).parents[3]
PAGES = (
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "benchmarks/RESULTS.md",
    *sorted((ROOT / "docs").rglob("*.md")),
)
ROOT_COMMAND: Any = get_command(app)


def documented(page: Path) -> list[str]:
    """Command lines in blocks and in the text."""
    text = page.read_text()
    blocks = re.findall(r"```(\w*)\n(.*?)```", text, re.DOTALL)
    shell = [block.replace("\\\n", " ") for language, block in blocks if language in ("", "bash", "sh")]
    lines = [line for block in shell for line in block.splitlines()]
    lines += re.findall(r"`(madhatter [^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    found = [m[1] for line in lines if (m := re.search(r"(?:^|[\s(\"])(madhatter (?!<).*)", line))]
    return [line.partition(')"')[0] for line in found]


COMMANDS = sorted({(line, page.name) for page in PAGES for line in documented(page)})


@pytest.mark.parametrize(("line", "page"), COMMANDS)
def test_a_documented_command_is_one(line: str, page: str) -> None:
    command, words = ROOT_COMMAND, shlex.split(line, comments=True)[1:]
    words = words[: next((i for i, word in enumerate(words) if word in ("|", ">", "&&", ";")), None)]
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    if words[:1] in (["…"], []) and hasattr(command, "commands"):
        return  # the group is meant
    context = command.context_class(command, info_name=line)
    _, more, _ = command.make_parser(context).parse_args(words)
    assert not more, f"{page}: {line}: {more}"


def test_there_are_enough() -> None:
    used = {" ".join(line.split()[1:3]) for line, _ in COMMANDS}
    assert len(COMMANDS) > 60
    assert {"local up", "sql apply", "looker links", "ledger show", "quarantine replay"} <= used


def test_an_option_that_there_is_not_is_found() -> None:
    with pytest.raises(Exception, match="No such option: --nonsense"):
        test_a_documented_command_is_one("madhatter sql apply --nonsense", "here")
