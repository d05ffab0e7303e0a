"""Hand landed files to Snowpipe and prove that every row arrived.

The protocol, numbered as in docs/slice-protocol.md, safe to begin again after any step and at any later time:

4.1 Count the slice's rows in the table. All there: done; a run that is cleared weeks later hands nothing
    over again.
4.2 Hand the files to the pipe. It leaves out names that it has loaded or is loading.
4.3 Read the pipe's report until every file is named in it. The report repeats itself and forgets after ten
    minutes; a file it no longer speaks of is proved by step 4.4. A file that failed ends the ingest.
4.4 Count again. The table must hold exactly the rows of the files: more or, once every file is loaded,
    fewer is a broken promise.

The steps are written once (:func:`_steps`) and carried out blocking by :func:`ingest`, or by :func:`aingest`
in an event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from madhatter_provider.core.crash_points import reached
from madhatter_provider.core.errors import ConservationError, LoadError, LoadTimeout
from madhatter_provider.core.landing.manifest import LandedFile, Manifest
from madhatter_provider.core.warehouse.gate import coordinates
from madhatter_provider.core.warehouse.sql_client import AsyncSql, Sql

_COUNT_EVERY = 10.0
"""Seconds between two counts while a file is missing from the report: it may have been loaded long ago."""


@dataclass(frozen=True, slots=True)
class FileLoad:
    """What the pipe says of one file."""

    path: str
    status: str
    rows: int
    error: str | None = None

    @property
    def loaded(self) -> bool:
        """All of it is in the table."""
        return self.status == "LOADED"

    @property
    def failed(self) -> bool:
        """It is not, or not all of it, and the pipe will not try again."""
        return self.status in ("LOAD_FAILED", "PARTIALLY_LOADED")


@dataclass(frozen=True, slots=True)
class InsertReport:
    """A pipe's report: loads since a mark, the next mark, and how many files it is still working on."""

    files: tuple[FileLoad, ...]
    next_mark: str | None
    active: int


@dataclass(frozen=True, slots=True)
class Ingest:
    """What is to be loaded: files of one topic epoch into one table through one pipe."""

    pipe: str
    table: str
    topic_id: str
    files: tuple[LandedFile, ...]

    @property
    def rows(self) -> int:
        """Rows of all files."""
        return sum(f.rows for f in self.files)

    @property
    def where(self) -> str:
        """For messages."""
        return f"pipe {self.pipe}, table {self.table}, {len(self.files)} files"

    def to_json(self) -> dict[str, Any]:
        """A JSON value."""
        return asdict(self) | {"files": [f.to_json() for f in self.files]}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Ingest:
        """Read what :meth:`to_json` wrote."""
        return cls(**{**value, "files": tuple(LandedFile.from_json(f) for f in value["files"])})


@dataclass(frozen=True, slots=True)
class IngestResult:
    """Every row is in the table."""

    files: int
    rows: int
    seconds: float
    reported: int
    """Files that the pipe's report named; the others were proved by counting."""


class Snowpipe(Protocol):
    """The two calls that an ingest needs."""

    def insert_files(self, pipe: str, files: Sequence[LandedFile]) -> None:
        """Hand files over."""

    def insert_report(self, pipe: str, begin_mark: str | None = None) -> InsertReport:
        """What was loaded since a mark."""


class AsyncSnowpipe(Protocol):
    """The same for an event loop."""

    async def ainsert_files(self, pipe: str, files: Sequence[LandedFile]) -> None:
        """Hand files over."""

    async def ainsert_report(self, pipe: str, begin_mark: str | None = None) -> InsertReport:
        """What was loaded since a mark."""


def ingests_of(manifests: Sequence[Manifest], table: str, schema: str = "RAW") -> list[Ingest]:
    """What a landing's manifests ask for: the stream's table, and the quarantine if it took rows.

    Manifests of several epochs of a topic give several ingests. Files without rows are left out.
    """
    targets = ((False, table), (True, "QUARANTINE"))
    found: list[Ingest] = []
    for quarantine, name in targets:
        for topic_id in dict.fromkeys(m.topic_id for m in manifests):
            files = tuple(
                f
                for m in manifests
                if m.topic_id == topic_id
                for f in m.files
                if f.quarantine is quarantine and f.rows
            )
            if files:
                found.append(Ingest(f"{schema}.{name}_PIPE", f"{schema}.{name}", topic_id, files))
    return found


def ingest(
    snowpipe: Snowpipe, sql: Sql, wanted: Ingest, *, poll_seconds: float = 0.5, timeout: float = 300.0
) -> IngestResult:
    """Load files and wait until all rows are in the table. Calling it again later goes on where it stopped.

    :param poll_seconds: time between two looks at the report.
    :param timeout: seconds until it gives up waiting.
    :raises LoadTimeout: not all rows arrived in time.
    :raises LoadError: Snowflake refused a file; the message names it and its first error.
    :raises ConservationError: the table holds more rows of this slice than the files, or fewer after
        every file was loaded.
    """
    steps = _steps(wanted, poll_seconds, timeout)
    answer: Any = None
    try:
        while True:
            step = steps.send(answer)
            if isinstance(step, _Count):
                answer = sql.execute(*step.statement)
            elif isinstance(step, _Insert):
                snowpipe.insert_files(wanted.pipe, step.files)
                answer = None
            elif isinstance(step, _Report):
                answer = snowpipe.insert_report(wanted.pipe, step.mark)
            else:
                time.sleep(step.seconds)
                answer = None
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]


async def aingest(
    snowpipe: AsyncSnowpipe,
    sql: AsyncSql,
    wanted: Ingest,
    *,
    poll_seconds: float = 2.0,
    timeout: float = 1800.0,
) -> IngestResult:
    """:func:`ingest` for an event loop."""
    steps = _steps(wanted, poll_seconds, timeout)
    answer: Any = None
    try:
        while True:
            step = steps.send(answer)
            if isinstance(step, _Count):
                answer = await sql.aexecute(*step.statement)
            elif isinstance(step, _Insert):
                await snowpipe.ainsert_files(wanted.pipe, step.files)
                answer = None
            elif isinstance(step, _Report):
                answer = await snowpipe.ainsert_report(wanted.pipe, step.mark)
            else:
                await asyncio.sleep(step.seconds)
                answer = None
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class _Count:
    statement: tuple[str, list[Any]]


@dataclass(frozen=True, slots=True)
class _Insert:
    files: tuple[LandedFile, ...]


@dataclass(frozen=True, slots=True)
class _Report:
    mark: str | None


@dataclass(frozen=True, slots=True)
class _Wait:
    seconds: float


def _steps(
    wanted: Ingest, poll_seconds: float, timeout: float
) -> Generator[_Count | _Insert | _Report | _Wait, Any, IngestResult]:
    began = time.monotonic()
    waiting, reported, mark = {f.path for f in wanted.files}, 0, None
    if _proved(wanted, (yield _count(wanted)), every_file_loaded=False):
        return IngestResult(len(wanted.files), wanted.rows, time.monotonic() - began, reported)
    reached("ingest.before_insert")
    yield _Insert(wanted.files)
    reached("ingest.after_insert")
    next_count = time.monotonic() + poll_seconds
    while True:
        report: InsertReport = yield _Report(mark)
        mark = report.next_mark or mark
        named = _named(wanted, waiting, report)
        waiting -= named
        reported += len(named)
        if not waiting or time.monotonic() >= next_count:
            if _proved(wanted, (yield _count(wanted)), every_file_loaded=not waiting):
                reached("ingest.loaded")
                return IngestResult(len(wanted.files), wanted.rows, time.monotonic() - began, reported)
            next_count = time.monotonic() + _COUNT_EVERY
        if time.monotonic() - began + poll_seconds > timeout:
            raise _too_late(wanted, waiting, timeout, report.active)
        yield _Wait(poll_seconds)


def _named(wanted: Ingest, waiting: set[str], report: InsertReport) -> set[str]:
    """Files of ours that the report says are loaded."""
    for load in report.files:
        if load.path in waiting and load.failed:
            raise LoadError(
                f"Snowflake refused {load.path} ({load.status}, {load.rows} rows loaded): {load.error}",
                where=wanted.where,
                remedy="Compare file and table (contract changed without `madhatter sql apply`?); "
                "mend the table, then clear the task.",
            )
    return {load.path for load in report.files if load.path in waiting and load.loaded}


def _count(wanted: Ingest) -> _Count:
    condition, bindings = coordinates(wanted.topic_id, [(f.partition, f.start, f.end) for f in wanted.files])
    return _Count((f"SELECT COUNT(*) AS ROW_COUNT FROM {wanted.table} WHERE {condition}", bindings))


def _proved(wanted: Ingest, counted: list[dict[str, Any]], *, every_file_loaded: bool) -> bool:
    rows = int(counted[0]["ROW_COUNT"])
    if rows > wanted.rows or (every_file_loaded and rows < wanted.rows):
        raise ConservationError(
            f"{wanted.rows} rows are in the files, {rows} in {wanted.table}",
            where=wanted.where,
            remedy="Look for another writer to the table, or for the same offsets under another file name.",
        )
    return rows == wanted.rows


def _too_late(wanted: Ingest, waiting: set[str], timeout: float, active: int) -> LoadTimeout:
    some = ", ".join(sorted(waiting)[:3]) or "none"
    return LoadTimeout(
        f"{len(waiting)} of {len(wanted.files)} files not loaded after {timeout:g} s, "
        f"the pipe works on {active}: {some}",
        where=wanted.where,
        remedy="Look at SYSTEM$PIPE_STATUS: is the pipe paused, the stage reachable? A retry waits on.",
    )
