"""The control room's pages at the end of a demo: where they are, and whether each has its data."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import quote

from madhatter_provider.cli.demo.airflow_api import AirflowApi
from madhatter_provider.core.errors import JobError

_APP = "/madhatter"
_VIEW = "/plugin/madhatter"
"""The plugin's place in the Airflow UI; the app's path follows it."""
_PATIENCE_SECONDS = 20.0
_PAUSE_SECONDS = 2.0
_DATA = {"streams": ("streams",), "quality": ("quality", "quality/charts")}
_DRAWN = ("lines", "bars", "figures")
"""A table may be empty: nothing may be wrong."""


@dataclass(frozen=True, slots=True)
class PageFacts:
    """One page. ``problem``: why it has not all its data; empty if it has."""

    title: str
    url: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ControlRoomFacts:
    """The pages and where they are."""

    url: str
    pages: tuple[PageFacts, ...]

    def as_dict(self) -> dict[str, Any]:
        """A JSON value."""
        return asdict(self)


def look_at(airflow: AirflowApi, url: str, streams: int) -> ControlRoomFacts:
    """Ask every page for its data, as a browser does.

    :param url: address of Airflow.
    :param streams: how many streams the first page must show.
    """
    view = f"{url}{_VIEW}{_APP}"
    listed = airflow.read(f"{_APP}/api/session")["pages"]
    pages = [
        PageFacts(p["title"], f"{view}/{quote(p['path'])}", _problem(airflow, p["path"], streams))
        for p in listed
    ]
    return ControlRoomFacts(f"{view}/streams", tuple(pages))


def _problem(airflow: AirflowApi, path: str, streams: int) -> str:
    """Why a page lacks data; asked again for a while, since a busy machine answers late."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        found = _asked(airflow, path, streams)
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(_PAUSE_SECONDS)


def _asked(airflow: AirflowApi, path: str, streams: int) -> str:
    try:
        answers = [
            airflow.read(f"{_APP}/api/{data}") for data in _DATA.get(path, (f"dashboards/{quote(path)}",))
        ]
    except JobError as err:
        return err.what
    if path == "streams" and (shown := answers[0]["totals"]["streams"]) < streams:
        return f"{shown} of {streams} streams are shown"
    return "; ".join(fault for answer in answers for fault in _faults(answer))


def _faults(answer: Mapping[str, Any]) -> Iterator[str]:
    if answer["fault"]:
        yield str(answer["fault"]["what"])
    for chart in answer.get("charts", ()):
        if chart["fault"]:
            yield f"{chart['title']}: {chart['fault']['what']}"
        elif chart["kind"] in _DRAWN and not chart["rows"]:
            yield f"{chart['title']}: nothing to draw"
