"""The pictures that the documentation shows are there, can be taken again, and no others are stored."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
_SPEC = importlib.util.spec_from_file_location("screenshots", REPOSITORY / "scripts/screenshots.py")
assert _SPEC is not None
assert _SPEC.loader is not None
screenshots = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(screenshots)


def test_what_is_shown_is_stored_and_nothing_else() -> None:
    assert screenshots.embedded() == {file.name for file in screenshots.IMAGES.iterdir()}


def test_what_is_shown_can_be_taken() -> None:
    assert screenshots.embedded() <= screenshots.pictures().keys()


def test_every_page_of_the_control_room_is_shown_somewhere() -> None:
    paths = {path.partition("?")[0] for path in screenshots.PAGES} - {"streams"}  # inside Airflow
    assert {f"control-room-{path}.png" for path in paths} <= screenshots.embedded()


def test_every_picture_is_told_in_words_to_those_who_do_not_see_it() -> None:
    pages = [REPOSITORY / "README.md", *(REPOSITORY / "docs").rglob("*.md")]
    assert not [page.name for page in pages if re.search(r"!\[\s*\]\(", page.read_text())]
