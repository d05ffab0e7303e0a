"""The pages themselves: one HTML frame for all, and what it needs to know first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import APIRouter, HTTPException, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from madhatter_provider.control_room.access import ViewerDep, signed_in
from madhatter_provider.control_room.dashboards import QUALITY
from madhatter_provider.control_room.room import RoomDep
from madhatter_provider.core.dashboards.definition import Dashboard

router = APIRouter()

STATIC = Path(__file__).parents[1] / "static"
_OWN = ("streams", "stream", "run", "quality", "quarantine")


@router.get("/", dependencies=[signed_in])
def home() -> Response:
    """The first page."""
    return RedirectResponse("streams")


@router.get("/api/session")
def session(one: ViewerDep) -> dict[str, Any]:
    """Who looks, what they may do, and which pages there are."""
    shown = [
        {"path": d.name, "title": d.title if isinstance(d, Dashboard) else d.name}
        for d in one.room.dashboards.all()
        if d.name != QUALITY and (not isinstance(d, Dashboard) or one.may_read(d.dag))
    ]
    return {
        "user": one.user.get_name(),
        "may_replay": one.may_replay(),
        "replay_dag_id": one.room.settings.replay_dag_id,
        "refresh_seconds": one.room.settings.refresh_seconds,
        "pages": [
            {"path": "streams", "title": "Streams"},
            *shown,
            {"path": QUALITY, "title": "Quality"},
        ],
    }


@router.get("/{page}", dependencies=[signed_in])
def page(page: str, room: RoomDep) -> Response:
    """A page."""
    if page not in _OWN and page not in {d.name for d in room.dashboards.all()}:
        raise HTTPException(404, f"There is no page {page!r}")
    return HTMLResponse((STATIC / "page.html").read_text(encoding="utf-8"))
