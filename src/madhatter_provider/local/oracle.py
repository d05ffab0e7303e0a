"""Says, from the broker and from Snowflake alone, whether messages were lost or doubled. It trusts no counter
of ours.

It compares sets of (partition, offset): what a consumer can read of the topic, what is in the stream's RAW
table, what is in quarantine.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from madhatter_provider.core.slices.offsets import OffsetRange, Slice
from madhatter_provider.core.slices.topic_epoch import describe_topic
from madhatter_provider.core.warehouse.sql_client import Sql

QUIET_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class StreamVerdict:
    """Numbers of messages of one stream. All of the last four must be zero."""

    produced: int
    loaded: int
    quarantined: int
    gaps: int
    overlaps: int
    duplicates: int
    strangers: int

    @property
    def ok(self) -> bool:
        """Every message is in exactly one place, once."""
        return not (self.gaps or self.overlaps or self.duplicates or self.strangers)


def compare(
    produced: Slice, loaded: Slice, loaded_rows: int, quarantined: Slice, quarantined_rows: int
) -> StreamVerdict:
    """Judge one stream.

    ``gaps``: produced but nowhere; ``overlaps``: both loaded and quarantined; ``duplicates``: rows beyond one
    per message; ``strangers``: rows of no message.
    """
    found = loaded | quarantined
    return StreamVerdict(
        produced=len(produced),
        loaded=loaded_rows,
        quarantined=quarantined_rows,
        gaps=len(produced - found),
        overlaps=len(loaded & quarantined),
        duplicates=loaded_rows - len(loaded) + quarantined_rows - len(quarantined),
        strangers=len(found - produced),
    )


def judge_stream(
    bootstrap: str, sql: Sql, topic: str, table: str, ends: Mapping[int, int] | None = None
) -> StreamVerdict:
    """Read a topic whole, look its rows up, and compare.

    :param table: the stream's table, as ``RAW.CLICKS``.
    :param ends: judge what lies before these offsets, by partition; for a topic that is still written to.
    """
    content = read_topic(bootstrap, topic)
    places = tuple(OffsetRange(p, o, o + 1) for p, o, _ in content.rows if ends is None or o < ends[p])
    produced = Slice(topic, content.topic_id, places)
    loaded, loaded_rows = stored_offsets(sql, table, topic, content.topic_id, ends)
    held, held_rows = stored_offsets(sql, "RAW.QUARANTINE", topic, content.topic_id, ends)
    return compare(produced, loaded, loaded_rows, held, held_rows)


@dataclass(frozen=True, slots=True)
class TopicContent:
    """All committed messages of a topic: (partition, offset, value), and when each was sent (Unix time)."""

    topic_id: str
    rows: list[tuple[int, int, bytes | None]]
    times: list[float]


def read_topic(bootstrap: str, topic: str) -> TopicContent:
    """Read a topic from its start to its end, as any consumer would."""
    from confluent_kafka import Consumer, KafkaError, TopicPartition
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({"bootstrap.servers": bootstrap})
    described = describe_topic(admin, topic, 30)
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "madhatter-oracle",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
        }
    )
    rows: list[tuple[int, int, bytes | None]] = []
    times: list[float] = []
    unread = set(described.partitions)
    consumer.assign([TopicPartition(topic, p, 0) for p in unread])
    try:
        heard = time.monotonic()
        while unread:
            arrived = consumer.consume(10_000, timeout=0.1)
            if arrived:
                heard = time.monotonic()
            elif time.monotonic() - heard > QUIET_SECONDS:
                raise TimeoutError(f"the oracle read nothing of {topic} for {QUIET_SECONDS:.0f} s")
            for m in arrived:
                partition, offset, error = m.partition(), m.offset(), m.error()
                assert partition is not None
                assert offset is not None
                if error is None:
                    rows.append((partition, offset, m.value()))
                    times.append(m.timestamp()[1] / 1000)
                elif error.code() == KafkaError._PARTITION_EOF:
                    unread.discard(partition)
    finally:
        consumer.close()
    return TopicContent(described.id, rows, times)


def stored_offsets(
    sql: Sql, table: str, topic: str, topic_id: str, ends: Mapping[int, int] | None = None
) -> tuple[Slice, int]:
    """Offsets that a table holds of a topic epoch, and its number of rows; runs are folded in SQL."""
    before = "".join(f" AND (_PARTITION <> {int(p)} OR _OFFSET < {int(o)})" for p, o in (ends or {}).items())
    found = sql.execute(
        "SELECT P, MIN(O) AS FIRST_OFFSET, MAX(O) AS LAST_OFFSET, SUM(N) AS ROW_COUNT FROM ("
        "SELECT P, O, N, O - ROW_NUMBER() OVER (PARTITION BY P ORDER BY O) AS ISLAND FROM ("
        f"SELECT _PARTITION AS P, _OFFSET AS O, COUNT(*) AS N FROM {table} WHERE _TOPIC_ID = ?{before} "
        "GROUP BY _PARTITION, _OFFSET) AS counted) AS islands GROUP BY P, ISLAND",
        [topic_id],
    )
    ranges = (OffsetRange(int(r["P"]), int(r["FIRST_OFFSET"]), int(r["LAST_OFFSET"]) + 1) for r in found)
    return Slice(topic, topic_id, tuple(ranges)), sum(int(r["ROW_COUNT"]) for r in found)


def quarantine_reasons(sql: Sql, topic: str) -> dict[tuple[int, int], str]:
    """The rule that sent each quarantined message of a topic there."""
    found = sql.execute(
        "SELECT _PARTITION AS P, _OFFSET AS O, RULE FROM RAW.QUARANTINE WHERE TOPIC = ?", [topic]
    )
    return {(int(r["P"]), int(r["O"])): str(r["RULE"]) for r in found}


# Which rules may catch which injected defect.
RULES_OF_DEFECT: Mapping[str, frozenset[str]] = {
    "broken_json": frozenset({"malformed_json"}),
    "missing_field": frozenset({"required"}),
    "wrong_type": frozenset({"wrong_type"}),
    "out_of_range": frozenset({"minimum", "maximum"}),
    "unknown_enum": frozenset({"known_values"}),
    "contract_break": frozenset({"required", "wrong_type"}),
}


def wrongly_quarantined(
    injected: Iterable[tuple[int, int, str]], reasons: Mapping[tuple[int, int], str]
) -> tuple[list[str], list[str]]:
    """(injected but not quarantined or for another reason, quarantined but not injected), in words.

    :param injected: (partition, offset, defect) of every bad row.
    """
    labels = {(p, o): defect for p, o, defect in injected}
    missed = [
        f"{p}:{o} {defect}, found {reasons.get((p, o), 'nothing')}"
        for (p, o), defect in labels.items()
        if reasons.get((p, o)) not in RULES_OF_DEFECT[defect]
    ]
    innocent = [f"{p}:{o} {rule}" for (p, o), rule in reasons.items() if (p, o) not in labels]
    return missed, innocent
