"""Yes or no, given as such or as a template's text."""

from __future__ import annotations

Flag = bool | str
"""True, False, or a template that says so."""


def is_true(flag: Flag) -> bool:
    """Whether it says so: a rendered ``False`` is a text, and would count as true."""
    return flag is True or str(flag).strip().lower() in ("true", "1", "yes")
