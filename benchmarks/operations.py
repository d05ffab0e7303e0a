"""Precision and recall of the checks on services and sensors, on planted faults, over several seeds.

``python benchmarks/operations.py`` makes the traffic, loads it into an in-process local Snowflake slice by
slice, evaluates the checks after every slice as the DAG ``operations`` does, and compares the changes of
state with the labels. ``--seconds 60 --short`` is what a demo sees; ``--seconds 1800`` has the windows of
every day. Which settings were chosen on which seeds is said in RESULTS.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from madhatter_provider.cli.demo import short_run
from madhatter_provider.core.contracts.contract import load_contracts
from madhatter_provider.core.operations.evaluation import evaluate, new_measurements, record
from madhatter_provider.core.operations.settings import change_settings
from madhatter_provider.core.warehouse.sql import script
from madhatter_provider.local.snowflake.engine import LocalSnowflake
from madhatter_provider.local.traffic.generate import Outgoing, generate, plan_faults
from madhatter_provider.local.traffic.score import FAULTS, FaultScore, score_faults

ROOT = Path(__file__).resolve().parents[1]
START = 1_790_000_000.0
STREAMS = ("system_logs", "iot_telemetry")


class Warehouse:
    """An in-process local Snowflake with the tables and views of the platform."""

    def __init__(self, folder: Path) -> None:
        self._contracts = load_contracts(ROOT / "include/contracts")
        self._engine = LocalSnowflake(folder)
        self._cursor = self._engine.connect(database="MADHATTER").cursor()
        for statement in script(ROOT / "include/sql", self._contracts, landing_root=folder.as_uri()):
            self._cursor.execute(statement.text)
        self._offsets: Counter[str] = Counter()

    def execute(self, statement: str) -> list[dict[str, Any]]:
        """Rows of a statement."""
        self._cursor.execute(statement)
        rows = self._cursor.fetchall()
        names = [column.name for column in self._cursor.description]
        return [dict(zip(names, row, strict=True)) for row in rows]

    def load(self, stream: str, messages: Sequence[Outgoing], file: Path) -> None:
        """Good messages into RAW, those with a defect into quarantine, as a landing does."""
        columns = [c.name for c in self._contracts[stream].columns]
        with file.open("wb") as out:
            for m in messages:
                self._offsets[stream] += 1
                place = {"o": self._offsets[stream], "t": START + m.due, "k": m.key.decode()}
                row = {} if m.defect else msgspec.json.decode(m.value)
                out.write(msgspec.json.encode({**{c: row.get(c) for c in columns}, **place}) + b"\n")
        source = f"read_json('{file}', format = 'newline_delimited', sample_size = -1)"
        names = ", ".join(f'"{c.upper()}"' for c in columns)
        values = ", ".join(columns)
        sql = self._engine.duck_conn.cursor()
        sql.execute("USE MADHATTER.RAW")
        sql.execute(
            f"INSERT INTO {stream.upper()} ({names}, _TOPIC_ID, _PARTITION, _OFFSET, _TIMESTAMP, _KEY) "
            f"SELECT {values}, 'id', 0, o, to_timestamp(t), k FROM {source} WHERE event_id IS NOT NULL"
        )
        sql.execute(
            "INSERT INTO QUARANTINE (STREAM, TOPIC, _TOPIC_ID, _PARTITION, _OFFSET, _TIMESTAMP, _KEY) "
            f"SELECT '{stream}', '{stream}', 'id', 0, o, to_timestamp(t), k FROM {source} "
            "WHERE event_id IS NULL"
        )

    def evaluate(self) -> None:
        """One run of the DAG ``operations``."""
        rows = self.execute(new_measurements("OPS.OPERATIONS_MEASUREMENTS"))
        for statement in record(evaluate(rows, "operations", "benchmark")):
            self._cursor.execute(statement)

    def close(self) -> None:
        """End it."""
        self._engine.close()


@dataclass(frozen=True, slots=True)
class Result:
    """Of one seed. ``evaluation_ms``: median and longest."""

    seed: int
    score: FaultScore
    changes: int
    evaluation_ms: tuple[float, float]


def run(seed: int, rate: float, seconds: float, slices: float, *, short: bool) -> Result:
    """One seed. ``slices``: seconds of traffic in a slice."""
    folder = Path(tempfile.mkdtemp(prefix="operations-"))
    warehouse = Warehouse(folder)
    if short:
        warehouse.execute(change_settings(short_run.SETTINGS, "a short run"))
    waiting: dict[str, list[Outgoing]] = {stream: [] for stream in STREAMS}
    until, took = slices, []

    def next_slice() -> None:
        for stream, messages in waiting.items():
            if messages:
                warehouse.load(stream, messages, folder / "slice.ndjson")
                messages.clear()
        began = time.perf_counter()
        warehouse.evaluate()
        took.append((time.perf_counter() - began) * 1000)

    for message in generate(seed, rate, seconds, start=START):
        if message.due >= until:
            next_slice()
            until += slices
        if message.stream in waiting:
            waiting[message.stream].append(message)
    next_slice()
    labels = [
        {
            "kind": "fault",
            "fault": f.kind,
            "subject": f.subject,
            "from": START + f.begin,
            "until": START + f.end,
        }
        for f in plan_faults(seed, rate, seconds)
    ]
    changes = warehouse.execute("SELECT * FROM OPS.HEALTH_CHANGES")
    warehouse.close()
    shutil.rmtree(folder)
    grace = short_run.GRACE_SECONDS if short else 300.0
    score = score_faults(labels, changes, grace=grace)
    return Result(seed, score, len(changes), (sorted(took)[len(took) // 2], max(took)))


def main() -> None:
    """All seeds, a line each and the sums."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="1-5", help="first-last")
    parser.add_argument("--rate", type=float, default=300.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--slices", type=float, default=10.0, help="seconds of traffic in a slice")
    parser.add_argument("--short", action="store_true", help="the settings of a demo")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    first, last = (int(n) for n in args.seeds.split("-"))
    results = [
        run(seed, args.rate, args.seconds, args.slices, short=args.short) for seed in range(first, last + 1)
    ]
    for r in results:
        print(
            f"seed {r.seed}: {r.score.found} of {r.score.planted} found, {len(r.score.false)} false, "
            f"{r.changes} changes, evaluation p50 {r.evaluation_ms[0]:.0f} ms, "
            f"max {r.evaluation_ms[1]:.0f} ms"
            f"{' missed: ' + ', '.join(r.score.missed) if r.score.missed else ''}"
            f"{' false: ' + ', '.join(r.score.false) if r.score.false else ''}"
        )
    found, planted = sum(r.score.found for r in results), sum(r.score.planted for r in results)
    false = sum(len(r.score.false) for r in results)
    print(f"recall {found / planted:.3f} ({found} of {planted}), precision {found / (found + false):.3f}")
    by_kind = {
        kind: {
            "found": sum(r.score.found_by_kind.get(kind, (0, 0))[0] for r in results),
            "planted": sum(r.score.found_by_kind.get(kind, (0, 0))[1] for r in results),
            "false": sum(f.startswith(f"{kind} ") for r in results for f in r.score.false),
        }
        for kind in FAULTS
    }
    for kind, numbers in by_kind.items():
        print(f"  {kind}: {numbers['found']} of {numbers['planted']} found, {numbers['false']} false")
    if args.json:
        args.json.write_text(
            json.dumps({"arguments": vars(args) | {"json": None}, "kinds": by_kind}, indent=2)
        )


if __name__ == "__main__":
    main()
