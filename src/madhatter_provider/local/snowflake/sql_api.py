"""The SQL API v2: ``/api/v2/statements``. Answers at once when the statement is quick, else with a handle to
ask for.

A request is a session: several statements in one (``MULTI_STATEMENT_COUNT``) can be a transaction, and what a
request leaves open is rolled back.
"""

from __future__ import annotations

import datetime as dt
import json
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import snowflake.connector.errors as sf
from fakesnow.converter import from_binding
from fakesnow.rowtype import describe_as_rowtype
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from madhatter_provider.core.warehouse.sql import split_statements
from madhatter_provider.local.snowflake.engine import LocalConnection, LocalCursor, LocalSnowflake
from madhatter_provider.local.snowflake.rest import Guard, error

_SYNC_SECONDS = 45.0
_PARTITION_ROWS = 10_000
_KEPT_STATEMENTS = 500
_RUNNING = "333334"


@dataclass(slots=True)
class _Run:
    """One statement: running, done or failed."""

    handle: str
    request_id: str
    created_ms: int
    future: Future[tuple[int, dict[str, Any]]] = field(default_factory=Future)
    partitions: list[list[list[str | None]]] = field(default_factory=list)
    conn: LocalConnection | None = None


class SqlApi:
    """Statements by handle and by request id, so that a repeated request does not run twice."""

    def __init__(self, engine: LocalSnowflake, guard: Guard, workers: int = 8) -> None:
        self._engine, self._guard = engine, guard
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="sql-api")
        self._runs: OrderedDict[str, _Run] = OrderedDict()
        self._by_request: dict[str, str] = {}

    def routes(self) -> list[Route]:
        """The API's routes."""
        base = "/api/v2/statements"
        return [
            Route(base, self._guard(self._post), methods=["POST"]),
            Route(base + "/{handle}", self._guard(self._get), methods=["GET"]),
            Route(base + "/{handle}/cancel", self._guard(self._cancel), methods=["POST"]),
        ]

    async def _post(self, request: Request) -> Response:
        try:
            body = json.loads(await request.body())
            statement = str(body["statement"])
            bindings = _bindings(body.get("bindings") or {})
            wanted = int((body.get("parameters") or {}).get("MULTI_STATEMENT_COUNT", 1))
        except (ValueError, KeyError, TypeError) as err:
            return error(400, "391902", f"Request body is invalid: {err!r}")
        request_id = request.query_params.get("requestId") or str(uuid.uuid4())
        run = None
        if request.query_params.get("retry", "").lower() == "true":
            run = self._runs.get(self._by_request.get(request_id, ""))
        if run is None:
            statements = split_statements(statement) if wanted != 1 or ";" in statement else [statement]
            if refusal := _refusal(len(statements), wanted, bindings):
                return error(422, *refusal)
            run = self._start(request_id, statements, bindings, body)
        wait = 0.0 if request.query_params.get("async", "").lower() == "true" else _SYNC_SECONDS
        return await run_in_threadpool(self._answer, run, wait)

    async def _get(self, request: Request) -> Response:
        run = self._runs.get(request.path_params["handle"])
        if run is None:
            return error(404, "390404", "Statement not found: unknown handle, or too long ago.")
        number = int(request.query_params.get("partition") or 0)
        if number and run.future.done() and number < len(run.partitions):
            return JSONResponse({"data": run.partitions[number]})
        return await run_in_threadpool(self._answer, run, 0.0)

    async def _cancel(self, request: Request) -> Response:
        run = self._runs.get(request.path_params["handle"])
        if run is None:
            return error(404, "390404", "Statement not found: unknown handle, or too long ago.")
        if run.conn is not None and not run.future.done():
            run.conn._duck_conn.interrupt()
        return JSONResponse(
            {
                "code": "000604",
                "message": "SQL execution canceled",
                "sqlState": "57014",
                "statementHandle": run.handle,
            }
        )

    def _start(
        self, request_id: str, statements: list[str], bindings: list[Any], body: dict[str, Any]
    ) -> _Run:
        run = self._new(request_id)
        self._by_request[request_id] = run.handle
        session = body.get("database"), body.get("schema")
        if len(statements) == 1:
            run.future = self._pool.submit(self._run, run, statements[0], bindings, *session)
        else:
            run.future = self._pool.submit(self._run_all, run, statements, *session)
        return run

    def _new(self, request_id: str) -> _Run:
        run = _Run(str(uuid.uuid4()), request_id, int(time.time() * 1000))
        self._runs[run.handle] = run
        while len(self._runs) > _KEPT_STATEMENTS:
            _, old = self._runs.popitem(last=False)
            self._by_request.pop(old.request_id, None)
        return run

    def _answer(self, run: _Run, seconds: float) -> Response:
        try:
            status, content = run.future.result(timeout=seconds)
        except FutureTimeoutError:
            message = "Asynchronous execution in progress. Use provided query id to perform query monitoring."
            status, content = 202, {"code": _RUNNING, "message": message}
        url = f"/api/v2/statements/{run.handle}"
        return JSONResponse(
            {**content, "statementHandle": run.handle, "statementStatusUrl": url}, status_code=status
        )

    def _run(
        self, run: _Run, statement: str, bindings: list[Any], database: str | None, schema: str | None
    ) -> tuple[int, dict[str, Any]]:
        try:
            with self._engine.connect(database, schema) as conn:
                run.conn = conn
                cursor = conn.cursor()
                cursor.execute(statement, binding_params=bindings or None, server=True)
                return 200, self._success(run, cursor)
        except sf.Error as err:
            return 422, _failure(err)

    def _run_all(
        self, run: _Run, statements: list[str], database: str | None, schema: str | None
    ) -> tuple[int, dict[str, Any]]:
        """One session for all; the first failure ends it, and with it what is not committed."""
        handles = []
        try:
            with self._engine.connect(database, schema) as conn:
                run.conn = conn
                for statement in statements:
                    cursor = conn.cursor()
                    cursor.execute(statement, server=True)
                    part = self._new(run.request_id)
                    part.future.set_result((200, self._success(part, cursor)))
                    handles.append(part.handle)
                cursor = conn.cursor()
                cursor.execute(_ALL_DONE, server=True)
                return 200, {**self._success(run, cursor), "statementHandles": handles}
        except sf.Error as err:
            return 422, _failure(err)

    def _success(self, run: _Run, cursor: LocalCursor) -> dict[str, Any]:
        row_type = describe_as_rowtype(cursor._describe_last_sql())
        table: Any = cursor._arrow_table
        columns = [
            [None if v is None else _ENCODERS.get(info["type"], str)(v) for v in values.to_pylist()]
            for info, values in zip(row_type, table.columns, strict=True)
        ]
        rows = [list(r) for r in zip(*columns, strict=True)]
        parts = [rows[i : i + _PARTITION_ROWS] for i in range(0, len(rows), _PARTITION_ROWS)] or [[]]
        run.partitions = parts
        return {
            "resultSetMetaData": {
                "numRows": len(rows),
                "format": "jsonv2",
                "rowType": [dict(c) for c in row_type],
                "partitionInfo": [{"rowCount": len(p), "uncompressedSize": sum(map(len, p))} for p in parts],
            },
            "data": parts[0],
            "code": "090001",
            "sqlState": "00000",
            "message": "Statement executed successfully.",
            "requestId": run.request_id,
            "createdOn": run.created_ms,
        }


_ALL_DONE = """SELECT 'Multiple statements executed successfully.' AS "multiple statement execution\""""


def _refusal(found: int, wanted: int, bindings: list[Any]) -> tuple[str, str] | None:
    """Code and message if a request holds another number of statements than it says, or binds values to
    several.
    """
    if wanted not in (0, found):
        return (
            "000008",
            f"Actual statement count {found} did not match the desired statement count {wanted}.",
        )
    if found > 1 and bindings:
        return "002211", "Bind variables are not supported in multi-statement requests."
    return None


def _failure(err: sf.Error) -> dict[str, Any]:
    number = err.errno if err.errno and err.errno > 0 else 9999
    return {
        "code": f"{number:06d}",
        "message": err.raw_msg or str(err),
        "sqlState": err.sqlstate or "58000",
    }


def _bindings(given: dict[str, dict[str, str]]) -> list[Any]:
    """Python values of ``{"1": {"type": "FIXED", "value": "10"}, …}`` in order."""
    return [_binding(given[str(i)]) for i in range(1, len(given) + 1)]


def _binding(binding: dict[str, str]) -> Any:
    if binding.get("value") is None:
        return None
    if binding["type"] == "REAL":
        return float(binding["value"])
    return from_binding(binding)


_EPOCH_DATE = dt.date(1970, 1, 1)


def _timestamp(value: dt.datetime) -> str:
    delta = value.replace(tzinfo=value.tzinfo or dt.UTC) - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    micros = delta // dt.timedelta(microseconds=1)
    return f"{micros // 1_000_000}.{micros % 1_000_000:06d}000"


def _time(value: dt.time) -> str:
    seconds = value.hour * 3600 + value.minute * 60 + value.second
    return f"{seconds}.{value.microsecond:06d}000"


def _fixed(value: int | Decimal) -> str:
    return format(value, "f") if isinstance(value, Decimal) else str(value)


_ENCODERS: dict[str, Callable[[Any], str]] = {
    "fixed": _fixed,
    "real": repr,
    "boolean": lambda v: "true" if v else "false",
    "date": lambda v: str((v - _EPOCH_DATE).days),
    "time": _time,
    "timestamp_ntz": _timestamp,
    "timestamp_tz": lambda v: f"{_timestamp(v)} 1440",
    "binary": lambda v: v.hex().upper(),
}
