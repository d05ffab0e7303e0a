"""docs/how-to/audit.md says what each finding and each step of a repair is, in the words of the code."""

from __future__ import annotations

import re
from pathlib import Path

from madhatter_provider.core.audit import model as audit
from madhatter_provider.core.audit import plan as audit_plan

PAGE = (Path(__file__).parents[2] / "docs/how-to/audit.md").read_text()


def rows(heading: str) -> dict[str, str]:
    """First and second column of a section's table."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    found = re.findall(r"^\| `?(\w+)`? \| ([^|]+) \|", section, re.MULTILINE)
    return {name: text.strip() for name, text in found if name not in ("finding", "step")}


def test_every_finding_is_explained() -> None:
    explained = rows("What it finds")
    assert set(explained) == set(audit.KINDS)
    assert all(text.startswith(audit.KINDS[kind]) for kind, text in explained.items())


def test_every_step_of_a_repair_is_explained() -> None:
    explained = rows("What a repair does")
    assert list(explained) == list(audit_plan.KINDS)
    assert all(text.startswith(audit_plan.KINDS[kind]) for kind, text in explained.items())
