"""The control room's web app: one page, one JSON endpoint, behind Airflow's own sign-in."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from airflow.api_fastapi.auth.managers.models.resource_details import AccessView
from airflow.api_fastapi.core_api.security import requires_access_view
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from starlette.concurrency import run_in_threadpool

from madhatter_provider.core.errors import MadHatterError

STATIC = Path(__file__).parent / "static"
FRESH_SECONDS = 2.0
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'self'; base-uri 'none'",
    "X-Frame-Options": "SAMEORIGIN",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_signed_in = Depends(requires_access_view(AccessView.PLUGINS))


def create_app(conn_id: str = "snowflake_default") -> FastAPI:
    """Make the app.

    :param conn_id: Airflow connection of the Snowflake account that holds the ledger.
    """
    app = FastAPI(title="MadHatter control room", docs_url=None, redoc_url=None, openapi_url=None)
    ledger = LedgerReader(conn_id)

    @app.middleware("http")
    async def secure(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await call_next(request)
        response.headers.update(_HEADERS)
        return response

    @app.get("/", dependencies=[_signed_in])
    def page() -> FileResponse:
        return FileResponse(STATIC / "streams.html")

    @app.get("/api/streams", dependencies=[_signed_in])
    async def streams() -> list[dict[str, Any]]:
        try:
            return await run_in_threadpool(ledger.streams)
        except MadHatterError as err:
            raise HTTPException(503, {"what": err.what, "where": err.where, "remedy": err.remedy}) from err

    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    return app


class LedgerReader:
    """Reads the ledger, at most once every ``FRESH_SECONDS``, however many people look."""

    def __init__(self, conn_id: str) -> None:
        self._conn_id = conn_id
        self._rows: list[dict[str, Any]] = []
        self._read_at = -FRESH_SECONDS

    def streams(self) -> list[dict[str, Any]]:
        """One row per stream of ``MARTS.INGEST_FRESHNESS``."""
        if time.monotonic() - self._read_at > FRESH_SECONDS:
            from madhatter_provider.hooks.snowflake_rest import SnowflakeRestHook

            hook = SnowflakeRestHook(self._conn_id, timeout=10)
            try:
                rows = hook.execute("SELECT * FROM MARTS.INGEST_FRESHNESS ORDER BY STREAM")
            finally:
                hook.client.close()
            self._rows = [{k.lower(): _plain(v) for k, v in r.items()} for r in rows]
            self._read_at = time.monotonic()
        return self._rows


def _plain(value: Any) -> Any:
    """JSON has no decimals and no times."""
    if value is None or isinstance(value, str | int | float):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else float(value)
