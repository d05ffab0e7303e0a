"""How good the recommendations are, on seeds that nothing was tuned on, and what a refresh costs::

    .madhatter/venv/bin/python benchmarks/recommendations.py --seeds 301-305 --seconds 600

The generator's clicks, searches and payments are landed and loaded into the local Snowflake, slice by slice;
after each slice the DAG's own SQL refreshes the recommendations. One session in eight is held out; its last
product is the answer. Popularity is asked the same question. The SQL's constants were tuned on seeds 1 to 8.
"""

from __future__ import annotations

import argparse
import time
import uuid
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from throwaway_snowflake import throwaway_snowflake

from madhatter_provider.core.contracts.contract import Contract, load_contracts
from madhatter_provider.core.landing.land import Batch, Landing, land
from madhatter_provider.core.recommendations import refresh
from madhatter_provider.core.slices.offsets import OffsetRange, Slice
from madhatter_provider.core.warehouse.ledger import LedgerRow, record
from madhatter_provider.hooks.object_store import open_store
from madhatter_provider.hooks.snowflake_rest import SnowflakeRest
from madhatter_provider.local.traffic import Outgoing, generate
from madhatter_provider.testing.snowflake import RunningSnowflake

INCLUDE = Path(__file__).parents[1] / "include"
CONTRACTS = load_contracts(INCLUDE / "contracts")


class Feeder:
    """Lands and loads slices, as the landing DAGs do."""

    def __init__(self, sql: SnowflakeRest, root: str) -> None:
        self._sql, self._store, self._topic_id = sql, open_store(root), uuid.uuid4().hex
        self._next: dict[str, int] = {}

    def load(self, contract: Contract, values: Sequence[bytes]) -> None:
        """One slice of one stream."""
        start = self._next.get(contract.stream, 0)
        end = self._next[contract.stream] = start + len(values)
        owned = Slice(contract.topic, self._topic_id, (OffsetRange(0, start, end),))
        n, now = len(values), int(time.time() * 1000)
        batch = Batch(0, list(range(start, end)), [now] * n, [b""] * n, list(values), [None] * n)
        manifest = land(Landing(contract, owned, f"run-{start}", self._store), [batch])
        files = ", ".join(f"'{f.path}'" for f in manifest.files if not f.quarantine)
        self._sql.execute(
            f"COPY INTO RAW.{contract.table} FROM @RAW.LANDING FILES = ({files}) "
            "FILE_FORMAT = (FORMAT_NAME = 'RAW.PARQUET') MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE",
            repeatable=True,
        )
        row = LedgerRow(
            stream=contract.stream, topic_id=self._topic_id, partition_id=0, start_offset=start,
            end_offset=end, state="loaded", gate="pass",
        )  # fmt: skip
        self._sql.execute(*record([row]))


def slices(seed: int, rate: float, seconds: float, every: float) -> Iterator[dict[str, list[bytes]]]:
    """Messages by stream, ``every`` seconds of traffic at a time; the traffic ends now."""
    messages = generate(seed, rate, seconds, start=time.time() - seconds)
    wanted = (m for m in messages if m.stream in refresh.STREAMS)

    def number(message: Outgoing) -> int:
        return int(message.due // every)

    for _, group in groupby(wanted, key=number):
        found: dict[str, list[bytes]] = {}
        for message in group:
            found.setdefault(message.stream, []).append(message.value)
        yield found


def judge_seed(server: RunningSnowflake, seed: int, args: argparse.Namespace) -> str:
    """Feed a seed's traffic and refresh after each slice; a row of the table."""
    sql = server.client(timeout=600)
    for table in ("RAW.CLICKS", "RAW.SEARCHES", "RAW.TRANSACTIONS", "OPS.SLICES", *TABLES):
        sql.execute(f"DELETE FROM {table}")
    feeder, took = Feeder(sql, server.landing_root), []
    for found in slices(seed, args.rate, args.seconds, args.every):
        for stream, values in found.items():
            feeder.load(CONTRACTS[stream], values)
        began = time.perf_counter()
        for step in (refresh.learn(), refresh.compare(), refresh.recommend()):
            sql.transact(step, repeatable=True)
        took.append(time.perf_counter() - began)
    sql.transact(refresh.measure("benchmark"), repeatable=True)
    q = sql.execute("SELECT * FROM RECO.QUALITY")[0]
    lists = sql.execute("SELECT COUNT(DISTINCT CUSTOMER_ID) AS N FROM RECO.RECOMMENDATIONS")[0]["N"]
    hit, popular = q["HITS"] / q["SESSIONS"], q["POPULARITY_HITS"] / q["SESSIONS"]
    cells = (
        seed, q["SESSIONS"], f"{hit:.3f}", f"{popular:.3f}", f"{hit / popular:.1f}",
        f"{q['PRODUCTS_RECOMMENDED'] / q['PRODUCTS']:.2f}", f"{10 / q['PRODUCTS']:.3f}", lists,
        f"{sorted(took)[len(took) // 2]:.2f}", f"{took[-1]:.2f}",
    )  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"


TABLES = tuple(
    f"RECO.{name}"
    for name in (
        "APPLIED_RANGES", "SESSION_ITEMS", "ITEMS", "PAIRS", "PRODUCT_HOURS", "PRODUCTS", "SIMILAR",
        "RECOMMENDATIONS", "TO_PUBLISH", "PUBLISHED", "QUALITY", "STALE_ITEMS", "STALE_CUSTOMERS",
    )
)  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", default="301-305", help="first-last")
    parser.add_argument("--rate", type=float, default=300.0)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--every", type=float, default=60.0, help="seconds of traffic in a slice")
    args = parser.parse_args()
    first, last = map(int, args.seeds.split("-"))
    print(
        "| seed | held-out sessions | hit rate@10 | of popularity | lift | coverage | of popularity | "
        "lists | refresh p50, s | last |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    with throwaway_snowflake() as server:
        server.apply_sql(CONTRACTS, INCLUDE / "sql")
        for seed in range(first, last + 1):
            print(judge_seed(server, seed, args), flush=True)


if __name__ == "__main__":
    main()
