"""How well the fraud rules find the labelled cases, on seeds that the rules were not tuned on. Offline:
generator → rules.

``python benchmarks/fraud_seeds.py`` prints one line per seed and the totals (Markdown). The rules were tuned
on seeds 1 to 5; the default seeds
are 201 to 210, each at another hour of the day, and were looked at once.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec

from madhatter_provider.core.contracts.contract import load_contracts
from madhatter_provider.core.decoding.row_reader import RowReader
from madhatter_provider.core.fraud.alerts import alert_of
from madhatter_provider.core.fraud.rules import RULE_VERSION, CustomerState, Profile, event_of, observe
from madhatter_provider.local.traffic import FraudScore, generate, score_alerts
from madhatter_provider.local.traffic.profiles import profiles

CONTRACTS = Path(__file__).parents[1] / "include/contracts"
STREAMS = ("clicks", "transactions", "system_logs")
MIDNIGHT = 1_790_035_200.0


def score_seed(seed: int, rate: float, seconds: float) -> FraudScore:
    """Generate the traffic of a seed, judge it event by event, and score the alerts against the labels."""
    reader = RowReader({stream: c for stream, c in load_contracts(CONTRACTS).items() if stream in STREAMS})
    known = {row["customer_id"]: msgspec.convert(row, Profile) for row in profiles(seed, rate=rate)}
    states: defaultdict[str, CustomerState] = defaultdict(CustomerState)
    cases: defaultdict[str, list[str]] = defaultdict(list)
    alerts: list[dict[str, Any]] = []
    for message in generate(seed, rate, seconds, start=MIDNIGHT + seed % 24 * 3600):
        if message.case:
            cases[message.case].append(message.event_id)
        if message.stream not in STREAMS or message.defect:
            continue
        found = event_of(message.stream, reader.read(message.stream, message.value))
        if found is None:
            continue
        customer, event = found
        for finding in observe(states[customer], known.get(customer), event):
            alert = alert_of(customer, finding, rule_version=RULE_VERSION, now=event.time)
            alerts.append(json.loads(alert.to_json()))
    labels = [{"kind": "fraud", "case": case, "event_ids": ids} for case, ids in cases.items()]
    return score_alerts(labels, alerts)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="201-210", help="first-last")
    parser.add_argument("--rate", type=float, default=300.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    args = parser.parse_args()
    first, last = map(int, args.seeds.split("-"))
    print("| seed | cases | caught | alerted | false | recall | precision | missed | CPU s |")
    print("|---|---|---|---|---|---|---|---|---|")
    scores = []
    for seed in range(first, last + 1):
        begun = time.process_time()
        s = score_seed(seed, args.rate, args.seconds)
        scores.append(s)
        row = (
            seed,
            s.cases,
            s.caught,
            s.alerted_cases,
            s.false_alerted_cases,
            f"{s.recall:.2f}",
            f"{s.precision:.2f}",
        )
        print(
            f"| {' | '.join(map(str, row))} | {', '.join(s.missed)} | {time.process_time() - begun:.1f} |",
            flush=True,
        )
    caught, cases = sum(s.caught for s in scores), sum(s.cases for s in scores)
    false, alerted = sum(s.false_alerted_cases for s in scores), sum(s.alerted_cases for s in scores)
    print(
        f"\nAll: recall {caught / cases:.3f} (worst seed {min(s.recall for s in scores):.2f}), "
        f"precision {1 - false / alerted:.3f} (worst seed {min(s.precision for s in scores):.2f})"
    )


if __name__ == "__main__":
    main()
