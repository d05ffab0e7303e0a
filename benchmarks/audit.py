"""How the ledger's MERGE and an audit grow with ranges and rows, in the local Snowflake::

    .madhatter/venv/bin/python benchmarks/audit.py --ranges 100000 --rows 2000000

A real account has other figures. What a stream writes in a day: one range per partition and run.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from throwaway_snowflake import throwaway_snowflake

from madhatter_provider.core.audit.findings import compare
from madhatter_provider.core.audit.model import Evidence
from madhatter_provider.core.audit.plan import plan
from madhatter_provider.core.audit.queries import count_rows, read_ledger
from madhatter_provider.core.contracts.contract import load_contract
from madhatter_provider.core.warehouse import ledger
from madhatter_provider.core.warehouse.ledger import LedgerRow
from madhatter_provider.hooks.snowflake_rest import SnowflakeRest

CONTRACT = load_contract(Path(__file__).parents[1] / "include/contracts/searches.odcs.yaml")
PARTITIONS = 4


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Print how long the block took."""
    began = time.perf_counter()
    yield
    print(f"| {what} | {time.perf_counter() - began:.2f} |")


def ledger_rows(ranges: int, size: int) -> list[LedgerRow]:
    """Loaded ranges that tile four partitions."""
    return [
        LedgerRow(
            stream=CONTRACT.stream,
            topic=CONTRACT.topic,
            topic_id="epoch",
            partition_id=i % PARTITIONS,
            start_offset=i // PARTITIONS * size,
            end_offset=(i // PARTITIONS + 1) * size,
            state="loaded",
            dag_id="land_searches",
            run_id=f"run-{i // PARTITIONS}",
            rows_read=size,
            rows_landed=size,
            rows_loaded=size,
            rows_quarantined=0,
            rows_filtered=0,
            gate="pass",
            deep_gate="pass",
        )
        for i in range(ranges)
    ]


def fill(sql: SnowflakeRest, ranges: int, size: int) -> None:
    """A row for every offset of the ranges, by doubling."""
    table, last = f"RAW.{CONTRACT.table}", ranges // PARTITIONS * size
    places = ", ".join(f"('epoch', {p}, 0)" for p in range(PARTITIONS))
    sql.execute(f"INSERT INTO {table} (_TOPIC_ID, _PARTITION, _OFFSET) VALUES {places}")
    done = 1
    while done < last:
        sql.execute(
            f"INSERT INTO {table} (_TOPIC_ID, _PARTITION, _OFFSET) SELECT _TOPIC_ID, _PARTITION, "
            f"_OFFSET + {done} FROM {table} WHERE _OFFSET + {done} < {last}"
        )
        done *= 2


def measure(sql: SnowflakeRest, ranges: int, rows: int) -> None:
    """A line for every step."""
    size = rows // ranges
    entries = ledger_rows(ranges, size)
    with timed(f"record {ranges:,} ranges, 10,000 a statement"):
        for first in range(0, ranges, 10_000):
            sql.execute(*ledger.record(entries[first : first + 10_000]))
    with timed(f"record 10 ranges beside {ranges:,}"):
        sql.execute(*ledger.record(entries[:10]))
    with timed("gaps and overlaps"):
        found = sql.execute(*ledger.gaps(CONTRACT.stream)) + sql.execute(*ledger.overlaps(CONTRACT.stream))
    assert not found
    fill(sql, ranges, size)
    with timed("audit: read the ledger"):
        read = read_ledger(sql, CONTRACT.stream)
    with timed(f"audit: count {rows:,} rows by range"):
        counted = count_rows(sql, CONTRACT)
    evidence = Evidence(CONTRACT.stream, CONTRACT.topic, "land_searches", ledger=read, rows=counted)
    with timed("audit: compare and plan"):
        findings = compare(evidence)
        plan(evidence, findings)
    assert [f for f in findings if f.severity == "difference"] == []
    assert sum(r.rows for r in counted.by_range.values()) == ranges * size


def main() -> None:
    """Start a server, fill it, print a table."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--ranges", type=int, default=100_000)
    options.add_argument("--rows", type=int, default=2_000_000)
    chosen = options.parse_args()
    with throwaway_snowflake() as server:
        server.apply_sql({CONTRACT.stream: CONTRACT})
        print("| step | seconds |\n|---|---|")
        with server.client(timeout=600.0) as sql:
            measure(sql, chosen.ranges, chosen.rows)


if __name__ == "__main__":
    main()
