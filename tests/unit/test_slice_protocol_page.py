"""docs/slice-protocol.md numbers the steps as the code does, and names every point where a run is killed."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

from madhatter_provider.core.crash_points import POINTS
from madhatter_provider.core.landing import land
from madhatter_provider.core.runs import claiming, recording
from madhatter_provider.core.slices import claims
from madhatter_provider.core.warehouse import ingest

PAGE = (Path(__file__).parents[2] / "docs/slice-protocol.md").read_text()
STEPS = re.findall(r"^\| (\d(?:\.\d)?)\b", PAGE, re.MULTILINE)


def test_the_steps_are_in_order_and_each_is_there_once() -> None:
    assert sorted(STEPS) == STEPS
    assert [s for s in STEPS if "." not in s] == list("123456")
    assert len(set(STEPS)) == len(STEPS)


@pytest.mark.parametrize(
    ("module", "steps"),
    [
        (claiming, ["1.1", "1.2", "1.3", "1.4", "1.5", "1.6", "2"]),
        (claims, ["1.1", "1.3", "1.4"]),
        (recording, list("123456")),
        (land, ["3.1", "3.2", "3.3", "3.4", "3.5"]),
        (ingest, ["4.1", "4.2", "4.3", "4.4"]),
    ],
)
def test_the_code_has_the_same_numbers(module: ModuleType, steps: list[str]) -> None:
    assert re.findall(r"^(\d(?:\.\d)?)\.? ", module.__doc__ or "", re.MULTILINE) == steps
    assert set(steps) <= set(STEPS)
    source = Path(module.__file__ or "").read_text()
    assert set(re.findall(r"\b[Ss]tep (\d(?:\.\d)?)", source)) <= set(steps)


def test_every_point_at_which_a_run_is_killed_has_its_row() -> None:
    named = re.findall(r"^\| [^|]+ \| `([\w.]+)` \|", PAGE, re.MULTILINE)
    of_a_run = ("claim.", "land.", "ingest.", "ledger.")
    assert named == [point for point in POINTS if point.startswith(of_a_run)]
