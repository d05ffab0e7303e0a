"""The pages themselves: one HTML frame for all, and what it needs to know first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from madhatter_provider.control_room.access import ViewerDep, signed_in

router = APIRouter()

STATIC = Path(__file__).parents[1] / "static"
PAGES = {
    "streams": "Streams",
    "stream": "Stream",
    "quality": "Quality",
    "quarantine": "Quarantine",
    "replay": "Replay",
}


@router.get("/", dependencies=[signed_in])
def home() -> Response:
    """The first page."""
    return RedirectResponse("streams")


@router.get("/api/session")
def session(one: ViewerDep) -> dict[str, Any]:
    """Who looks, what they may do, and which pages there are."""
    return {
        "user": one.user.get_name(),
        "may_replay": one.may_replay(),
        "replay_dag_id": one.room.settings.replay_dag_id,
        "refresh_seconds": one.room.settings.refresh_seconds,
        "pages": [{"path": "streams", "title": "Streams"}, {"path": "quality", "title": "Quality"}],
    }


@router.get("/{page}", dependencies=[signed_in])
def page(request: Request, page: str) -> Response:
    """A page."""
    if page not in PAGES:
        raise HTTPException(404, f"There is no page {page!r}")
    return HTMLResponse((STATIC / "page.html").read_text(encoding="utf-8"))
