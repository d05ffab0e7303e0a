"""Read the ledger and count the rows of a stream, by ledger range, in Snowflake.

Rows are aggregated there: whatever the number of messages, what comes back is one line per ledger range, and
one per run of rows that no range covers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from madhatter_provider.core.audit.model import LedgerRange, RangeKey, RangeRows, Stray, TableRows
from madhatter_provider.core.contracts.contract import Contract
from madhatter_provider.core.slices.offsets import OffsetRange
from madhatter_provider.core.warehouse import ledger
from madhatter_provider.core.warehouse.ledger import Statement
from madhatter_provider.core.warehouse.sql_client import Sql

_COLUMNS: Final = ("TOPIC_ID", "PARTITION_ID", "START_OFFSET", "END_OFFSET", "STATE", "DAG_ID", "RUN_ID")
_COUNTS: Final = ("READ", "LANDED", "LOADED", "QUARANTINED", "FILTERED")


def read_ledger(sql: Sql, stream: str, since: datetime | None = None) -> tuple[LedgerRange, ...]:
    """The stream's ledger rows.

    :param since: only of ranges claimed since then.
    """
    return tuple(_ledger_range(r) for r in sql.execute(*_select_ledger(stream, since)))


def _select_ledger(stream: str, since: datetime | None) -> Statement:
    later, bindings = _later(since)
    ages = ", ".join(
        f"DATEDIFF('second', {at}, CURRENT_TIMESTAMP()) AS {name}"
        for at, name in (("CLAIMED_AT", "CLAIMED_AGO"), ("LOADED_AT", "LOADED_AGO"))
    )
    columns = ", ".join((*_COLUMNS, *(f"ROWS_{c}" for c in _COUNTS)))
    return (
        f"SELECT {columns}, REPLAY_ID IS NOT NULL AS REPLAYED, "
        f"ACKNOWLEDGED_AT IS NOT NULL AS ACKNOWLEDGED, DEEP_GATE IS NOT NULL AS DEEP_GATED, {ages} "
        f"FROM {ledger.TABLE} WHERE STREAM = ?{later} ORDER BY TOPIC_ID, PARTITION_ID, START_OFFSET",
        [stream, *bindings],
    )


def _later(since: datetime | None) -> tuple[str, list[Any]]:
    return ("", []) if since is None else (" AND CLAIMED_AT >= ?", [since])


def _ledger_range(row: Mapping[str, Any]) -> LedgerRange:
    return LedgerRange(
        row["TOPIC_ID"],
        OffsetRange(int(row["PARTITION_ID"]), int(row["START_OFFSET"]), int(row["END_OFFSET"])),
        row["STATE"],
        row["DAG_ID"] or "",
        row["RUN_ID"] or "",
        **{c.lower(): int(row[f"ROWS_{c}"] or 0) for c in _COUNTS},
        replayed=row["REPLAYED"],
        acknowledged=row["ACKNOWLEDGED"],
        deep_gated=row["DEEP_GATED"],
        claimed_ago=float(row["CLAIMED_AGO"] or 0),
        loaded_ago=None if row["LOADED_AGO"] is None else float(row["LOADED_AGO"]),
    )


def count_rows(sql: Sql, contract: Contract, since: datetime | None = None) -> TableRows:
    """The rows of the stream's table and of its part of the quarantine, by ledger range.

    :param since: only of ranges claimed since then; what lies before them is not looked at.
    """
    by_range: dict[RangeKey, RangeRows] = {}
    strays: list[Stray] = []
    for row in sql.execute(*_select_counts(contract, since)):
        topic_id, partition = row["TOPIC_ID"], int(row["P"])
        counts = [int(row[c]) for c in ("N", "OFFSETS", "HELD_N", "HELD_OFFSETS", "BOTH_N")]
        if row["INSIDE"]:
            by_range[(topic_id, partition, int(row["S"]))] = RangeRows(*counts)
        else:
            hull = OffsetRange(partition, int(row["LOW"]), int(row["HIGH"]) + 1)
            strays.append(Stray(topic_id, hull, counts[0], counts[2]))
    return TableRows(by_range, tuple(strays))


def _select_counts(contract: Contract, since: datetime | None) -> Statement:
    """Rows and ledger ranges in one order by offset: each row belongs to the range that began last.

    One pass over the table and a sort, where a join by offset would compare every row with every range.
    """
    later, bindings = _later(since)
    sources = " UNION ALL ".join(_sources(contract, later))
    window = "PARTITION BY TOPIC_ID, P ORDER BY O, N, H ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW"
    placed = (
        f"SELECT TOPIC_ID, P, O, N, H, MAX(S) OVER ({window}) AS S, MAX(E) OVER ({window}) AS E "
        f"FROM ({sources}) AS all_rows"
    )
    begun = " AND S IS NOT NULL" if since is not None else ""
    offsets = (
        "SELECT TOPIC_ID, P, O, COALESCE(S, -1) AS S, COALESCE(O < E, FALSE) AS INSIDE, SUM(N) AS N, "
        f"SUM(H) AS H FROM ({placed}) AS placed WHERE N + H > 0{begun} GROUP BY TOPIC_ID, P, O, S, E"
    )
    return (
        "SELECT TOPIC_ID, P, S, INSIDE, MIN(O) AS LOW, MAX(O) AS HIGH, "
        "SUM(N) AS N, COUNT_IF(N > 0) AS OFFSETS, SUM(H) AS HELD_N, "
        "COUNT_IF(H > 0) AS HELD_OFFSETS, COUNT_IF(N > 0 AND H > 0) AS BOTH_N "
        f"FROM ({offsets}) AS offsets GROUP BY TOPIC_ID, P, S, INSIDE",
        [contract.stream, *bindings, contract.stream],
    )


def _sources(contract: Contract, later: str) -> Iterator[str]:
    yield (
        "SELECT TOPIC_ID, PARTITION_ID AS P, START_OFFSET AS O, START_OFFSET AS S, MAX(END_OFFSET) AS E, "
        f"0 AS N, 0 AS H FROM {ledger.TABLE} "
        f"WHERE STREAM = ? AND STATE <> 'lost' AND END_OFFSET > START_OFFSET{later} "
        "GROUP BY TOPIC_ID, PARTITION_ID, START_OFFSET"
    )
    yield f"SELECT _TOPIC_ID, _PARTITION, _OFFSET, NULL, NULL, 1, 0 FROM RAW.{contract.table}"
    yield "SELECT _TOPIC_ID, _PARTITION, _OFFSET, NULL, NULL, 0, 1 FROM RAW.QUARANTINE WHERE STREAM = ?"
