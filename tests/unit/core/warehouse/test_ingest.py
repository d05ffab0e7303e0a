"""The ingest protocol against a pipe that behaves as badly as the documentation allows."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from madhatter_provider.core.errors import ConservationError, LoadError, LoadTimeout
from madhatter_provider.core.landing.manifest import LandedFile, LandedRange, Manifest
from madhatter_provider.core.warehouse.ingest import (
    FileLoad,
    Ingest,
    InsertReport,
    aingest,
    ingest,
    ingests_of,
)


def file(i: int, rows: int = 10, *, quarantine: bool = False) -> LandedFile:
    return LandedFile(f"f{i}", 0, i * 10, i * 10 + 10, rows, 1, quarantine)


WANTED = Ingest("RAW.P", "RAW.T", "T", (file(0), file(1)))


class Pipe:
    """Snowpipe and table in one. ``script`` is what the reports say, one after the other."""

    def __init__(self, *script: Sequence[FileLoad], rows: Sequence[int] = (0,), active: int = 0) -> None:
        self.reports, self.rows, self.active = list(script), list(rows), active
        self.inserted: list[str] = []
        self.marks: list[str | None] = []

    def insert_files(self, pipe: str, files: Sequence[LandedFile]) -> None:
        self.inserted += [f.path for f in files]

    def insert_report(self, pipe: str, begin_mark: str | None = None) -> InsertReport:
        self.marks.append(begin_mark)
        files = self.reports.pop(0) if self.reports else ()
        return InsertReport(tuple(files), f"m{len(self.marks)}", self.active)

    def execute(self, statement: str, bindings: Sequence[Any] = ()) -> list[dict[str, Any]]:
        assert list(bindings) == ["T"]
        return [{"ROW_COUNT": self.rows.pop(0) if len(self.rows) > 1 else self.rows[0]}]

    async def ainsert_files(self, pipe: str, files: Sequence[LandedFile]) -> None:
        self.insert_files(pipe, files)

    async def ainsert_report(self, pipe: str, begin_mark: str | None = None) -> InsertReport:
        return self.insert_report(pipe, begin_mark)

    async def aexecute(self, statement: str, bindings: Sequence[Any] = ()) -> list[dict[str, Any]]:
        return self.execute(statement, bindings)


def run(pipe: Pipe, wanted: Ingest = WANTED, timeout: float = 0.05, poll: float = 0.001) -> Any:
    return ingest(pipe, pipe, wanted, poll_seconds=poll, timeout=timeout)


LOADED = [FileLoad("f0", "LOADED", 10), FileLoad("f1", "LOADED", 10)]


def test_waits_for_every_file_and_proves_the_rows() -> None:
    pipe = Pipe([LOADED[0], FileLoad("other", "LOADED", 5)], [], [LOADED[0]], [LOADED[1]], rows=[0, 0, 20])
    done = run(pipe, poll=0.0, timeout=5)
    assert (done.files, done.rows, done.reported) == (2, 20, 2)
    assert pipe.inserted == ["f0", "f1"]
    assert pipe.marks == [None, "m1", "m2", "m3"]


def test_what_is_there_already_is_not_handed_over_again() -> None:
    pipe = Pipe(rows=[20])
    assert run(pipe).reported == 0
    assert pipe.inserted == []


def test_files_that_the_report_has_forgotten_are_proved_by_counting() -> None:
    pipe = Pipe([], [], [], rows=[10, 20])
    assert run(pipe, timeout=5).reported == 0


@pytest.mark.parametrize("status", ["LOAD_FAILED", "PARTIALLY_LOADED"])
def test_a_failed_file_is_named_with_its_error(status: str) -> None:
    with pytest.raises(LoadError, match=r"f1.*no such column"):
        run(Pipe([LOADED[0], FileLoad("f1", status, 3, "no such column")]))


def test_files_in_progress_and_files_of_others_do_not_end_it() -> None:
    with pytest.raises(LoadTimeout, match="2 of 2 files"):
        run(Pipe([FileLoad("f0", "LOAD_IN_PROGRESS", 0), FileLoad("other", "LOAD_FAILED", 0, "x")], active=2))


@pytest.mark.parametrize("rows", [[0, 19], [0, 21], [21]])
def test_rows_that_do_not_add_up_are_told(rows: list[int]) -> None:
    with pytest.raises(ConservationError, match="20 rows are in the files"):
        run(Pipe(LOADED, rows=rows))


def test_a_late_load_times_out_and_the_next_call_finishes() -> None:
    pipe = Pipe(rows=[0])
    with pytest.raises(LoadTimeout):
        run(pipe)
    pipe.rows = [20]
    assert run(pipe).rows == 20


def test_event_loop_takes_the_same_steps() -> None:
    pipe = Pipe([LOADED[0]], LOADED, rows=[0, 0, 20])
    done = asyncio.run(aingest(pipe, pipe, WANTED, poll_seconds=0.0, timeout=5))
    assert (done.rows, done.reported, pipe.inserted) == (20, 2, ["f0", "f1"])


def test_it_survives_as_json() -> None:
    assert Ingest.from_json(WANTED.to_json()) == WANTED


def test_manifests_become_ingests_by_table_and_epoch() -> None:
    def manifest(topic_id: str, *files: LandedFile) -> Manifest:
        ranges = (LandedRange(0, 0, 10, 10, 10, 0),)
        return Manifest("s", "s", topic_id, "r", "1", ranges, files)

    found = ingests_of(
        [
            manifest("A", file(0), file(1, quarantine=True)),
            manifest("A", file(2), file(3, rows=0)),
            manifest("B", file(4)),
        ],
        "CLICKS",
    )
    assert [(i.pipe, i.table, i.topic_id, [f.path for f in i.files]) for i in found] == [
        ("RAW.CLICKS_PIPE", "RAW.CLICKS", "A", ["f0", "f2"]),
        ("RAW.CLICKS_PIPE", "RAW.CLICKS", "B", ["f4"]),
        ("RAW.QUARANTINE_PIPE", "RAW.QUARANTINE", "A", ["f1"]),
    ]
    assert ingests_of([manifest("A")], "CLICKS") == []
