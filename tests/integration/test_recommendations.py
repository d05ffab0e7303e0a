"""Recommendations on the local Snowflake: incremental equals from scratch, nothing counted twice, lists and
quality, and what reaches the topic.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from madhatter_provider.core.contracts.contract import load_contracts
from madhatter_provider.core.decoding.json_messages import JsonDecoder
from madhatter_provider.core.errors import TopicError
from madhatter_provider.core.recommendations.publication import publish_lists
from madhatter_provider.core.recommendations.refresh import compare, learn, recommend, refresh
from madhatter_provider.core.warehouse.ledger import LedgerRow, record
from madhatter_provider.hooks.kafka_publisher import KafkaPublishHook
from madhatter_provider.local.oracle import read_topic
from madhatter_provider.local.traffic import generate
from madhatter_provider.testing.snowflake import RunningSnowflake

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
NOW = datetime.now(UTC)
LEARNED = {
    "ITEMS": "ITEM, KIND, PRODUCT_ID, SESSIONS, ROUND(WEIGHT, 2)",
    "PAIRS": "ITEM, PRODUCT_ID, SESSIONS, ROUND(WEIGHT, 2)",
    "PRODUCT_HOURS": "HOUR, PRODUCT_ID, EVENTS",
    "FUNNEL_HOURS": "HOUR, SESSIONS, SEARCHED, CLICKED, PURCHASED",
    "SESSIONS": "SESSION_ID, BEGAN, SEARCHED, CLICKED, PURCHASED",
    "SESSION_ITEMS": "SESSION_ID, CUSTOMER_ID, ITEM, EVENTS, FIRST_SEEN, LAST_SEEN, SESSION_START, HELD_OUT, "
    "QUERY",
}
TABLES = (
    *LEARNED, "PRODUCTS", "SIMILAR", "RECOMMENDATIONS", "TO_PUBLISH", "PUBLISHED",
    "QUALITY", "STALE_ITEMS", "STALE_CUSTOMERS", "SUBJECTS",
)  # fmt: skip


class Shop:
    """Loads slices of clicks, searches and payments, and asks what was learned."""

    def __init__(self, snowflake: RunningSnowflake) -> None:
        self.sql = snowflake.client()
        self.topic_id = uuid.uuid4().hex
        self._end: dict[str, int] = {}

    def load(self, stream: str, rows: list[dict[str, Any]], *, gate: str = "pass") -> LedgerRow:
        """One slice."""
        start = self._end.get(stream, 0)
        end = self._end[stream] = start + len(rows)
        rows = [
            {
                **row,
                "_topic_id": self.topic_id,
                "_partition": 0,
                "_offset": offset,
                "_timestamp": row["event_time"],
            }
            for offset, row in enumerate(rows, start)
        ]
        names = sorted({name for row in rows for name in row})
        picks = ", ".join(f"r.VALUE:{n}::{'TIMESTAMP_TZ' if 'time' in n else 'VARCHAR'}" for n in names)
        columns = ", ".join(n.upper() for n in names)
        self.sql.execute(
            f"INSERT INTO RAW.{stream.upper()} ({columns}) SELECT {picks} "
            "FROM TABLE(FLATTEN(INPUT => PARSE_JSON(?))) AS r",
            [json.dumps(rows)],
        )
        row = LedgerRow(
            stream=stream, topic_id=self.topic_id, partition_id=0, start_offset=start, end_offset=end,
            state="loaded", gate=gate,
        )  # fmt: skip
        self.sql.execute(*record([row]))
        return row

    def visit(self, session: str, customer: str | None, *products: str, minutes_ago: float = 60) -> LedgerRow:
        """One session that looks at products, a second apart."""
        return self.visits([session], *products, customer=customer, minutes_ago=minutes_ago)

    def visits(
        self, sessions: list[str], *products: str, customer: str | None = None, minutes_ago: float = 60
    ) -> LedgerRow:
        """One slice with sessions that look at the same products."""
        began = NOW - timedelta(minutes=minutes_ago)
        return self.load(
            "clicks",
            [
                click(session, customer, product, began + timedelta(seconds=i))
                for session in sessions
                for i, product in enumerate(products)
            ],
        )

    def learned(self) -> dict[str, list[tuple[Any, ...]]]:
        """Content of the tables that hold counts."""
        return {
            table: sorted(
                (tuple(r.values()) for r in self.sql.execute(f"SELECT {columns} FROM RECO.{table}")), key=repr
            )
            for table, columns in LEARNED.items()
        }

    def lists(self) -> dict[str, list[tuple[str, str]]]:
        """(product, reason) in order, by customer."""
        found: dict[str, list[tuple[str, str]]] = {}
        for r in self.sql.execute(
            "SELECT * FROM MARTS.RECOMMENDATIONS_PER_CUSTOMER ORDER BY CUSTOMER_ID, POSITION"
        ):
            found.setdefault(r["CUSTOMER_ID"], []).append((r["PRODUCT_ID"], r["REASON"]))
        return found

    def forget(self) -> None:
        """Everything that was learned."""
        for table in (*(f"RECO.{t}" for t in TABLES), "OPS.APPLIED_RANGES"):
            self.sql.execute(f"DELETE FROM {table}")


def click(session: str, customer: str | None, product: str, at: datetime) -> dict[str, Any]:
    return {
        "event_id": uuid.uuid4().hex, "event_time": at.isoformat(), "session_id": session,
        "customer_id": customer, "page_type": "product", "product_id": product,
    }  # fmt: skip


def search(session: str, customer: str | None, query: str, at: str) -> dict[str, Any]:
    return {
        "event_id": uuid.uuid4().hex, "event_time": at, "session_id": session, "customer_id": customer,
        "query": query,
    }  # fmt: skip


def payment(session: str, customer: str, at: str, status: str = "authorized") -> dict[str, Any]:
    return {
        "event_id": uuid.uuid4().hex, "event_time": at, "session_id": session, "customer_id": customer,
        "merchant_category": "toys", "status": status,
    }  # fmt: skip


def names(prefix: str, number: int, *, held_out: bool = False) -> list[str]:
    """Session ids that are learned from, or held out."""
    from hashlib import md5

    ids = (f"{prefix}-{i}" for i in range(10_000))
    found = [s for s in ids if (md5(s.encode()).hexdigest()[0] in "01") is held_out]
    return found[:number]


@pytest.fixture
def shop(own_snowflake: RunningSnowflake, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    for name, value in own_snowflake.trust.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AIRFLOW_CONN_SNOWFLAKE_DEFAULT", own_snowflake.airflow_connection)
    made = Shop(own_snowflake)
    yield made
    made.forget()
    for table in ("RAW.CLICKS", "RAW.SEARCHES", "RAW.TRANSACTIONS", "OPS.SLICES"):
        made.sql.execute(f"DELETE FROM {table}")


def traffic(parts: int) -> list[dict[str, list[dict[str, Any]]]]:
    """The generator's rows in parts of equal time, duplicates and late ones too; an hour ends amid them."""
    found: list[dict[str, list[dict[str, Any]]]] = [{} for _ in range(parts)]
    hour = NOW.replace(minute=0, second=0, microsecond=0).timestamp()
    for m in generate(5, rate=100, seconds=30, start=hour - 15, customers=60):
        if m.defect is None and m.stream in ("clicks", "searches", "transactions"):
            found[int(m.due * parts / 30)].setdefault(m.stream, []).append(json.loads(m.value))
    return found


def test_slice_by_slice_equals_all_at_once(shop: Shop) -> None:
    for part in traffic(4):
        for stream, rows in part.items():
            shop.load(stream, rows)
        assert refresh(shop.sql, "run") == len(part)
    by_slices = shop.learned()
    assert len(by_slices["PAIRS"]) > 300
    for table in ("SIMILAR", "RECOMMENDATIONS"):  # a day later
        shop.sql.execute(f"UPDATE RECO.{table} SET COMPUTED_AT = DATEADD('hour', -25, COMPUTED_AT)")
    assert refresh(shop.sql, "run") == 0
    lists = shop.lists()
    assert len(lists) > 20
    shop.forget()
    assert refresh(shop.sql, "run") == 12
    assert shop.learned() == by_slices
    assert shop.lists() == lists


def test_a_repeated_batch_and_a_replayed_range_change_nothing(shop: Shop) -> None:
    rows = [shop.visit(s, "C000001", "P00001", "P00002") for s in names("again", 3)]
    refresh(shop.sql, "run")
    before = shop.learned()
    assert [r[:3] for r in before["PAIRS"]] == [
        ("product P00001", "P00002", 3),
        ("product P00002", "P00001", 3),
    ]
    shop.sql.execute(
        "DELETE FROM OPS.APPLIED_RANGES"
    )  # as if the step had been killed after its work, before it was recorded
    assert refresh(shop.sql, "run") == 3
    assert shop.learned() == before
    shop.sql.execute("UPDATE OPS.SLICES SET REPLAY_ID = 'r1' WHERE START_OFFSET = ?", [rows[1].start_offset])
    assert refresh(shop.sql, "run") == 1
    assert refresh(shop.sql, "run") == 0
    assert shop.learned() == before


def test_a_range_that_failed_its_gate_waits(shop: Shop) -> None:
    (session,) = names("gate", 1)
    rows = [click(session, "C000001", p, NOW) for p in ("P00001", "P00002")]
    shop.load("clicks", rows, gate="fail")
    assert refresh(shop.sql, "run") == 0
    shop.sql.execute("UPDATE OPS.SLICES SET GATE = 'pass'")
    assert refresh(shop.sql, "run") == 1
    assert len(shop.learned()["PAIRS"]) == 2


def test_what_was_seen_together_is_recommended_but_not_what_is_on_the_screen(shop: Shop) -> None:
    shop.visits(names("hats", 8), "P00001", "P00002")
    shop.visits(names("shoes", 3), "P00003", "P00004")
    shop.visit(names("mine", 1)[0], "C000007", "P00001", minutes_ago=1)
    refresh(shop.sql, "run")
    (mine,) = shop.lists().values()
    assert mine[0] == ("P00002", "product P00001")
    assert [(product, reason) for product, reason in mine[1:] if reason != "trending"] == []
    assert {product for product, _ in mine} == {"P00002", "P00003", "P00004"}


def test_a_search_without_a_click_and_a_purchase_speak_too(shop: Shop) -> None:
    at = (NOW - timedelta(minutes=50)).isoformat()
    buyers = names("query", 6)
    shop.load(
        "searches", [search(s, None, " Red  toys", at) | {"clicked_product_id": "P00011"} for s in buyers]
    )
    shop.load("transactions", [payment(s, "C000001", at) for s in buyers])
    others = [click(s, None, f"P009{i % 45:02d}", NOW) for i, s in enumerate(names("other", 90))]
    shop.load("clicks", others)
    shop.load("searches", [search("typed", "C000002", "red  toys", NOW.isoformat())])
    shop.load("transactions", [payment("paid", "C000003", NOW.isoformat())])
    refresh(shop.sql, "run")
    assert shop.lists()["C000002"][0] == ("P00011", "query red  toys")
    assert shop.lists()["C000003"][0] == ("P00011", "bought toys")
    trending = shop.sql.execute("SELECT * FROM MARTS.TRENDING_PRODUCTS")[0]
    assert (trending["POSITION"], trending["PRODUCT_ID"], trending["PRODUCT_CATEGORY"]) == (
        1,
        "P00011",
        "toys",
    )


def test_held_out_sessions_teach_nothing_and_measure_the_quality(shop: Shop) -> None:
    shop.visits(names("taught", 10), "P00001", "P00002")
    for i in range(4):
        shop.visits(names(f"popular{i}", 5), *(f"P00{100 + (3 * i + k) % 12}" for k in range(3)))
    refresh(shop.sql, "before")
    taught = ("ITEMS", "PAIRS", "PRODUCT_HOURS")
    before = {t: rows for t, rows in shop.learned().items() if t in taught}
    shop.visits(names("held", 4, held_out=True), "P00001", "P00002", minutes_ago=5)
    refresh(shop.sql, "after")
    assert {t: rows for t, rows in shop.learned().items() if t in taught} == before
    refresh(shop.sql, "after")
    (lift,) = shop.sql.execute("SELECT * FROM MARTS.RECOMMENDATION_LIFT")
    assert lift["SESSIONS"] == 4
    assert float(lift["HIT_RATE_AT_10"]) == 1.0
    assert 0 < float(lift["COVERAGE"]) <= 1


def test_the_funnel_counts_sessions_by_how_far_they_came(shop: Shop) -> None:
    began = NOW.replace(minute=0, second=0, microsecond=0) - timedelta(hours=3)

    def at(second: int) -> str:
        return (began + timedelta(minutes=59, seconds=second)).isoformat()

    shop.visit("looks only", None, "P00001", minutes_ago=600)
    searched = ("nothing", "clicks", "declined", "buys", "buys before")
    shop.load("searches", [search(s, "C000001", "red toys", at(10)) for s in searched])
    shop.load(
        "clicks",
        [
            click(s, None, "P00001", began + timedelta(minutes=59, seconds=20))
            for s in ("clicks", "declined", "buys", "buys before")
        ],
    )
    refresh(shop.sql, "first")
    shop.load(
        "transactions",
        [
            payment("declined", "C000001", at(30), "declined"),
            payment("buys", "C000001", at(90)),
            payment("buys", "C000001", at(95)),
            payment("buys before", "C000001", at(5)),
        ],
    )
    refresh(shop.sql, "second")
    funnel = {r["HOUR"]: r for r in shop.sql.execute("SELECT * FROM MARTS.FUNNEL_PER_HOUR")}
    steps = ("SESSIONS", "SEARCHED", "CLICKED", "PURCHASED", "CLICK_PERCENT", "PURCHASE_PERCENT")
    assert [float(funnel[began][step]) for step in steps] == [5, 5, 4, 1, 80, 25]
    assert len(funnel) == 2
    assert sum(r["SESSIONS"] for r in funnel.values()) == 6


class LostAcknowledgement(Exception):
    """The publisher was killed between sending and recording."""


def test_only_changed_lists_are_published_and_a_killed_publisher_sends_the_same_again(shop: Shop) -> None:
    sent: list[dict[str, Any]] = []

    class Topic:
        fail = False

        def publish(self, topic: str, messages: Any) -> int:
            new = [(key, json.loads(value)) for key, value in messages]
            assert topic == "recommendations"
            assert all(key == value["customer_id"] for key, value in new)
            sent.extend(value for _, value in new)
            if self.fail:
                raise LostAcknowledgement
            return len(new)

    topic = Topic()
    for number, session in enumerate(names("list", 6)):
        shop.visit(
            session, f"C00000{number % 2}", f"P0000{number}", f"P0000{number + 1}", f"P0000{number + 2}"
        )
    refresh(shop.sql, "run")
    topic.fail = True
    with pytest.raises(LostAcknowledgement):
        publish_lists(shop.sql, topic)
    topic.fail = False
    assert publish_lists(shop.sql, topic) == 2
    assert sent[:2] == sent[2:4]
    assert publish_lists(shop.sql, topic) == 0
    shop.visit(names("list", 7)[6], "C000000", "P00008", "P00009", minutes_ago=1)
    refresh(shop.sql, "later")
    assert publish_lists(shop.sql, topic) == 1
    assert sent[-1]["customer_id"] == "C000000"
    assert sent[-1]["list_id"] != sent[0]["list_id"]


def test_a_customer_who_goes_on_as_expected_is_not_published_again(shop: Shop) -> None:
    (session,) = names("same", 1)
    shop.visit(session, "C000001", "P00001", "P00002", "P00001")
    refresh(shop.sql, "run")
    queued = "SELECT * FROM RECO.TO_PUBLISH"
    first = shop.sql.execute(queued)
    for step in (learn(), compare(), recommend()):
        shop.sql.transact(step, repeatable=True)
    assert shop.sql.execute(queued) == first


def test_the_dag_publishes_to_the_topic_as_the_contract_says(
    shop: Shop, kafka_broker: str, run_dag: Callable[..., DagRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.dag_processing.dagbag import BundleDagBag

    connection = {"conn_type": "kafka", "extra": {"bootstrap.servers": kafka_broker, "group.id": "g"}}
    monkeypatch.setenv("AIRFLOW_CONN_KAFKA_DEFAULT", json.dumps(connection))
    admin = AdminClient({"bootstrap.servers": kafka_broker})
    admin.create_topics([NewTopic("recommendations", 3, 1)])["recommendations"].result(30)
    for number, session in enumerate(names("dag", 4)):
        shop.visit(session, f"C00010{number}", "P00001", f"P0000{number + 2}")
    dags = ROOT / "dags"
    bag = BundleDagBag(str(dags / "recommendations.py"), bundle_path=dags, bundle_name="dags")
    assert str(run_dag(bag.dags["recommendations"]).state) == "success"
    assert publish_lists(shop.sql, KafkaPublishHook()) == 0
    contract = load_contracts(ROOT / "include/contracts/published")["recommendations"]
    content = read_topic(kafka_broker, "recommendations")
    values = [value for _, _, value in content.rows if value]
    assert JsonDecoder(contract).decode(values).bad == []
    found = {row["customer_id"]: row for row in map(json.loads, values)}
    assert len(values) == len(found) == 4
    assert found["C000100"]["products"][0]["product_id"] not in ("P00001", "P00002")
    assert set(found["C000100"]["products"][0]) == {"product_id", "score", "reason"}


def test_a_topic_that_is_not_there_is_said(kafka_broker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = {"conn_type": "kafka", "extra": {"bootstrap.servers": kafka_broker}}
    monkeypatch.setenv("AIRFLOW_CONN_KAFKA_DEFAULT", json.dumps(connection))
    with pytest.raises(TopicError, match="does not exist"):
        KafkaPublishHook(timeout=5).publish(f"none-{uuid.uuid4().hex}", [("k", "v")])


@pytest.mark.parametrize("page", ["recommendations", "marts"])
def test_the_statements_of_the_page_run(shop: Shop, page: str) -> None:
    text = (ROOT / "docs/how-to" / f"{page}.md").read_text()
    blocks = re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
    assert blocks
    for statement in (s for block in blocks for s in block.split(";") if s.strip()):
        shop.sql.execute(statement)
