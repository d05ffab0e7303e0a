"""Snowpipe's loading: files are queued, loaded by a few workers, and remembered by name.

The steps, each safe against ``kill -9``:

1. ``insertFiles`` writes the files into the queue table, then answers. What was accepted is not forgotten.
2. A worker takes a batch of one pipe. One DuckDB transaction holds the rows of all its files, their history
and
   their removal from the queue. Either all of that is there after a crash or none of it.
3. Where a file of the batch fails, every file of the batch gets a transaction of its own; the bad one is
recorded as
   LOAD_FAILED.

A file that a pipe has loaded is never loaded by it again. A pipe is worked on by one worker at a time, so
that the numbers of its events, which are the marks of ``insertReport``, only grow.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import duckdb
from fakesnow.copy_into import copy_into

from madhatter_provider.local.snowflake.catalog import Pipe

if TYPE_CHECKING:
    from madhatter_provider.local.snowflake.engine import LocalConnection, LocalSnowflake

log = logging.getLogger(__name__)
_BATCH = 50
_TRIES = 5


@dataclass(frozen=True, slots=True)
class QueuedFile:
    """A file that a pipe was told of. ``path`` is relative to the pipe's stage location; ``size`` in bytes,
    if known.
    """

    path: str
    size: int
    received_at: datetime


@dataclass(frozen=True, slots=True)
class LoadEvent:
    """What became of a file. ``number`` counts up within its pipe."""

    number: int
    file: QueuedFile
    done_at: datetime
    rows: int
    error: str | None = None

    @property
    def status(self) -> str:
        """Snowflake's word for it."""
        return "LOADED" if self.error is None else "LOAD_FAILED"


@dataclass(slots=True)
class _State:
    """One pipe's queue and history in memory; the tables are the truth after a restart."""

    waiting: deque[QueuedFile] = field(default_factory=deque)
    running: list[QueuedFile] = field(default_factory=list)
    events: list[LoadEvent] = field(default_factory=list)
    known: set[str] = field(default_factory=set)
    busy: bool = False


class PipeLoader:
    """The queue of every pipe and the workers that empty them."""

    def __init__(self, engine: LocalSnowflake, workers: int = 2) -> None:
        self._engine, self._workers = engine, workers
        self._wakeup = threading.Condition()
        self._states: dict[str, _State] = {}
        self._threads: list[threading.Thread] = []
        self._stopping = False

    def start(self) -> None:
        """Read queues and histories of all pipes, and go to work."""
        for pipe in self._engine.catalog.pipes().values():
            self._states[pipe.name] = self._read(pipe)
        for number in range(self._workers):
            thread = threading.Thread(target=self._work, name=f"pipe-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Finish the batches at hand, then stop."""
        with self._wakeup:
            self._stopping = True
            self._wakeup.notify_all()
        for thread in self._threads:
            thread.join()

    def submit(self, pipe: Pipe, files: Sequence[tuple[str, int]]) -> list[str]:
        """Queue files (path, bytes) for a pipe; they are on disk when this returns.

        :returns: paths that were left out, as the pipe has loaded them or has them in its queue.
        """
        now = datetime.now(UTC)
        with self._wakeup:
            state = self._states.setdefault(pipe.name, _State())
            new: dict[str, QueuedFile] = {}
            for path, size in files:
                if path not in state.known and path not in new:
                    new[path] = QueuedFile(path, size, now)
            if new:
                with self._session(pipe) as conn:
                    conn._duck_conn.execute(
                        f"INSERT INTO {_queue(pipe)} SELECT ?, UNNEST(?), UNNEST(?), ?",
                        [pipe.name, list(new), [f.size for f in new.values()], now],
                    )
                state.waiting.extend(new.values())
                state.known.update(new)
                self._wakeup.notify_all()
        return [path for path, _ in files if path not in new]

    def wake(self) -> None:
        """Look at the queues again: a pipe may have been resumed."""
        with self._wakeup:
            self._wakeup.notify_all()

    def prepare(self, pipe: Pipe) -> None:
        """Make the tables that hold queue and history: in the pipe's own database, as one transaction spans
        only one.
        """
        with self._session(pipe) as conn:
            conn._duck_conn.execute(
                f"CREATE TABLE IF NOT EXISTS {_queue(pipe)} "
                "(pipe VARCHAR, path VARCHAR, size BIGINT, received_at TIMESTAMPTZ);"
                f"CREATE TABLE IF NOT EXISTS {_events(pipe)} (pipe VARCHAR, number BIGINT, path VARCHAR, "
                "size BIGINT, received_at TIMESTAMPTZ, done_at TIMESTAMPTZ, rows BIGINT, error VARCHAR)"
            )

    def forget(self, pipe: Pipe) -> None:
        """Drop queue and history: what happens when a pipe is dropped or replaced."""
        with self._wakeup:
            self._wakeup.wait_for(lambda: not self._states.get(pipe.name, _State()).busy)
            with self._session(pipe) as conn:
                conn._duck_conn.execute(f"DELETE FROM {_queue(pipe)} WHERE pipe = ?", [pipe.name])
                conn._duck_conn.execute(f"DELETE FROM {_events(pipe)} WHERE pipe = ?", [pipe.name])
            self._states.pop(pipe.name, None)

    def events(self, pipe: Pipe, after: int = 0, newer_than: timedelta | None = None) -> list[LoadEvent]:
        """Events with a number greater than ``after``, oldest first."""
        since = datetime.now(UTC) - newer_than if newer_than else datetime.min.replace(tzinfo=UTC)
        with self._wakeup:
            state = self._states.get(pipe.name, _State())
            return [e for e in state.events[after:] if e.done_at >= since]

    def last_number(self, pipe: Pipe) -> int:
        """Number of the newest event; 0 if there is none."""
        with self._wakeup:
            return len(self._states.get(pipe.name, _State()).events)

    def active(self, pipe: Pipe) -> int:
        """Files that are queued or being loaded."""
        with self._wakeup:
            state = self._states.get(pipe.name, _State())
            return len(state.waiting) + len(state.running)

    def status(self, pipe: Pipe) -> dict[str, Any]:
        """What ``SYSTEM$PIPE_STATUS`` says."""
        status: dict[str, Any] = {
            "executionState": "PAUSED" if pipe.paused else "RUNNING",
            "pendingFileCount": self.active(pipe),
        }
        loaded = [e for e in self.events(pipe) if e.error is None]
        if loaded:
            status["lastIngestedTimestamp"] = loaded[-1].done_at.isoformat()
            status["lastIngestedFilePath"] = loaded[-1].file.path
        return status

    def _session(self, pipe: Pipe) -> LocalConnection:
        return self._engine.connect(pipe.database, pipe.schema)

    def _read(self, pipe: Pipe) -> _State:
        self.prepare(pipe)
        state = _State()
        with self._session(pipe) as conn:
            rows = conn._duck_conn.execute(
                "SELECT number, path, size, received_at, done_at, rows, error "
                f"FROM {_events(pipe)} WHERE pipe = ? ORDER BY number",
                [pipe.name],
            ).fetchall()
            for number, path, size, received, done, count, error in rows:
                file = QueuedFile(path, size, received.astimezone(UTC))
                state.events.append(LoadEvent(number, file, done.astimezone(UTC), count, error))
            waiting = conn._duck_conn.execute(
                f"SELECT path, size, received_at FROM {_queue(pipe)} WHERE pipe = ? ORDER BY received_at",
                [pipe.name],
            ).fetchall()
            state.waiting.extend(QueuedFile(p, s, r.astimezone(UTC)) for p, s, r in waiting)
        state.known = {e.file.path for e in state.events if e.error is None} | {f.path for f in state.waiting}
        return state

    def _work(self) -> None:
        while (taken := self._take()) is not None:
            pipe, files = taken
            events: list[LoadEvent] = []
            try:
                events = self._load(pipe, files)
            except Exception:
                log.exception("Pipe %s: worker failed; its files stay queued", pipe.name)
                self._give_back(pipe, files)
                continue
            with self._wakeup:
                state = self._states[pipe.name]
                state.events.extend(events)
                state.known.difference_update(e.file.path for e in events if e.error is not None)
                state.running, state.busy = [], False
                self._wakeup.notify_all()

    def _give_back(self, pipe: Pipe, files: list[QueuedFile]) -> None:
        with self._wakeup:
            state = self._states[pipe.name]
            state.waiting.extendleft(reversed(files))
            state.running, state.busy = [], False
            self._wakeup.wait(timeout=1.0)

    def _take(self) -> tuple[Pipe, list[QueuedFile]] | None:
        with self._wakeup:
            while not self._stopping:
                for pipe in self._engine.catalog.pipes().values():
                    state = self._states.get(pipe.name)
                    if state and state.waiting and not state.busy and not pipe.paused:
                        state.running = [
                            state.waiting.popleft() for _ in range(min(_BATCH, len(state.waiting)))
                        ]
                        state.busy = True
                        return pipe, state.running
                self._wakeup.wait()
        return None

    def _load(self, pipe: Pipe, files: list[QueuedFile]) -> list[LoadEvent]:
        first = self.last_number(pipe) + 1
        with self._session(pipe) as conn:
            try:
                return self._commit(conn, pipe, files, first)
            except Exception:
                if len(files) > 1:
                    log.info(
                        "Pipe %s: a file of a batch of %d failed, loading one by one", pipe.name, len(files)
                    )
            return [self._load_one(conn, pipe, f, first + i) for i, f in enumerate(files)]

    def _load_one(self, conn: LocalConnection, pipe: Pipe, file: QueuedFile, number: int) -> LoadEvent:
        for attempt in range(_TRIES):
            try:
                return self._commit(conn, pipe, [file], number)[0]
            except duckdb.TransactionException:
                if attempt == _TRIES - 1:
                    raise
            except Exception as err:
                log.info("Pipe %s: %s failed: %s", pipe.name, file.path, err)
                return self._commit(conn, pipe, [file], number, error=_reason(err))[0]
        raise AssertionError("unreachable: the last try returns or raises")

    def _commit(
        self,
        conn: LocalConnection,
        pipe: Pipe,
        files: list[QueuedFile],
        number: int,
        error: str | None = None,
    ) -> list[LoadEvent]:
        """Rows, history and queue in one transaction."""
        duck, events = conn._duck_conn, []
        duck.begin()
        try:
            for i, file in enumerate(files):
                rows = self._copy(conn, pipe, file.path) if error is None else 0
                events.append(LoadEvent(number + i, file, datetime.now(UTC), rows, error))
            duck.execute(
                f"DELETE FROM {_queue(pipe)} WHERE pipe = ? AND path IN (SELECT UNNEST(?))",
                [pipe.name, [f.path for f in files]],
            )
            duck.execute(
                f"INSERT INTO {_events(pipe)} SELECT ?{', UNNEST(?)' * 7}",
                [pipe.name, *(list(values) for values in zip(*map(_as_row, events), strict=True))],
            )
            duck.commit()
        except BaseException:
            duck.rollback()
            raise
        return events

    def _copy(self, conn: LocalConnection, pipe: Pipe, path: str) -> int:
        copy_into(conn._duck_conn, pipe.database, pipe.schema, pipe.copy_of(path), conn.table_stages)
        rows = conn._duck_conn.fetchall()
        return sum(int(row[3]) for row in rows if len(row) > 3)


def _as_row(event: LoadEvent) -> tuple[Any, ...]:
    file = event.file
    return event.number, file.path, file.size, file.received_at, event.done_at, event.rows, event.error


def _reason(err: Exception) -> str:
    return str(getattr(err, "raw_msg", None) or err).split("\n\n", 1)[0][:1000]


def _queue(pipe: Pipe) -> str:
    return f'"{pipe.database}"._fs_information_schema._mh_pipe_queue'


def _events(pipe: Pipe) -> str:
    return f'"{pipe.database}"._fs_information_schema._mh_pipe_events'
