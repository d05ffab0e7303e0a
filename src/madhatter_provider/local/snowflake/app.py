"""The ASGI application: the connector's protocol, the SQL API, Snowpipe and a health check on one port."""

from __future__ import annotations

import gzip
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta

import fakesnow.server as connector
import snowflake.connector.errors as sf
from fakesnow.dialect import parse_one
from sqlglot import Expr, exp
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from madhatter_provider.local.snowflake.auth import InvalidTokenError, Verifier
from madhatter_provider.local.snowflake.engine import LocalSnowflake
from madhatter_provider.local.snowflake.faults import Faults
from madhatter_provider.local.snowflake.rest import Guard, Snowpipe, error
from madhatter_provider.local.snowflake.sql_api import SqlApi

log = logging.getLogger(__name__)


def create_app(
    engine: LocalSnowflake,
    *,
    account: str = "",
    faults: bool = False,
    report_window: timedelta = timedelta(minutes=10),
) -> Starlette:
    """Put every protocol in front of an engine.

    :param account: account that tokens must be made for; empty: any.
    :param faults: serve ``/_faults``.
    :param report_window: how long ``insertReport`` remembers a load.
    """
    connector.shared_fs = engine
    connector.parse_one = _tolerant_parse  # type: ignore[attr-defined]
    verifier = Verifier(engine.catalog.keys_of, account)
    guard = Guard(verifier)

    async def login(request: Request) -> Response:
        return await _login(request, verifier)

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ready", "pipes": len(engine.catalog.pipes())})

    return Starlette(
        routes=[
            Route("/health", health),
            Route("/session/v1/login-request", login, methods=["POST"]),
            *(r for r in connector.routes if r.path != "/session/v1/login-request"),
            Route("/telemetry/send", _telemetry, methods=["POST"]),
            *SqlApi(engine, guard).routes(),
            *Snowpipe(engine, guard, report_window).routes(),
        ],
        middleware=[Middleware(Faults)] if faults else [],
        exception_handlers={404: _not_found, 405: _not_found, Exception: _unexpected},
        lifespan=_lifespan_of(engine),
    )


def _lifespan_of(engine: LocalSnowflake) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        engine.loader.start()
        yield
        engine.close()

    return lifespan


def _tolerant_parse(command: str) -> Expr:
    """fakesnow's server parses a statement before its cursor sees it; ours may be of those only our cursor
    understands.
    """
    try:
        return parse_one(command)
    except sf.ProgrammingError:
        return exp.Command(this=command)


async def _login(request: Request, verifier: Verifier) -> Response:
    """Check the connector's key-pair token, then let fakesnow open the session."""
    body = await request.body()
    try:
        data = json.loads(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)["data"]
        if data.get("AUTHENTICATOR") != "SNOWFLAKE_JWT":
            raise InvalidTokenError(
                f"authenticator {data.get('AUTHENTICATOR')!r}, only key pairs are accepted"
            )
        user = verifier.user(str(data.get("TOKEN")))
        if user != str(data.get("LOGIN_NAME")).upper():
            raise InvalidTokenError(f"token of {user!r} for login name {data.get('LOGIN_NAME')!r}")
    except InvalidTokenError as err:
        log.warning("Login refused: %s", err)
        return error(200, "390144", "JWT token is invalid.")
    except (ValueError, KeyError, TypeError) as err:
        return error(400, "391902", f"Request body is invalid: {err!r}")
    return await connector.login_request(request)


async def _telemetry(_: Request) -> Response:
    return JSONResponse({"success": True})


async def _not_found(request: Request, err: Exception) -> Response:
    return error(
        getattr(err, "status_code", 404), "390404", f"No such resource: {request.method} {request.url.path}"
    )


async def _unexpected(request: Request, err: Exception) -> Response:
    return error(500, "261000", f"The local server failed on {request.url.path}: {type(err).__name__}: {err}")
