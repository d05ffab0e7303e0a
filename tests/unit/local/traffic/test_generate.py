"""Traffic: pure, at the wanted rates, and each row exactly as good or bad as its label says."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from madhatter_provider.core.contracts.contract import load_contracts
from madhatter_provider.core.decoding.json_messages import JsonDecoder
from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.local.traffic import Outgoing, generate
from madhatter_provider.local.traffic.generate import SHARES, STREAMS
from madhatter_provider.local.traffic.world import World

CONTRACTS = load_contracts(Path(__file__).parents[4] / "include/contracts")
RULES = {
    "broken_json": {"malformed_json"},
    "missing_field": {"required"},
    "wrong_type": {"wrong_type"},
    "out_of_range": {"minimum", "maximum"},
    "unknown_enum": {"known_values"},
}


@pytest.fixture(scope="module")
def minute() -> list[Outgoing]:
    return list(generate(seed=21, rate=300, seconds=60))


def defects(messages: list[Outgoing]) -> dict[int, str | None]:
    """The rule that the landing's decoder names for each message, by index; None for a good row."""
    found: dict[int, str | None] = {}
    for stream in STREAMS:
        places = [i for i, m in enumerate(messages) if m.stream == stream]
        bad = JsonDecoder(CONTRACTS[stream]).decode([messages[i].value for i in places]).bad
        found.update(dict.fromkeys(places))
        found.update({places[b.index]: b.rule for b in bad})
    return found


def test_same_arguments_same_bytes() -> None:
    assert list(generate(3, 100, 10)) == list(generate(3, 100, 10))


def test_another_start_changes_event_ids_only() -> None:
    first, second = list(generate(3, 100, 5, start=0.0)), list(generate(3, 100, 5, start=86_400.0))
    assert [(m.due, m.stream) for m in first] == [(m.due, m.stream) for m in second]
    assert not {m.event_id for m in first} & {m.event_id for m in second}


def test_messages_come_in_order_of_due_time_within_the_run(minute: list[Outgoing]) -> None:
    dues = [m.due for m in minute]
    assert dues == sorted(dues)
    assert dues[0] >= 0
    assert dues[-1] < 60


@pytest.mark.parametrize("rate", [60, 300, 900])
def test_each_stream_has_its_share_of_the_rate(rate: int) -> None:
    sent = Counter(m.stream for m in generate(5, rate, 60))
    for stream, share in SHARES.items():
        assert sent[stream] / 60 == pytest.approx(rate * share, rel=0.15), stream


def test_the_landing_quarantines_exactly_the_labelled_rows_for_the_labelled_reason(
    minute: list[Outgoing],
) -> None:
    seen = set()
    for index, rule in defects(minute).items():
        defect = minute[index].defect
        assert (rule is None) == (defect is None), minute[index]
        if defect is not None:
            assert rule in RULES[defect], minute[index]
            seen.add(defect)
    assert seen == set(RULES)


def test_keys_are_those_of_the_shared_vocabulary(minute: list[Outgoing]) -> None:
    names = {
        "clicks": "session_id", "searches": "session_id", "transactions": "customer_id",
        "system_logs": "service", "iot_telemetry": "sensor_id",
    }  # fmt: skip
    for m in minute:
        if m.defect is None:
            assert json.loads(m.value)[names[m.stream]].encode() == m.key


def test_duplicates_are_the_same_bytes_sent_again_later(minute: list[Outgoing]) -> None:
    first: dict[str, Outgoing] = {}
    duplicates = 0
    for m in minute:
        if m.duplicate:
            duplicates += 1
            assert m.value == first[m.event_id].value
            assert m.due > first[m.event_id].due
            assert m.case is None
        elif m.defect is None:
            assert m.event_id not in first
            first[m.event_id] = m
    assert duplicates > 20


def test_late_events_have_old_event_times_and_others_do_not(minute: list[Outgoing]) -> None:
    from datetime import datetime

    late = 0
    for m in minute:
        if m.defect or m.duplicate:
            continue
        age = 1_790_000_000.0 + m.due - datetime.fromisoformat(json.loads(m.value)["event_time"]).timestamp()
        assert (age > 30) == m.late
        assert m.late or 0 <= age < 0.002
        late += m.late
    assert late > 10


def test_sessions_run_through_the_streams(minute: list[Outgoing]) -> None:
    """A payment's session and device were seen in the clicks before, in most sessions."""
    clicked: set[tuple[str, str]] = set()
    known = paid = 0
    for m in minute:
        if m.defect or m.due < 5:
            continue
        row = json.loads(m.value)
        if m.stream == "clicks":
            clicked.add((row["session_id"], row["device_id"]))
        elif m.stream == "transactions":
            paid += 1
            known += (row["session_id"], row["device_id"]) in clicked
    assert known / paid > 0.75


def test_every_kind_of_fraud_is_there_and_complete(minute: list[Outgoing]) -> None:
    cases: dict[str, set[str]] = {}
    for m in minute:
        if m.case and m.fraud_kind:
            assert m.stream == "transactions"
            cases.setdefault(m.fraud_kind, set()).add(m.case)
    assert {kind: len(names) for kind, names in cases.items()} == dict.fromkeys(
        ("card_testing", "velocity_burst", "impossible_travel", "amount_outlier", "account_takeover"), 6
    )


@pytest.mark.parametrize("stream", STREAMS)
def test_a_broken_contract_spoils_one_stream_from_the_given_second_on(stream: str) -> None:
    messages = list(generate(4, 150, 20, break_stream=stream, break_after=8))
    rules = defects(messages)
    after = [i for i, m in enumerate(messages) if m.stream == stream and m.due >= 8 and not m.duplicate]
    assert after
    assert {messages[i].defect for i in after} == {"contract_break"}
    assert all(rules[i] is not None for i in after)
    assert not [m for m in messages if m.defect == "contract_break" and (m.stream != stream or m.due < 8)]


def test_no_fraud_case_depends_on_rows_of_a_broken_producer() -> None:
    for stream in ("transactions", "system_logs"):
        cases = [m for m in generate(4, 300, 40, break_stream=stream, break_after=25) if m.case]
        assert cases
        assert all(m.defect is None and m.due < 25 for m in cases)


def test_a_larger_population_begins_with_the_same_customers() -> None:
    assert World(7, 50).customers == World(7, 80).customers[:50]


@pytest.mark.parametrize(
    "wrong",
    [{"rate": 0}, {"seconds": 0}, {"customers": 0}, {"customers": 1_000_000}, {"break_stream": "nonsense"}],
)
def test_impossible_arguments_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        generate(1, **{"rate": 10, "seconds": 5, **wrong})


@pytest.fixture(scope="module")
def few_customers() -> list[dict[str, Any]]:
    """Good clicks and searches of customers who come often, in order."""
    messages = generate(9, rate=300, seconds=60, customers=40)
    return [
        {"stream": m.stream, **json.loads(m.value)}
        for m in messages
        if m.defect is None and not m.duplicate and not m.late and m.stream in ("clicks", "searches")
    ]


def test_customers_have_tastes(few_customers: list[dict[str, Any]]) -> None:
    """Three styles make up most of what a customer types, other ones for other customers."""
    typed: dict[str, Counter[str]] = {}
    for row in few_customers:
        if row["stream"] == "searches" and row["customer_id"]:
            typed.setdefault(row["customer_id"], Counter())[row["query"].split()[0]] += 1
    regular = [styles for styles in typed.values() if styles.total() >= 20]
    assert len(regular) > 10
    shares = [sum(n for _, n in styles.most_common(3)) / styles.total() for styles in regular]
    assert sum(shares) / len(shares) > 0.7
    everybody = sum(regular, Counter[str]())
    assert sum(n for _, n in everybody.most_common(3)) / everybody.total() < 0.5


def test_a_clicked_result_is_viewed_and_the_cart_shows_what_was_seen(
    few_customers: list[dict[str, Any]],
) -> None:
    clicked: dict[str, str] = {}
    seen: dict[str, set[str]] = {}
    followed = expected = in_cart = carts = 0
    for row in few_customers:
        session = row["session_id"]
        if row["stream"] == "searches":
            if row["clicked_product_id"]:
                clicked[session] = row["clicked_product_id"]
        elif row["page_type"] == "product":
            if wanted := clicked.pop(session, None):
                expected += 1
                followed += row["product_id"] == wanted
            seen.setdefault(session, set()).add(row["product_id"])
        elif row["page_type"] == "cart" and session in seen:
            carts += 1
            in_cart += row["product_id"] in seen[session]
    assert min(expected, carts) > 100
    assert followed / expected > 0.95
    assert in_cart / carts > 0.95
