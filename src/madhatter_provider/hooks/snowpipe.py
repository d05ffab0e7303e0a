"""Snowpipe's REST API: hand files to a pipe, and ask what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.core.landing.manifest import LandedFile
from madhatter_provider.core.warehouse.ingest import FileLoad, InsertReport
from madhatter_provider.hooks.snowflake_http import Call, Deadline, SnowflakeHttp, Steps
from madhatter_provider.hooks.snowflake_rest import Rows, SnowflakeRestHook

MOST_FILES = 5_000
"""Snowflake takes no more in one call."""


class SnowpipeRest(SnowflakeHttp):
    """Calls to pipes of one account, each blocking or, with an ``a`` before its name, not.

    Pipes are named ``SCHEMA.PIPE`` in the profile's database, or ``DATABASE.SCHEMA.PIPE``. All calls may be
    repeated: a pipe leaves out files that it knows. All raise SnowflakeUnavailable when there is no answer
    within the timeout, and ConfigurationError when the pipe is unknown or the key is refused.
    """

    def insert_files(self, pipe: str, files: Sequence[LandedFile]) -> None:
        """Hand files (paths relative to the pipe's stage) to a pipe, 5,000 a call. It loads them later."""
        self.run(self._insert_files(pipe, files))

    async def ainsert_files(self, pipe: str, files: Sequence[LandedFile]) -> None:
        """:meth:`insert_files` for an event loop."""
        await self.arun(self._insert_files(pipe, files))

    def insert_report(self, pipe: str, begin_mark: str | None = None) -> InsertReport:
        """What was loaded since a mark, within the last ten minutes. May name a file more than once."""
        return self.run(self._insert_report(pipe, begin_mark))

    async def ainsert_report(self, pipe: str, begin_mark: str | None = None) -> InsertReport:
        """:meth:`insert_report` for an event loop."""
        return await self.arun(self._insert_report(pipe, begin_mark))

    def load_history_scan(self, pipe: str, start: datetime, end: datetime | None = None) -> list[FileLoad]:
        """What was loaded in [start, end). Expensive, and soon answered with 429: for audits, not for
        waiting.
        """
        return self.run(self._load_history_scan(pipe, start, end))

    async def aload_history_scan(
        self, pipe: str, start: datetime, end: datetime | None = None
    ) -> list[FileLoad]:
        """:meth:`load_history_scan` for an event loop."""
        return await self.arun(self._load_history_scan(pipe, start, end))

    def _call(self, pipe: str, method: str, action: str, params: dict[str, str], body: Any = None) -> Call:
        name = self.qualified(pipe)
        return Call(method, f"/v1/data/pipes/{name}/{action}", params, body, about=f"{action} of pipe {name}")

    def qualified(self, pipe: str) -> str:
        """``DATABASE.SCHEMA.PIPE``.

        :raises ConfigurationError: the profile has no database, or the name no schema.
        """
        parts = pipe.split(".")
        if len(parts) == 2 and self.profile.database:
            parts = [self.profile.database, *parts]
        if len(parts) != 3:
            raise ConfigurationError(
                f"Pipe {pipe!r} is not fully qualified",
                where=self.profile.source,
                remedy="Name it SCHEMA.PIPE and set database in the connection, or DATABASE.SCHEMA.PIPE.",
            )
        return ".".join(p if p.startswith('"') else p.upper() for p in parts)

    def _insert_files(self, pipe: str, files: Sequence[LandedFile]) -> Steps[None]:
        deadline = Deadline(self.timeout)
        for i in range(0, len(files), MOST_FILES):
            body = {"files": [{"path": f.path, "size": f.bytes} for f in files[i : i + MOST_FILES]]}
            yield from self.ask(self._call(pipe, "POST", "insertFiles", {}, body), deadline)

    def _insert_report(self, pipe: str, begin_mark: str | None) -> Steps[InsertReport]:
        files: list[FileLoad] = []
        while True:
            params = {"beginMark": begin_mark} if begin_mark else {}
            answer = yield from self.ask(
                self._call(pipe, "GET", "insertReport", params), Deadline(self.timeout)
            )
            content = answer.json()
            files += _loads(content)
            begin_mark = content.get("nextBeginMark") or begin_mark
            if content.get("completeResult", True) or not content.get("files"):
                active = int((content.get("statistics") or {}).get("activeFilesCount") or 0)
                return InsertReport(tuple(files), begin_mark, active)

    def _load_history_scan(self, pipe: str, start: datetime, end: datetime | None) -> Steps[list[FileLoad]]:
        files: list[FileLoad] = []
        last = _iso(end) if end else ""
        begin, deadline = _iso(start), Deadline(self.timeout)
        while True:
            params = {"startTimeInclusive": begin, **({"endTimeExclusive": last} if last else {})}
            answer = yield from self.ask(self._call(pipe, "GET", "loadHistoryScan", params), deadline)
            content = answer.json()
            files += _loads(content)
            reached = content.get("rangeEndTime")
            if content.get("completeResult", True) or not reached or reached == begin:
                return files
            begin = reached


class SnowpipeHook(SnowflakeRestHook):
    """Snowpipe beside SQL, by one Airflow connection.

    :param snowflake_conn_id: connection id.
    :param timeout: seconds that one call may take, its repetitions included.
    """

    @cached_property
    def pipes(self) -> SnowpipeRest:
        """Client of the Snowpipe API."""
        return SnowpipeRest(self.profile, self.timeout)

    def insert_files(self, pipe: str, files: Sequence[LandedFile]) -> None:
        """See :meth:`SnowpipeRest.insert_files`."""
        self.pipes.insert_files(pipe, files)

    def insert_report(self, pipe: str, begin_mark: str | None = None) -> InsertReport:
        """See :meth:`SnowpipeRest.insert_report`."""
        return self.pipes.insert_report(pipe, begin_mark)

    def load_history_scan(self, pipe: str, start: datetime, end: datetime | None = None) -> list[FileLoad]:
        """See :meth:`SnowpipeRest.load_history_scan`."""
        return self.pipes.load_history_scan(pipe, start, end)

    def pipe_status(self, pipe: str) -> dict[str, Any]:
        """What ``SYSTEM$PIPE_STATUS`` says: ``executionState``, ``pendingFileCount`` …"""
        return _status(self.client.execute(*_status_statement(self.pipes.qualified(pipe))))

    async def apipe_status(self, pipe: str) -> dict[str, Any]:
        """:meth:`pipe_status` for an event loop."""
        return _status(await self.client.aexecute(*_status_statement(self.pipes.qualified(pipe))))

    def close(self) -> None:
        """Close connections."""
        self.pipes.close()
        self.client.close()

    async def aclose(self) -> None:
        """Close the event loop's connections."""
        await self.pipes.aclose()
        await self.client.aclose()


def _status_statement(pipe: str) -> tuple[str]:
    escaped = pipe.replace("'", "''")
    return (f"SELECT SYSTEM$PIPE_STATUS('{escaped}') AS STATUS",)


def _status(rows: Rows) -> dict[str, Any]:
    import json

    status: dict[str, Any] = json.loads(rows[0]["STATUS"])
    return status


def _iso(value: datetime) -> str:
    return value.replace(tzinfo=value.tzinfo or UTC).astimezone(UTC).isoformat(timespec="milliseconds")


def _loads(content: dict[str, Any]) -> list[FileLoad]:
    return [
        FileLoad(
            f["path"],
            str(f.get("status") or ""),
            int(f.get("rowsInserted") or 0),
            f.get("firstError") or f.get("systemError"),
        )
        for f in content.get("files") or ()
    ]
