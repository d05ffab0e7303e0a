"""One of several processes that write a slice; :mod:`.landing_processes` starts them.

It is started afresh and not forked: neither librdkafka nor the task's line to its supervisor lives through a
fork. It imports no Airflow, and gets all it needs, an :class:`Order`, pickled on its standard input. What it
writes it says, pickled, on its standard output. When its standard input ends, its parent is dead, and it ends
at once.
"""

from __future__ import annotations

import os
import pickle
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from madhatter_provider.core.errors import MadHatterError
from madhatter_provider.core.landing.batch import Batch
from madhatter_provider.core.landing.range_writer import write_slice
from madhatter_provider.core.landing.scratch import Scratch
from madhatter_provider.core.landing.storage import storage_errors
from madhatter_provider.core.landing.writing import Writing


@dataclass(frozen=True, slots=True)
class Order:
    """What a process is to read and write.

    :param config: configuration of the Kafka client.
    :param where: what the connection is called in messages.
    """

    writing: Writing
    config: Mapping[str, Any]
    where: str
    scratch: Scratch
    batch: int
    stall_seconds: float


@dataclass(frozen=True, slots=True)
class Read:
    """So many messages and bytes more were read."""

    messages: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Done:
    """Everything is written."""


@dataclass(frozen=True, slots=True)
class Failed:
    """An error that is none of this package's; its traceback."""

    traceback: str


def main() -> None:
    """Carry out the order."""
    # What a library prints must not come between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    order: Order = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_die_with_parent, daemon=True).start()

    def answer(one: object) -> None:
        pickle.dump(one, answers)
        answers.flush()

    try:
        _work(order, answer)
        answer(Done())
    except MadHatterError as err:
        answer(err)
    except Exception:
        answer(Failed(traceback.format_exc()))


def _work(order: Order, answer: Any) -> None:
    from madhatter_provider.hooks.kafka_reader import read_slice

    owned = order.writing.owned

    def counted() -> Iterator[Batch]:
        stall = order.stall_seconds
        for batch in read_slice(
            order.config, owned, batch=order.batch, stall_seconds=stall, where=order.where
        ):
            answer(Read(len(batch), batch.size))
            yield batch

    with storage_errors(f"process for {owned}"):
        for written in write_slice(order.writing, counted(), order.scratch):
            answer(written)


def _die_with_parent() -> None:
    os.read(0, 1)
    os._exit(1)
