"""The control room's web app: pages and their data, behind Airflow's own sign-in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from airflow.api_fastapi.app import get_auth_manager
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exception_handlers import http_exception_handler
from fastapi.responses import JSONResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles

from madhatter_provider.control_room.answers import Answers, SnowflakeClients
from madhatter_provider.control_room.api import (
    case,
    dashboards,
    pages,
    quality,
    replay,
    runs,
    stream,
    streams,
)
from madhatter_provider.control_room.broker import BrokerEnds, KafkaClients
from madhatter_provider.control_room.dashboards import Dashboards
from madhatter_provider.control_room.json_values import fault_of
from madhatter_provider.control_room.room import Room
from madhatter_provider.control_room.settings import Settings, read_settings
from madhatter_provider.core.errors import MadHatterError

_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-ancestors 'self'; base-uri 'none'; form-action 'self'"
)
_HEADERS = {
    "Content-Security-Policy": _CSP,
    "X-Frame-Options": "SAMEORIGIN",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_STATIC_HEADERS = _HEADERS | {"Cache-Control": "no-cache"}


def open_room(settings: Settings) -> Room:
    """A room that asks the connections of the settings, when somebody looks."""
    fresh = settings.refresh_seconds
    ask = KafkaClients(settings.kafka_config_id).bounds if settings.kafka_config_id else None
    answers = Answers(SnowflakeClients(settings.snowflake_conn_id).ask, fresh=fresh)
    return Room(settings, answers, BrokerEnds(ask, fresh=fresh), Dashboards(settings.dashboards_folder))


def create_app(room: Room | None = None) -> FastAPI:
    """Make the app.

    :param room: what it shows; by default that of Airflow's configuration.
    """
    app = FastAPI(title="MadHatter control room", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.room = room or open_room(read_settings())
    app.middleware("http")(_with_headers)
    app.exception_handler(MadHatterError)(_say)
    app.exception_handler(HTTPException)(_sign_in_or_say)
    app.mount("/static", StaticFiles(directory=pages.STATIC), name="static")
    for one in (streams, stream, case, dashboards, quality, replay, runs, pages):
        app.include_router(one.router)
    return app


async def _with_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await call_next(request)
    wanted = _STATIC_HEADERS if "/static/" in request.url.path else _HEADERS
    for name, value in wanted.items():
        response.headers.setdefault(name, value)
    return response


def _say(_: Request, err: Exception) -> Response:
    """An error of ours, in words; 503 if it may pass by itself."""
    assert isinstance(err, MadHatterError)
    return JSONResponse({"detail": fault_of(err)}, 503 if err.transient else 422)


async def _sign_in_or_say(request: Request, err: Exception) -> Response:
    """A person who opens a page without being signed in is led to the sign-in; data answers 401."""
    assert isinstance(err, HTTPException)
    wants_page = "text/html" in request.headers.get("accept", "") and "/api/" not in request.url.path
    if err.status_code == 401 and wants_page:
        return RedirectResponse(get_auth_manager().get_url_login(next_url=str(request.url)), 307)
    return await http_exception_handler(request, err)
