"""Replays against real Kafka and the local Snowflake, judged by the oracle."""

from __future__ import annotations

import json
import re
import threading
import time
from datetime import timedelta

import pytest
from confluent_kafka.admin import AdminClient

from madhatter_provider.core.errors import (
    ConfigurationError,
    ConservationError,
    LostRangeError,
    SqlError,
    TopicError,
)
from madhatter_provider.core.replay.record import find
from madhatter_provider.core.replay.run import replay
from madhatter_provider.core.replay.staging import swap
from madhatter_provider.core.runs.recording import SliceRun
from madhatter_provider.testing import Crash, crash_at

from .audited_stream import edited
from .replays import Stream, stream_fixture, stricter  # noqa: F401

pytestmark = pytest.mark.integration


def test_a_replay_of_what_is_right_changes_nothing(stream: Stream) -> None:
    stream.send(40)
    stream.land("r1")
    stream.send(20)
    stream.land("r2")
    before = stream.rows(), stream.held()
    done = stream.replay()
    assert (stream.rows(), stream.held()) == before
    assert (done.rows_before, done.rows_after, done.quarantined_after, done.decision) == (54, 54, 6, "pass")
    assert stream.verdict().ok
    assert stream.conserved()
    assert stream.ledger("STATE", "DEEP_GATE", "REPLAY_ID") == [("loaded", None, done.id)] * 4
    assert list(stream.tidy()) == []


def test_rows_that_somebody_deleted_come_back(stream: Stream) -> None:
    stream.send(60)
    stream.land("r1")
    before = stream.rows(), stream.held()
    stream.delete([3, 4, 5])
    stream.sql.execute("DELETE FROM RAW.QUARANTINE WHERE TOPIC = ?", [stream.topic])
    assert not stream.verdict().ok
    stream.replay("2", "30")
    assert (stream.rows(), stream.held()) == before
    assert stream.verdict().ok
    assert stream.conserved()


def test_duplicates_are_healed(stream: Stream) -> None:
    stream.send(40)
    stream.land("r1")
    before = stream.rows()
    here = "_TOPIC_ID = ? AND _PARTITION = 0 AND _OFFSET"
    epoch = [stream.kafka.bounds(stream.topic).topic_id]
    for table, place in (("RAW.SEARCHES", "< 5"), ("RAW.QUARANTINE", "< 20")):
        stream.sql.execute(f"INSERT INTO {table} SELECT * FROM {table} WHERE {here} {place}", epoch)
    assert stream.verdict().duplicates
    stream.replay("0:0", "0:20")
    assert stream.rows() == before
    assert stream.verdict().ok


def test_a_part_of_a_landed_range_leaves_the_rest_alone(stream: Stream) -> None:
    stream.send(60, bad_every=100)
    stream.land("r1")
    stream.delete([2, 3, 20])
    done = stream.replay("0:1,1:1", "0:10,1:10")
    assert (done.rows_before, done.rows_after) == (14, 18)
    assert stream.verdict().gaps == 2
    assert stream.ledger("ROWS_LOADED") == [(29,), (29,)]


def test_what_retention_took_comes_from_landing_files(stream: Stream) -> None:
    stream.send(60)
    stream.land("r1")
    before = stream.rows(), stream.held()
    stream.delete(range(30))
    stream.retention_takes({0: 10, 1: 30})
    plan = stream.plan()
    assert [(str(p.range), p.source) for p in sorted(plan.parts, key=lambda p: p.range)] == [
        ("0:[0, 10)", "files"),
        ("0:[10, 30)", "kafka"),
        ("1:[0, 30)", "files"),
    ]
    stream.replay()
    assert (stream.rows(), stream.held()) == before
    assert stream.conserved()


def test_files_of_an_earlier_replay_are_a_newer_decision(stream: Stream) -> None:
    stream.send(60)
    stream.land("r1")
    stream.replay("0:5,1:5", "0:20,1:20", contract=stricter(stream.contract))
    decided = stream.rows(), [r[:5] for r in stream.held()]
    assert len(stream.rows()) < 54
    stream.retention_takes({0: 30, 1: 30})
    stream.replay(contract=stricter(stream.contract))
    assert (stream.rows(), [r[:5] for r in stream.held()]) == decided
    assert stream.conserved()


def test_a_stricter_contract_moves_rows_to_quarantine_and_a_mended_one_back(stream: Stream) -> None:
    stream.send(40)
    stream.land("r1")
    before = stream.rows()
    done = stream.replay(contract=stricter(stream.contract))
    assert (done.rows_before, done.rows_after, done.quarantined_after) == (36, 9, 31)
    assert stream.verdict().ok
    assert stream.conserved()
    assert {r[0] for r in stream.ledger("GATE")} == {"pass"}
    stream.replay()
    assert stream.rows() == before
    assert stream.verdict().ok


def test_gone_parts_are_refused_or_left_as_they_are(stream: Stream) -> None:
    stream.send(60)
    stream.land("r1")
    before = stream.rows()
    stream.retention_takes({0: 10, 1: 10})
    (path,) = [r[0] for r in stream.ledger("FILE_PATH", "PARTITION_ID") if r[1] == 0]
    (stream.snowflake.landing / path).unlink()
    stream.delete([3, 20])
    with pytest.raises(LostRangeError, match=r"0:\[0, 10\).*messages were landed, its files hold"):
        stream.replay()
    assert find(stream.sql, f"{stream.contract.stream.upper()}_1") is None
    stream.replay(allow_gone=True)
    assert [r for r in before if r not in stream.rows()] == [r for r in before if r[-5:-3] == (0, 3)]
    assert stream.conserved()


def test_a_landing_file_that_somebody_edited_is_not_used(stream: Stream) -> None:
    stream.send(20, bad_every=100)
    stream.land("r1")
    stream.retention_takes({0: 10, 1: 10})
    for (path,) in stream.ledger("FILE_PATH"):
        with (stream.snowflake.landing / path).open("ab") as file:
            file.write(b"!")
    with pytest.raises(LostRangeError, match="was changed"):
        stream.replay()
    assert len(stream.rows()) == 20


def test_nor_is_one_that_was_edited_and_kept_its_size(stream: Stream) -> None:
    stream.send(20)
    stream.land("r1")
    before = stream.rows()
    stream.retention_takes({0: 10, 1: 10})
    (held,) = stream.snowflake.landing.glob(f"quarantine/{stream.contract.stream}/*/1/*")
    held.write_bytes(edited(held.read_bytes()))
    with pytest.raises(LostRangeError, match=r"1:\[0, 10\).*quarantine.*its content is another"):
        stream.replay()
    stream.replay(allow_gone=True)
    assert stream.rows() == before
    # Without the manifest nobody knows better.
    for manifest in stream.snowflake.landing.glob(f"_manifests/{stream.contract.stream}/*/*.json"):
        manifest.write_text("{}")
    stream.replay()
    assert stream.rows() == before


def test_nor_is_an_edited_one_of_an_earlier_replay(stream: Stream) -> None:
    stream.send(20)
    stream.land("r1")
    done = stream.replay()
    stream.retention_takes({0: 10, 1: 10})
    (good,) = stream.snowflake.landing.glob(f"replay/{done.id}/{stream.contract.stream}/*/0/*")
    good.write_bytes(edited(good.read_bytes()))
    with pytest.raises(LostRangeError, match=r"0:\[0, 10\).*replay/.*its content is another"):
        stream.replay()


def test_a_message_that_stands_twice_in_the_files_stops_it(stream: Stream) -> None:
    stream.send(20)
    stream.land("r1")
    stream.retention_takes({0: 10, 1: 10})
    held = stream.snowflake.landing / "quarantine" / stream.ledger("FILE_PATH")[1][0]
    copy = held.with_name(f"{0:020d}-{9:020d}.parquet")
    copy.write_bytes(held.read_bytes())
    before = stream.rows(), stream.held()
    with pytest.raises(ConservationError, match="more than once"):
        stream.replay()
    assert (stream.rows(), stream.held()) == before


def test_what_no_run_has_read_is_claimed_by_the_replay(stream: Stream) -> None:
    stream.send(40)
    stream._position = {0: 10, 1: 15}
    stream.land("r1")
    assert stream.verdict().gaps == 25
    done = stream.replay("0", "0:20,1:20")
    assert stream.verdict().ok
    assert stream.conserved()
    assert stream.ledger("START_OFFSET", "END_OFFSET", "DAG_ID")[0] == (0, 10, "replay")
    assert done.rows_after == 36


def test_a_range_that_a_run_still_owns_is_refused_or_taken_over(stream: Stream) -> None:
    stream.send(40)
    stream.land("r1")
    stream.send(20)
    stream.claim("r2")
    with pytest.raises(ConfigurationError, match=r"r2 of land_.*claimed"):
        stream.replay()
    stream.replay("0", "20")  # what is loaded can be replayed meanwhile
    stream.replay(take_over=True)
    assert stream.verdict().ok
    assert {r[0] for r in stream.ledger("STATE")} == {"loaded"}


def test_a_whole_run_and_a_time(stream: Stream) -> None:
    stream.send(20)
    stream.land("r1")
    middle = max(r[-3] for r in stream.rows()) + timedelta(milliseconds=1)
    time.sleep(0.01)
    stream.send(20)
    stream.land("r2")
    assert str(stream.plan(None, run_id="r2").asked).endswith("0:[10, 20) 1:[10, 20)")
    assert len(stream.plan("2020-01-01T00:00:00Z").asked) == 40
    assert len(stream.plan("0", "2100-01-01T00:00:00+01:00").asked) == 40
    since = stream.plan(middle.isoformat(), "2100-01-01T00:00:00Z").asked
    assert str(since).endswith("0:[10, 20) 1:[10, 20)")
    stream.delete([0, 1, 2])
    stream.retention_takes({0: 20, 1: 20})
    assert stream.plan(middle.isoformat(), "2100-01-01T00:00:00Z").asked == since
    assert len(stream.plan("2020-01-01T00:00:00Z").asked) == 40


IMPOSSIBLE = [
    ("-1", "5", "Negative offset"),
    ("8", "5", "runs backwards: 0:[8, 5)"),
    ("0", "11", "beyond what was claimed: partition 0 to 11, claimed to 10"),
    ("0:0,7:0", "0:5,7:5", "Nothing was claimed of partition 7"),
    ("0:0", "1:5", "name different partitions"),
    ("5", "5", "No offset lies between"),
]


def test_ranges_that_cannot_be(stream: Stream) -> None:
    stream.send(20)
    stream.land("r1")
    for start, end, words in IMPOSSIBLE:
        with pytest.raises(ConfigurationError, match=re.escape(words)) as refused:
            stream.replay(start, end)
        assert refused.value.remedy


def test_an_epoch_that_nobody_knows_and_a_run_that_nobody_knows(stream: Stream) -> None:
    stream.send(20)
    with pytest.raises(TopicError, match="knows nothing of epoch"):
        stream.replay("0", "5")
    stream.land("r1")
    with pytest.raises(TopicError, match="epoch AAAA"):
        stream.replay("0", "5", topic_id="AAAA")
    with pytest.raises(ConfigurationError, match="no range of run 'r7'"):
        stream.replay(None, run_id="r7")


def test_an_earlier_epoch_comes_from_files(stream: Stream) -> None:
    stream.send(20)
    old = stream.land("r1").topic_id
    admin = AdminClient({"bootstrap.servers": stream.broker})
    admin.delete_topics([stream.topic])[stream.topic].result(timeout=15)
    count = "SELECT COUNT(*) AS N FROM RAW.SEARCHES WHERE _TOPIC_ID = ?"
    stream.sql.execute("DELETE FROM RAW.SEARCHES WHERE _TOPIC_ID = ?", [old])
    with pytest.raises(TopicError):
        stream.replay("0", "10")
    assert stream.replay("0", "10", topic_id=old).rows_after == 18
    assert stream.replay(None, run_id="r1").rows_before == 18
    assert stream.sql.execute(count, [old]) == [{"N": 18}]


def test_a_try_that_was_believed_dead_does_no_harm(stream: Stream) -> None:
    stream.send(40)
    stream.land("r1")
    name = f"ZOMBIE_{stream.contract.stream.upper()}"
    dead, later = stream.replaying(name), stream.replaying(name)
    request = stream.request("0", "20")
    with pytest.raises(Crash), crash_at("replay.after_stage"):
        replay(dead, request)
    zombie = swap(dead.staging, "_OFFSET < 20", [])
    replay(later, request)
    with pytest.raises(SqlError, match="REPLAY_ZOMBIE"):
        stream.sql.transact(zombie)
    assert list(stream.tidy()) == []
    assert stream.verdict().ok


def test_an_id_belongs_to_one_replay(stream: Stream) -> None:
    stream.send(20)
    stream.land("r1")
    first = stream.replay("0", "5", id="ONCE_" + stream.contract.stream.upper())
    assert stream.replay("0", "5", id=first.id) == first
    with pytest.raises(ConfigurationError, match="is another one"):
        stream.replay("0", "6", id=first.id)


def test_death_on_either_side_of_the_swap_is_healed_by_the_same_id(stream: Stream) -> None:
    """All other boundaries, by a signal: test_crash_points."""
    stream.send(40)
    stream.land("r1")
    before = stream.rows(), stream.held()
    stream.retention_takes({0: 5, 1: 12})
    for point in ("replay.after_stage", "replay.after_swap"):
        name = f"{point.partition('.')[2]}_{stream.contract.stream}".upper()
        stream.delete([3, 14])
        with pytest.raises(Crash), crash_at(point):
            stream.replay(id=name)
        assert len(stream.rows()) == (36 if point == "replay.after_swap" else 33), point
        done = stream.replay(id=name)
        assert (stream.rows(), stream.held()) == before, point
        assert (done.rows_before, done.rows_after) == (33, 36), point
        assert stream.conserved(), point
    assert list(stream.tidy()) == []


def test_a_cleared_run_leaves_a_replay_alone(stream: Stream) -> None:
    stream.send(40)
    owned = stream.land("r1")
    run = SliceRun(stream.contract, f"land_{stream.topic}", "r1", stream.sql)
    assert not run.is_replayed(owned)
    stream.replay("0:0", "0:5", contract=stricter(stream.contract))
    assert run.is_replayed(owned)
    stream.send(20)
    again = stream.claim("r2")
    with pytest.raises(ConfigurationError, match="take its range over whole"):
        stream.replay("0:20", "0:25", take_over=True)
    stream.replay("0:20", "0:30", take_over=True)
    with pytest.raises(ConfigurationError, match="--run-id r1 --take-over"):
        run.is_replayed(again)
    stream.replay("1:20", "1:30", take_over=True)
    assert run.is_replayed(again)
    assert stream.verdict().ok


def test_landing_goes_on_and_readers_never_see_half(stream: Stream) -> None:
    stream.send(200, bad_every=50)
    stream.land("r0")
    seen: set[int] = set()
    stop = threading.Event()

    def read() -> None:
        client = stream.snowflake.client()
        end = stream._position[0]
        while not stop.is_set():
            found = client.execute(
                "SELECT COUNT(*) AS N FROM RAW.SEARCHES WHERE _TOPIC_ID = ? AND _OFFSET < 100",
                [stream.kafka.bounds(stream.topic).topic_id],
            )
            seen.add(int(found[0]["N"]))
        assert end

    reader = threading.Thread(target=read)
    reader.start()
    replays = threading.Thread(target=lambda: [stream.replay("0", "100") for _ in range(3)])
    replays.start()
    for i in range(3):
        stream.send(20, bad_every=50)
        stream.land(f"r{i + 1}")
    replays.join()
    stop.set()
    reader.join()
    assert seen == {196}
    assert stream.verdict().ok
    assert stream.conserved()


def test_it_is_recorded(stream: Stream) -> None:
    stream.send(20)
    stream.land("r1")
    done = stream.replay("0", "10", reason="somebody deleted rows", who="ann")
    (row,) = stream.sql.execute("SELECT * FROM OPS.REPLAYS WHERE ID = ?", [done.id])
    kept = {k: row[k] for k in ("KIND", "STREAM", "REASON", "REQUESTED_BY", "STATE", "ROWS_AFTER")}
    assert kept == {
        "KIND": "range",
        "STREAM": stream.contract.stream,
        "REASON": "somebody deleted rows",
        "REQUESTED_BY": "ann",
        "STATE": "done",
        "ROWS_AFTER": 18,
    }
    assert json.loads(row["SOURCES"]) == {"kafka": [[0, 0, 10], [1, 0, 10]], "files": [], "gone": []}
    assert row["DONE_AT"] >= row["SWAPPED_AT"] >= row["BEGUN_AT"]
    with pytest.raises(ConfigurationError, match="needs a reason"):
        stream.replay("0", "10", reason=" ")
