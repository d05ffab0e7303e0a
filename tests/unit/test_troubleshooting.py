"""Messages quoted in the troubleshooting guide are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from madhatter_provider.core import errors

REPOSITORY = Path(__file__).parents[2]
GUIDE = REPOSITORY / "docs" / "how-to" / "troubleshooting.md"
_SYSTEM = {"No space left on device"}  # said by the operating system


def _quoted() -> list[str]:
    rows = re.findall(r"^\| (`[^|]*) \|", GUIDE.read_text(), flags=re.MULTILINE)
    return [message for row in rows for message in re.findall(r"`([^`]+)`", row)]


@pytest.fixture(scope="module")
def source() -> str:
    """All code, with implicitly joined literals joined, and expressions in them cut out."""
    files = sorted((REPOSITORY / "src").rglob("*.py"))
    text = "".join(file.read_text() for file in files)
    return re.sub(r"\{[^{}\n]*\}", "…", re.sub(r'"\s*\n\s*f?"', "", text))


@pytest.mark.parametrize("message", _quoted())
def test_the_code_says_so(source: str, message: str) -> None:
    parts = [part.strip(" '") for part in re.split(r"…|'[a-z_]+'", message.replace("include/contracts", "…"))]
    for part in filter(None, parts):
        assert part in _SYSTEM or part.removeprefix("Landing files: ") in _SYSTEM or part in source


def test_errors_that_a_retry_helps_are_named() -> None:
    (line,) = re.findall(r"^\* \*\*transient\*\* \((.*?)\):", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    found = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, Exception)]
    assert set(re.findall(r"`(\w+)`", line)) == {e.__name__ for e in found if getattr(e, "transient", False)}


def test_enough_is_quoted() -> None:
    assert len(_quoted()) > 30
