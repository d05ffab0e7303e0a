"""A package that is missing: the error says how to get it, and what it says is true."""

from __future__ import annotations

import configparser
import re
import sys
from pathlib import Path

import pytest

from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.core.optional_packages import required_package
from madhatter_provider.hooks.object_store import explain

ROOT = Path(__file__).parents[3]
SOURCES = "\n".join(p.read_text() for p in (ROOT / "src/madhatter_provider/core/decoding").glob("*.py"))
ASKED = sorted(set(re.findall(r'required_package\("([\w.]+)", "([\w-]+)"\)', SOURCES)))


def extras() -> set[str]:
    """Those that a user can name to pip."""
    settings = configparser.RawConfigParser()
    settings.read(ROOT / "setup.cfg")
    return set(settings["options.extras_require"])


@pytest.mark.parametrize(("module", "extra"), ASKED)
def test_the_error_names_an_extra_that_there_is(
    module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigurationError, match=re.escape(f"airflow-provider-madhatter[{extra}]")):
        required_package(module, extra)
    assert extra in extras()


def test_all_message_formats_are_looked_at() -> None:
    assert len(ASKED) == 3


@pytest.mark.parametrize("scheme", ["gs", "s3"])
def test_a_store_without_its_package_names_an_extra_that_there_is(scheme: str) -> None:
    error = explain(ImportError("No module named 'x'"), f"{scheme}://bucket/landing")
    (extra,) = re.findall(r"airflow-provider-madhatter\[([\w-]+)\]", str(error))
    assert extra in extras()
