"""What retention took: said until it is acknowledged, found by the audit, and recorded where nobody did."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner

from madhatter_provider.cli.main import app
from madhatter_provider.core.audit.model import Patience
from madhatter_provider.core.errors import LostRangeError
from madhatter_provider.testing.crash import Crash, crash_at

from .audited_stream import AuditedStream, MakeStream, make_stream_fixture, page_commands

__all__ = ["make_stream_fixture"]
pytestmark = pytest.mark.integration


def ledger(stream: AuditedStream, *arguments: str) -> Any:
    return CliRunner().invoke(
        app,
        ["ledger", *arguments, "--contracts", str(stream.contracts)],
        env={"SNOWFLAKE_ACCOUNT": None, "COLUMNS": "250"},
    )


def acknowledge(stream: AuditedStream, *options: str) -> Any:
    return ledger(stream, "acknowledge", stream.stream, *options, "--reason", "retention was too short")


@pytest.fixture(scope="module")
def cut(make_stream: MakeStream) -> AuditedStream:
    """Retention has taken 0:[14, 20) before it was claimed."""
    stream = make_stream()
    stream.land("r1", 0, 1)
    stream.send(0)
    stream.retention_takes(0, 20)
    return stream


def test_a_loss_is_said_until_somebody_acknowledges_it(cut: AuditedStream) -> None:
    for attempt in (1, 2):
        with pytest.raises(LostRangeError, match="6 offsets were deleted") as caught:
            cut.run("r2", attempt)
    assert "madhatter ledger acknowledge" in caught.value.remedy
    findings, actions = cut.look()
    assert [(f.kind, f.owned.ranges[0].start, f.owned.ranges[0].end) for f in findings] == [
        ("lost_not_acknowledged", 14, 20)
    ]
    assert [a.kind for a in actions] == ["advise"]
    assert "--range 0:14-20" in actions[0].said

    for wrong, words in (
        (("--range", "0:14-19"), "No loss that is not acknowledged is meant"),
        (("--range", "14-20"), "is no range"),
        (("--range", "0:14-20", "--all"), "Which losses?"),
        ((), "Which losses?"),
    ):
        assert words in str(acknowledge(cut, *wrong).exception)
    assert "with a reason" in str(ledger(cut, "acknowledge", cut.stream, "--all").exception)

    show, gaps, known = page_commands("ledger.md", cut)
    assert ledger(cut, *show[1:]).exit_code == 0
    assert ledger(cut, *gaps[1:]).exit_code == 0
    done = ledger(cut, *known[1:])
    assert "Acknowledged 1 losses, 6 offsets. Clear if red: r2" in done.output, done.output
    assert cut.kinds() == []
    assert cut.run("r2", 3)["decision"] == "pass"

    rows = json.loads(ledger(cut, "show", cut.stream, "--state", "lost", "--json").output)
    assert [(r["START_OFFSET"], r["END_OFFSET"], r["STATE"]) for r in rows] == [(14, 20, "lost")]
    assert rows[0]["ACKNOWLEDGED_BY"]
    shown = ledger(cut, "show", cut.stream)
    assert shown.output.count("loaded") >= 3
    assert "State 'done'" in str(ledger(cut, "show", cut.stream, "--state", "done").exception)


def test_the_detailed_composition_says_it_at_its_gate(make_stream: MakeStream) -> None:
    stream = make_stream()
    stream.land("r1", 0)
    stream.send(0)
    stream.retention_takes(0, 20)
    gate = stream.gate_of("r2", stream.claim("r2"))
    for _ in range(2):
        with pytest.raises(LostRangeError):
            gate()
    assert acknowledge(stream, "--all").exit_code == 0
    assert gate()["decision"] == "pass"

    stream.send(0)
    stream.retention_takes(0, 42)
    with pytest.raises(LostRangeError, match="14 offsets"):  # nothing is left, no gate would come
        stream.claim("r3")
    assert acknowledge(stream, "--all").exit_code == 0
    assert stream.claim("r3", 2) == []
    assert stream.kinds() == []


Plant = Callable[[AuditedStream], None]


def unclaimed_gap(stream: AuditedStream) -> None:
    stream.execute(f"DELETE FROM OPS.SLICES WHERE STREAM = '{stream.stream}' AND RUN_ID = 'r2'")
    for file in stream.files("r2"):
        file.unlink()
    stream.execute("DELETE FROM {table} WHERE _PARTITION = 0 AND _OFFSET >= 14 AND _OFFSET < 28")
    stream.execute("DELETE FROM RAW.QUARANTINE WHERE STREAM = '{stream}' AND _OFFSET >= 14 AND _OFFSET < 28")


def dead_run(stream: AuditedStream) -> None:
    """The run died after its claim, and half of its range is gone now."""
    unclaimed_gap(stream)
    stream.execute(
        "INSERT INTO OPS.SLICES (STREAM, TOPIC, TOPIC_ID, PARTITION_ID, START_OFFSET, END_OFFSET, STATE, "
        f"DAG_ID, RUN_ID, CLAIMED_AT) VALUES ('{{stream}}', '{{stream}}', '{stream.topic_id}', 0, 14, 28, "
        f"'claimed', '{stream.dag_id}', 'r2', CURRENT_TIMESTAMP())"
    )
    stream.airflow.failed.add("r2")


def rows_without_source(stream: AuditedStream) -> None:
    for file in stream.files("r2"):
        file.unlink()
    stream.execute("DELETE FROM {table} WHERE _PARTITION = 0 AND _OFFSET IN (15, 16, 20)")
    # What was loaded while the files were listed need not be among them.
    stream.execute(
        "UPDATE OPS.SLICES SET LOADED_AT = DATEADD('hour', -1, LOADED_AT) WHERE STREAM = '{stream}'"
    )


CASES: dict[Plant, tuple[int, set[str], list[tuple[int, int]]]] = {
    unclaimed_gap: (20, {"ledger_gap", "lost_without_record"}, [(14, 20)]),
    dead_run: (20, {"not_loaded"}, [(14, 20)]),
    rows_without_source: (42, {"rows_missing", "file_missing"}, [(15, 17), (20, 21)]),
}
"""What is planted → what retention takes then, what is found, and what is lost in the end."""


@pytest.mark.parametrize("plant", CASES, ids=lambda plant: plant.__name__)
def test_what_no_source_has_is_recorded_as_lost(make_stream: MakeStream, plant: Plant) -> None:
    stream = make_stream()
    for run in ("r1", "r2", "r3"):
        stream.land(run, 0)
        stream.row_of(run)
    before, kinds, lost = CASES[plant]
    plant(stream)
    stream.retention_takes(0, before)
    assert set(stream.kinds()) == kinds
    with crash_at("audit.after_lose"), pytest.raises(Crash):
        stream.repair()
    code, said = stream.repair(patience=Patience(load=-1, deep_gate=0))
    assert code == 1, said
    rest = {"file_missing"} & kinds  # what was in the file is in the table, as far as it is anywhere
    assert set(stream.kinds()) == {"lost_not_acknowledged"} | rest, said
    found = json.loads(ledger(stream, "show", stream.stream, "--state", "lost", "--json").output)
    assert sorted((r["START_OFFSET"], r["END_OFFSET"]) for r in found) == lost
    assert acknowledge(stream, "--all").exit_code == 0
    assert set(stream.kinds()) == rest


def test_an_old_epoch_is_a_note_and_its_files_still_serve(make_stream: MakeStream) -> None:
    stream = make_stream()
    stream.land("r1", 0)
    old = stream.topic_id
    stream.kafka.delete_topic(stream.stream)
    stream.kafka.create_topic(stream.stream, 2)
    assert stream.kinds() == ["old_epoch", "position_of_old_epoch"]
    assert stream.repair()[0] == 0
    stream.land("r2", 0)
    assert stream.kinds() == ["old_epoch"]
    stream.execute(f"DELETE FROM {{table}} WHERE _TOPIC_ID = '{old}' AND _OFFSET < 3")
    assert stream.kinds() == ["old_epoch", "rows_missing"]
    code, said = stream.repair()
    assert code == 0, said
    assert stream.kinds() == ["old_epoch"]


def test_gaps_and_overlaps_are_listed(make_stream: MakeStream) -> None:
    stream = make_stream()
    assert "The ledger tiles the topic" in ledger(stream, "gaps", stream.stream).output
    assert "No range of this stream" in ledger(stream, "show", stream.stream).output
    for start, end in ((0, 10), (8, 12), (15, 20)):
        stream.execute(
            "INSERT INTO OPS.SLICES (STREAM, TOPIC_ID, PARTITION_ID, START_OFFSET, END_OFFSET, STATE) "
            f"VALUES ('{{stream}}', 'T', 0, {start}, {end}, 'loaded')"
        )
    done = ledger(stream, "gaps", stream.stream, "--json")
    assert done.exit_code == 1
    found = [(r["KIND"], r["START_OFFSET"], r["END_OFFSET"]) for r in json.loads(done.output)]
    assert found == [("gap", 12, 15), ("overlap", 8, 10)]
    assert "There is no stream" in str(ledger(stream, "show", "nobody").exception)
