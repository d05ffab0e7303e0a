"""Write a slice in several processes, whole ranges each: the files are those that one process writes."""

from __future__ import annotations

import contextlib
import pickle
import queue
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from typing import Any

from madhatter_provider.core.errors import ConfigurationError, MadHatterError, WorkerDied
from madhatter_provider.core.landing.range_writer import Written
from madhatter_provider.core.landing.scratch import Scratch
from madhatter_provider.core.landing.writing import Writing
from madhatter_provider.core.slices.offsets import OffsetRange, Slice
from madhatter_provider.hooks.landing_process import Done, Failed, Order, Read

# Not -m: what such a process pickles belongs to a module __main__, which is another one here.
_COMMAND = (sys.executable, "-c", "from madhatter_provider.hooks.landing_process import main; main()")


def shares(owned: Slice, processes: int) -> list[Slice]:
    """At most so many parts of nearly equal size, made of whole ranges."""
    parts: list[list[OffsetRange]] = [[] for _ in range(min(processes, len(owned.ranges)))]
    sizes = [0] * len(parts)
    for r in sorted(owned, key=len, reverse=True):
        least = sizes.index(min(sizes))
        parts[least].append(r)
        sizes[least] += len(r)
    return [Slice(owned.topic, owned.topic_id, tuple(part)) for part in parts]


def write_in_processes(
    writing: Writing,
    config: Mapping[str, Any],
    processes: int,
    scratch: Scratch,
    *,
    where: str,
    on_read: Callable[[int, int], None],
    batch: int = 10_000,
    stall_seconds: float = 60.0,
) -> Generator[Written]:
    """Read and write all ranges; see :func:`~madhatter_provider.core.landing.range_writer.write_slice`.

    Whatever happens, no process is left when this ends; if this process is killed, they end by themselves.

    :param on_read: called with the messages and bytes read since.
    :raises WorkerDied: a process ended without a word, killed by the system for its memory, say.
    :raises ConfigurationError: the client's configuration cannot be handed to another process.
    """
    orders = [
        _pickled(Order(replace(writing, owned=part), config, where, scratch, batch, stall_seconds))
        for part in shares(writing.owned, processes)
    ]
    answers: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
    with contextlib.ExitStack() as workers:
        for number, order in enumerate(orders):
            process = workers.enter_context(_worker(order))
            threading.Thread(target=_listen, args=(process, number, answers), daemon=True).start()
        working = set(range(len(orders)))
        while working:
            number, answer = answers.get()
            if isinstance(answer, Done):
                working.discard(number)
            elif isinstance(answer, Read):
                on_read(answer.messages, answer.bytes)
            elif isinstance(answer, MadHatterError):
                raise answer
            elif isinstance(answer, Failed):
                raise RuntimeError(f"A landing process failed:\n{answer.traceback}")
            elif answer is not None:
                yield answer
            elif number in working:
                raise WorkerDied(
                    "A landing process ended without a word",
                    where=f"process {number + 1} of {len(orders)}, slice {writing.owned}",
                    remedy="Look for the system's out-of-memory killer; each process needs 512 MiB.",
                )


def _pickled(order: Order) -> bytes:
    try:
        return pickle.dumps(order)
    except Exception as err:
        raise ConfigurationError(
            f"The connection's configuration cannot be handed to another process: {err}",
            where=f"connection {order.where}",
            remedy="Use processes=1, or a configuration without callbacks.",
        ) from err


@contextlib.contextmanager
def _worker(order: bytes) -> Generator[subprocess.Popen[bytes]]:
    """A process with its order; its standard input stays open, which keeps it alive."""
    process = subprocess.Popen(_COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    try:
        with contextlib.suppress(BrokenPipeError):  # it is dead already: its answers will end
            process.stdin.write(order)
            process.stdin.flush()
        yield process
    finally:
        process.kill()
        process.wait()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()


def _listen(
    process: subprocess.Popen[bytes], number: int, answers: queue.SimpleQueue[tuple[int, Any]]
) -> None:
    """Hand on all answers, and ``None`` after the last or what else ended them."""
    assert process.stdout is not None
    try:
        with process.stdout as stream:
            while True:
                answers.put((number, pickle.load(stream)))
    except (EOFError, pickle.UnpicklingError):  # it ended, perhaps in the middle of a word
        answers.put((number, None))
    except Exception:
        answers.put((number, Failed(traceback.format_exc())))
