"""Snowpipe's REST API: ``insertFiles``, ``insertReport``, ``loadHistoryScan``; and who may call what."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import snowflake.connector.errors as sf
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from madhatter_provider.local.snowflake.auth import InvalidTokenError, Verifier
from madhatter_provider.local.snowflake.catalog import Pipe
from madhatter_provider.local.snowflake.engine import LocalSnowflake
from madhatter_provider.local.snowflake.loader import LoadEvent

log = logging.getLogger(__name__)
Endpoint = Callable[[Request], Awaitable[Response]]

_MOST_FILES = 5_000
_MOST_PATH_BYTES = 1_024
_MOST_ENTRIES = 10_000


def error(status: int, code: str, message: str) -> JSONResponse:
    """Snowflake's error body."""
    body = {"data": None, "code": code, "message": message, "success": False, "headers": None}
    return JSONResponse(body, status_code=status)


class Guard:
    """Lets a request through only with a valid key-pair token."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier

    def __call__(self, endpoint: Endpoint) -> Endpoint:
        """The endpoint, guarded."""

        async def guarded(request: Request) -> Response:
            scheme, _, token = request.headers.get("authorization", "").partition(" ")
            try:
                if scheme.lower() != "bearer" or not token:
                    raise InvalidTokenError("no bearer token")
                self._verifier.user(token)
            except InvalidTokenError as err:
                log.warning("401 for %s: %s", request.url.path, err)
                return error(401, "390144", "JWT token is invalid.")
            return await endpoint(request)

        return guarded


class Snowpipe:
    """The three calls of the Snowpipe REST API.

    :param report_window: how long ``insertReport`` remembers an event; Snowflake says ten minutes.
    """

    def __init__(
        self, engine: LocalSnowflake, guard: Guard, report_window: timedelta = timedelta(minutes=10)
    ) -> None:
        self._engine, self._guard, self._window = engine, guard, report_window

    def routes(self) -> list[Route]:
        """The API's routes."""
        base = "/v1/data/pipes/{pipe}/"
        return [
            Route(base + "insertFiles", self._guard(self._insert_files), methods=["POST"]),
            Route(base + "insertReport", self._guard(self._insert_report), methods=["GET"]),
            Route(base + "loadHistoryScan", self._guard(self._load_history_scan), methods=["GET"]),
        ]

    def _pipe(self, request: Request) -> Pipe | None:
        try:
            return self._engine.catalog.pipe(request.path_params["pipe"])
        except sf.ProgrammingError:
            return None

    async def _insert_files(self, request: Request) -> Response:
        if (pipe := self._pipe(request)) is None:
            return _no_pipe()
        try:
            files = _files(await request.body(), request.headers.get("content-type", ""))
        except (ValueError, KeyError, TypeError) as err:
            return error(400, "391902", f"Request body is invalid: {err!r}")
        if not files or len(files) > _MOST_FILES or any(len(p.encode()) > _MOST_PATH_BYTES for p, _ in files):
            return error(
                400,
                "391902",
                f"1 to {_MOST_FILES} files with paths of up to {_MOST_PATH_BYTES} bytes, please.",
            )
        skipped = await run_in_threadpool(self._engine.loader.submit, pipe, files)
        request_id = request.query_params.get("requestId") or str(uuid.uuid4())
        return JSONResponse(
            {"requestId": request_id, "responseCode": "SUCCESS", "status": "SUCCESS", "skippedFiles": skipped}
        )

    async def _insert_report(self, request: Request) -> Response:
        if (pipe := self._pipe(request)) is None:
            return _no_pipe()
        mark = request.query_params.get("beginMark") or "1_0"
        try:
            after = int(mark.split("_")[1])
        except (IndexError, ValueError):
            return error(400, "391902", f"beginMark {mark!r} is not one of ours.")
        loader = self._engine.loader
        active = loader.active(pipe)
        found = loader.events(pipe, after=after, newer_than=self._window)
        shown = found[:_MOST_ENTRIES]
        last = shown[-1].number if shown else after or loader.last_number(pipe)
        return JSONResponse(
            {
                "pipe": pipe.name,
                "completeResult": len(shown) == len(found),
                "nextBeginMark": f"1_{last}",
                "files": [_entry(pipe, e) for e in shown],
                "statistics": {"activeFilesCount": active},
            }
        )

    async def _load_history_scan(self, request: Request) -> Response:
        if (pipe := self._pipe(request)) is None:
            return _no_pipe()
        try:
            start = _time(request.query_params["startTimeInclusive"])
            end = _time(request.query_params.get("endTimeExclusive") or datetime.now(UTC).isoformat())
        except (KeyError, ValueError) as err:
            return error(400, "391902", f"startTimeInclusive and endTimeExclusive must be ISO-8601: {err!r}")
        found = [e for e in self._engine.loader.events(pipe) if start <= e.done_at < end]
        shown = found[:_MOST_ENTRIES]
        return JSONResponse(
            {
                "pipe": pipe.name,
                "completeResult": len(shown) == len(found),
                "files": [_entry(pipe, e) for e in shown],
                "startTimeInclusive": start.isoformat(),
                "endTimeExclusive": end.isoformat(),
                "rangeStartTime": start.isoformat(),
                "rangeEndTime": end.isoformat(),
            }
        )


def _no_pipe() -> Response:
    return error(
        404, "390404", "The requested resource does not exist or you are not authorized: pipe not found."
    )


def _time(text: str) -> datetime:
    value = datetime.fromisoformat(text)
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def _files(body: bytes, content_type: str) -> list[tuple[str, int]]:
    """(path, size) of ``{"files": [{"path", "size"}]}``, or of one path a line."""
    if content_type.startswith("text/plain"):
        return [(line, 0) for line in body.decode().splitlines() if line]
    return [(str(f["path"]), int(f.get("size") or 0)) for f in json.loads(body)["files"]]


def _entry(pipe: Pipe, event: LoadEvent) -> dict[str, Any]:
    failed = event.error is not None
    return {
        "path": event.file.path,
        "stageLocation": f"@{pipe.stage}/",
        "fileSize": event.file.size,
        "timeReceived": event.file.received_at.isoformat(),
        "lastInsertTime": event.done_at.isoformat(),
        "rowsInserted": event.rows,
        "rowsParsed": event.rows,
        "errorsSeen": int(failed),
        "errorLimit": 1,
        "firstError": event.error,
        "firstErrorLineNum": None,
        "firstErrorCharacterPos": None,
        "firstErrorColumnName": None,
        "systemError": None,
        "complete": True,
        "status": event.status,
    }
