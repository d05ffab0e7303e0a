"""Snowflake's answers, kept for a few seconds: however many people look, each question is asked once.

- An answer younger than ``fresh`` is given as it is.
- An older one is given at once too, while it is asked anew in the background; one older than ``stale`` only
  if the new one does not come in time or fails, and then with the fault.
- Nobody waits longer than ``patience``: a page must say that Snowflake is away, not hang.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from madhatter_provider.core.errors import MadHatterError, SnowflakeUnavailable

Rows = list[dict[str, Any]]
Ask = Callable[[str, Sequence[Any]], Rows]

_KEPT: Final = 1000
_STALE_SECONDS: Final = 30.0
_PATIENCE_SECONDS: Final = 6.0
_WORKERS: Final = 8


@dataclass(frozen=True, slots=True)
class Answer:
    """Rows, and when Snowflake gave them. ``fault``: why they are not newer, if something went wrong."""

    rows: Rows
    as_of: datetime
    fault: MadHatterError | None = None


def _done() -> Future[None]:
    future: Future[None] = Future()
    future.set_result(None)
    return future


@dataclass(slots=True)
class _Entry:
    rows: Rows | None = None
    as_of: datetime = field(default_factory=lambda: datetime.now(UTC))
    asked_at: float = float("-inf")
    fault: MadHatterError | None = None
    running: Future[None] = field(default_factory=_done)


class Answers:
    """Asks in threads of its own, each question once at a time.

    :param ask: runs one statement; called in several threads at once.
    :param fresh: seconds that an answer is given without asking again.
    :param patience: seconds that a caller waits for the first answer.
    """

    def __init__(self, ask: Ask, *, fresh: float = 5.0, patience: float = _PATIENCE_SECONDS) -> None:
        self._ask, self._fresh, self._patience = ask, fresh, patience
        self._entries: OrderedDict[Any, _Entry] = OrderedDict()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="control-room")

    def get(self, statement: str, bindings: Sequence[Any] = ()) -> Answer:
        """The newest answer at hand.

        :raises MadHatterError: there is none, and this is why.
        """
        return self.gather([(statement, bindings)])[0]

    def gather(self, questions: Sequence[tuple[str, Sequence[Any]]]) -> list[Answer]:
        """Answers to several questions, asked side by side.

        :raises MadHatterError: one has none, and this is why.
        """
        found = self.try_gather(questions)
        for one in found:
            if isinstance(one, MadHatterError):
                raise one
        return [one for one in found if isinstance(one, Answer)]

    def try_gather(self, questions: Sequence[tuple[str, Sequence[Any]]]) -> list[Answer | MadHatterError]:
        """The same, with the fault in the place of an answer that there is not."""
        entries = [self._begin(statement, tuple(bindings)) for statement, bindings in questions]
        deadline = time.monotonic() + self._patience
        return [self._finish(entry, deadline) for entry in entries]

    def begin(self, questions: Sequence[tuple[str, Sequence[Any]]]) -> None:
        """Ask, if need be, and wait for nothing: whoever gets the answers soon finds them on their way."""
        for statement, bindings in questions:
            self._begin(statement, tuple(bindings))

    def holds(self, statement: str, bindings: Sequence[Any] = ()) -> bool:
        """Whether there is an answer that would be given as it is."""
        with self._lock:
            entry = self._entries.get((statement, tuple(bindings)))
        return bool(entry and entry.rows is not None and time.monotonic() - entry.asked_at <= self._fresh)

    def forget(self) -> None:
        """Ask everything anew."""
        with self._lock:
            self._entries.clear()

    def _begin(self, statement: str, bindings: tuple[Any, ...]) -> _Entry:
        with self._lock:
            entry = self._entries.setdefault((statement, bindings), _Entry())
            self._entries.move_to_end((statement, bindings))
            while len(self._entries) > _KEPT:
                self._entries.popitem(last=False)
            if entry.running.done() and time.monotonic() - entry.asked_at > self._fresh:
                entry.running = self._pool.submit(self._refresh, entry, statement, bindings)
        return entry

    def _refresh(self, entry: _Entry, statement: str, bindings: tuple[Any, ...]) -> None:
        try:
            entry.rows, entry.fault = self._ask(statement, bindings), None
            entry.as_of = datetime.now(UTC)
        except MadHatterError as err:
            entry.fault = err
        finally:
            entry.asked_at = time.monotonic()

    def _finish(self, entry: _Entry, deadline: float) -> Answer | MadHatterError:
        too_old = (datetime.now(UTC) - entry.as_of).total_seconds() > _STALE_SECONDS
        if entry.rows is None or (too_old and entry.fault is None):
            try:
                entry.running.result(max(0.0, deadline - time.monotonic()))
            except FutureTimeoutError:
                return self._given(entry, _slow(self._patience))
        return self._given(entry, entry.fault)

    @staticmethod
    def _given(entry: _Entry, fault: MadHatterError | None) -> Answer | MadHatterError:
        if entry.rows is not None:
            return Answer(entry.rows, entry.as_of, fault)
        return fault or _slow(0.0)


def _slow(seconds: float) -> MadHatterError:
    return SnowflakeUnavailable(
        f"Snowflake has not answered within {seconds:g} s",
        where="the control room",
        remedy="It is still asked; this page tries again by itself. If it lasts, look at the warehouse.",
    )


class SnowflakeClients:
    """One client per thread, made when first needed; a fault throws it away, so that a mended connection is
    read anew.
    """

    def __init__(self, conn_id: str, timeout: float = 10.0) -> None:
        self._conn_id, self._timeout = conn_id, timeout
        self._local = threading.local()

    def ask(self, statement: str, bindings: Sequence[Any]) -> Rows:
        """Run one statement.

        :raises MadHatterError: whatever went wrong.
        """
        from madhatter_provider.hooks.snowflake_rest import SnowflakeRestHook

        hook = getattr(self._local, "hook", None)
        if hook is None:
            hook = self._local.hook = SnowflakeRestHook(self._conn_id, timeout=self._timeout)
        try:
            return hook.execute(statement, bindings)
        except BaseException:
            self._local.hook = None
            if "client" in vars(hook):
                hook.client.close()
            raise
