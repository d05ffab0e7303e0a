"""Every divergence is planted in a real stream, found by the audit, and mended where that is possible."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import ResourceType
from typer.testing import CliRunner

from madhatter_provider.cli.main import app
from madhatter_provider.core.audit.findings import compare
from madhatter_provider.core.audit.model import Patience
from madhatter_provider.core.audit.ranges import meet
from madhatter_provider.core.audit.report import exit_code, lines
from madhatter_provider.core.crash_points import POINTS
from madhatter_provider.core.errors import BrokerError, SnowflakeUnavailable
from madhatter_provider.core.slices.claims import Claim, ClaimRecord
from madhatter_provider.core.slices.offsets import OffsetRange, Slice
from madhatter_provider.core.slices.state import mirror_group
from madhatter_provider.hooks.kafka import KafkaSliceHook
from madhatter_provider.local.oracle import read_topic
from madhatter_provider.testing.crash import Crash, crash_at

from .audit_plants import (
    OF_POSITIONS,
    OF_RANGES,
    Plant,
    content_edited,
    duplicates,
    gap,
    leave_scratch,
    manifest_without_ledger,
    mirror_behind,
    overlap,
    position_ahead,
    quarantine_count,
    strangers,
)
from .audited_stream import AuditedStream, MakeStream, make_stream_fixture, page_commands
from .broker_settings import configure, configured

pytestmark = pytest.mark.integration
__all__ = ["make_stream_fixture"]


@pytest.fixture(scope="module")
def landed(make_stream: MakeStream) -> AuditedStream:
    """Shared: every test leaves it healthy."""
    stream = make_stream()
    stream.land("both", 0, 1)
    return stream


def test_all_that_is_planted_in_ranges_is_found_and_mended_at_once(make_stream: MakeStream) -> None:
    stream = make_stream()
    stream.land("first", 0, 1)
    runs: dict[str, int] = {}
    for number, plant in enumerate(OF_RANGES):
        runs[plant.__name__] = number % 2
        if plant in (gap, strangers, manifest_without_ledger, overlap):  # these have a range behind them
            runs[f"behind-{plant.__name__}"] = number % 2
    stream.land_quickly(runs)
    stream.land("last", 0, 1)
    assert stream.kinds() == []
    for plant in OF_RANGES:
        plant(stream, plant.__name__)
    leave_scratch(stream)
    findings, _ = stream.look()
    for plant, kinds in OF_RANGES.items():
        mine = OffsetRange(*stream.row_of(plant.__name__))
        behind = plant is overlap
        hit = {
            f.kind
            for f in findings
            if any(meet(r, mine) or (behind and r.start == mine.end) for r in f.owned)
        }
        assert hit == kinds, plant.__name__
    assert {f.kind for f in findings} == {"scratch_files"}.union(*OF_RANGES.values())
    code, said = stream.repair()
    assert code == 0, said
    assert stream.kinds(contents=True) == [], said
    assert stream.verdict().ok, said


def test_runs_that_land_in_another_order_or_at_once_agree(landed: AuditedStream) -> None:
    claimed = {}
    for run in ("early", "late", "latest"):
        landed.send(0)
        claimed[run] = landed.claim(run)
    landed.gate_of("late", claimed["late"])()
    states = landed.sql.execute(
        "SELECT DISTINCT RUN_ID, STATE FROM OPS.SLICES WHERE STREAM = ? "
        "AND RUN_ID IN ('early', 'late', 'latest') ORDER BY RUN_ID",
        [landed.stream],
    )
    assert [row["STATE"] for row in states] == ["claimed", "loaded", "claimed"]
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(landed.gate_of, run, claimed[run]) for run in ("latest", "early")]
        assert [gate.result()()["row_count"] for gate in both] == [12, 12]
    assert landed.kinds() == []
    verdict = landed.verdict()
    assert verdict.ok, verdict


def test_aborted_and_compacted_messages_are_no_divergence(
    make_stream: MakeStream, search_row: Callable[..., bytes]
) -> None:
    """Partition 0: 3 aborted and 4 committed messages with markers; 1: a key's older messages are gone."""
    stream = make_stream()
    servers = stream.kafka.bootstrap_servers
    compacts = {"cleanup.policy": "compact", "segment.ms": "10", "min.cleanable.dirty.ratio": "0"}
    configure(servers, ResourceType.TOPIC, stream.stream, compacts)

    def send(partition: int, keys: Iterable[str], **config: Any) -> Producer:
        producer = Producer({"bootstrap.servers": servers, **config})
        if config:
            producer.init_transactions()
            producer.begin_transaction()
        for i, key in enumerate(keys):
            producer.produce(stream.stream, search_row(i), key=key, partition=partition)
        producer.flush()
        return producer

    send(0, "abc", **{"transactional.id": f"{stream.stream}-a"}).abort_transaction()
    send(0, "defg", **{"transactional.id": f"{stream.stream}-b"}).commit_transaction()
    send(1, "abcdeabcd")
    time.sleep(0.05)
    send(1, "z")  # begins a segment; the one before it can be cleaned
    deadline = time.monotonic() + 20
    with configured(servers, ResourceType.BROKER, "1", {"log.cleaner.backoff.ms": "50"}):
        while len(read_topic(servers, stream.stream).rows) > 4 + 6:
            assert time.monotonic() < deadline, "nothing was compacted"
    stream.run("r1")
    verdict = stream.verdict()
    assert verdict.ok, verdict
    assert verdict.loaded == 10
    rows = stream.sql.execute(
        "SELECT START_OFFSET, END_OFFSET, STATE, ROWS_READ FROM OPS.SLICES WHERE STREAM = ? "
        "ORDER BY PARTITION_ID",
        [stream.stream],
    )
    assert [tuple(row.values()) for row in rows] == [(0, 9, "loaded", 4), (0, 10, "loaded", 6)]
    assert stream.kinds(contents=True) == []


@pytest.mark.parametrize("plant", OF_POSITIONS, ids=lambda plant: plant.__name__)
def test_what_is_planted_in_positions_is_found_and_mended(landed: AuditedStream, plant: Plant) -> None:
    run = "both" if plant is not position_ahead else plant.__name__
    if plant is position_ahead:
        landed.land(run, 0)
        landed.row_of(run)
    plant(landed, run)
    assert set(landed.kinds()) == OF_POSITIONS[plant]
    code, said = landed.repair()
    assert code == 0, said
    assert landed.kinds() == [], said
    assert landed.verdict().ok, said


def test_an_edited_file_of_the_same_size_is_found_by_its_content(landed: AuditedStream) -> None:
    landed.land("edited", 0)
    content_edited(landed, "edited")
    assert landed.kinds() == []
    (finding,), (action,) = landed.look(contents=True)
    assert (finding.kind, action.kind) == ("file_edited", "land")
    assert "its content is another" in finding.said
    said = run_command(landed, landed.stream, "--contents")
    assert said.exit_code == 1, said.output
    assert re.search(r" (\d+) files, \1 of them by content", said.output), said.output
    mended = run_command(landed, landed.stream, "--contents", "--repair", "--yes")
    assert mended.exit_code == 0, mended.output
    assert landed.kinds(contents=True) == []


def test_a_dag_without_a_ledger_is_audited_by_position_and_mirror(landed: AuditedStream) -> None:
    other, owned = "count_searches", Slice(landed.stream, landed.topic_id, (OffsetRange(0, 0, 3),))
    record = ClaimRecord(
        landed.stream, landed.topic_id, {0: 3}, (Claim("r1", owned, Slice(landed.stream, landed.topic_id)),)
    )
    landed.airflow.store(other, record)
    mirror = mirror_group(other)
    try:
        assert landed.kinds(others=(other,)) == ["mirror_missing"]
        KafkaSliceHook().mirror_position(mirror, landed.stream, landed.topic_id, {0: 3})
        assert landed.kinds(others=(other,)) == []
        landed.airflow.failed.add("r1")
        (finding,), (action,) = landed.look(others=(other,))
        assert (finding.kind, finding.run, finding.owned) == ("run_failed", (other, "r1"), owned)
        assert "clear run r1" in action.said
    finally:
        landed.airflow.failed.clear()


@pytest.mark.parametrize("point", [p for p in POINTS if p.startswith("audit.") and p != "audit.after_lose"])
def test_a_repair_that_died_half_way_is_taken_up_by_the_next_audit(landed: AuditedStream, point: str) -> None:
    run = point
    landed.land(run, 0)
    landed.row_of(run)
    landed.land(f"behind-{run}", 0)
    plant = gap if point == "audit.after_claim" else duplicates
    plant(landed, run)
    with crash_at(point), pytest.raises(Crash):
        landed.repair()
    # What the dead one claimed is not under way.
    code, said = landed.repair(patience=Patience(load=-1, deep_gate=0))
    assert code == 0, said
    assert landed.verdict().ok
    assert landed.kinds() == []


def run_command(stream: AuditedStream, *options: str, answer: str | None = None, **env: str) -> Any:
    """The command, with the stream if no option is given."""
    known = {
        "SNOWFLAKE_ACCOUNT": None,
        "MADHATTER_LANDING_ROOT": stream.snowflake.landing_root,
        "COLUMNS": "200",
    }
    arguments = ["audit", *(options or (stream.stream,)), "--contracts", str(stream.contracts)]
    return CliRunner().invoke(app, [*arguments, "--deep-gate-hours", "0"], env=known | env, input=answer)


def test_the_command_says_that_all_agree(landed: AuditedStream) -> None:
    done = run_command(landed)
    assert done.exit_code == 0, done.output
    assert "every message is in one place, once" in done.output
    assert "airflow: not looked at" in done.output
    assert "Plan" not in done.output


def test_the_commands_of_the_page(landed: AuditedStream) -> None:
    env = {
        "SNOWFLAKE_ACCOUNT": None,
        "MADHATTER_LANDING_ROOT": landed.snowflake.landing_root,
        "MADHATTER_CONTRACTS": str(landed.contracts),
    }
    commands = page_commands("audit.md", landed)
    assert len(commands) == 4
    for arguments in commands:
        done = CliRunner().invoke(app, arguments, env=env)
        assert done.exit_code == 0, done.output


def test_the_command_for_programs(landed: AuditedStream) -> None:
    mirror_behind(landed, "both")
    try:
        done = run_command(landed, "--all", "--json")
        assert done.exit_code == 1, done.output
        (answer,) = json.loads(done.output)
        assert (answer["stream"], answer["topic_id"]) == (landed.stream, landed.topic_id)
        assert [f["kind"] for f in answer["findings"]] == ["mirror_behind"]
        assert answer["findings"][0]["dag_id"] == landed.dag_id
        assert [a["kind"] for a in answer["plan"]] == ["mirror"]
        verdicts = {c["check"]: c["verdict"] for c in answer["checks"]}
        assert verdicts["mirror group and position agree"] == "differ"
        assert verdicts["position and ledger agree"] == "not looked at"
    finally:
        assert landed.repair()[0] == 0


def test_the_plan_is_shown_and_nothing_done_unless_one_says_yes(landed: AuditedStream) -> None:
    mirror_behind(landed, "both")
    asked = run_command(landed, landed.stream, "--repair", answer="n\n")
    assert "Carry out this plan?" in asked.output
    assert asked.exit_code == 1
    assert landed.kinds() == ["mirror_behind"]
    done = run_command(landed, landed.stream, "--repair", "--yes")
    assert done.exit_code == 0, done.output
    assert "And now:" in done.output
    assert landed.kinds() == []


def test_a_place_that_does_not_answer_is_left_out_and_said(
    landed: AuditedStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> None:
        raise BrokerError("no answer in 15 s", where="kafka_default", remedy="wait")

    monkeypatch.setattr(KafkaSliceHook, "bounds", away)
    done = run_command(landed)
    assert done.exit_code == 2, done.output
    assert "no answer in 15 s" in done.output
    assert done.output.count("agree") > 5  # the others are compared all the same
    nowhere = run_command(landed, MADHATTER_LANDING_ROOT="file:///nowhere/at/all")
    assert "There is no landing root" in nowhere.output
    assert nowhere.exit_code == 2


def test_nothing_agrees_while_snowflake_is_away(
    landed: AuditedStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> None:
        raise SnowflakeUnavailable("no answer in 20 s", where="account", remedy="wait")

    evidence = landed.sources(ping=away).gather()
    assert compare(evidence) == []
    assert exit_code(evidence, [], asked=["ledger"]) == 2
    verdicts = {line.verdict for line in lines(evidence, [])}
    assert verdicts == {"not looked at", "agree"}
    assert [line.check for line in lines(evidence, []) if line.verdict == "agree"] == [
        "mirror group and position agree"
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("nobody",), "There is no stream 'nobody'"),
        (("--json", "--repair", "--all"), "--json and --repair"),
        (("--json",), "Which stream?"),
        (("--all", "--contents", "--landing-root", ""), "--contents, but where"),
        (("--all", "--since", "yesterday"), "is no time"),
        (("--all", "--since", "2026-01-01T00:00:00"), "has no time zone"),
        (("--all", "--airflow-url", "http://127.0.0.1:9"), "No login for Airflow"),
    ],
)
def test_what_is_wrong_is_said(landed: AuditedStream, options: tuple[str, ...], words: str) -> None:
    done = run_command(landed, *options)
    said = f"{done.output}{done.exception}"
    assert words in said
    assert done.exit_code != 0


def test_only_what_was_claimed_lately_is_looked_at(landed: AuditedStream) -> None:
    landed.land("lately", 0)
    quarantine_count(landed, "lately")
    now = datetime.now(UTC)
    assert landed.kinds() == ["quarantine_count"]
    assert landed.kinds(since=now) == []
    assert landed.repair()[0] == 0


def test_a_stream_that_was_never_landed_agrees(make_stream: MakeStream) -> None:
    stream = make_stream()
    assert stream.kinds() == []
    assert run_command(stream).exit_code == 0
