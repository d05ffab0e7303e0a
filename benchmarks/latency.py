"""From a message to the first line of a task: ours against the official trigger, in turns, in one Airflow::

    .madhatter/venv/bin/python benchmarks/latency.py --rounds 30

Both poll as often (``--poll``), the tasks are the same, and each waits until the other's run is over.
"""

from __future__ import annotations

import argparse
import statistics
import time

from watched_airflow import WatchedAirflow, watched_airflow

from madhatter_provider.local.service import wait_until

PATIENCE_SECONDS = 60


def measure(airflow: WatchedAirflow, dag: str) -> float:
    """Seconds from one message to the line of the run that it starts."""
    before = len(airflow.lines(dag))
    sent = time.time()
    airflow.send(dag, 1)
    if not wait_until(lambda: len(airflow.lines(dag)) > before, seconds=PATIENCE_SECONDS, pause=0.05):
        raise SystemExit(f"{dag}: no run within {PATIENCE_SECONDS} s")
    seconds = airflow.lines(dag)[before] - sent
    wait_until(
        lambda: all(run["state"] == "success" for run in airflow.api.runs(dag)), seconds=PATIENCE_SECONDS
    )
    return seconds


def main() -> None:
    """Run the rounds and print a table."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--rounds", type=int, default=30)
    options.add_argument("--poll", type=float, default=0.1, help="Seconds between two looks at a topic.")
    chosen = options.parse_args()
    taken: dict[str, list[float]] = {"ours": [], "official": []}
    with watched_airflow(min_messages=1, max_wait=1, poll=chosen.poll) as airflow:
        for dag in taken:
            measure(airflow, dag)  # the executor's processes import Airflow
        for number in range(chosen.rounds):
            order = list(taken) if number % 2 else list(reversed(taken))
            for dag in order:
                taken[dag].append(measure(airflow, dag))
    print("| trigger | p50 s | p95 s | max s |\n|---|---|---|---|")
    for dag, seconds in taken.items():
        seconds = sorted(seconds)
        p95 = seconds[min(len(seconds) - 1, round(0.95 * len(seconds)))]
        print(f"| {dag} | {statistics.median(seconds):.2f} | {p95:.2f} | {seconds[-1]:.2f} |")
    ratios = [a / b for a, b in zip(taken["ours"], taken["official"], strict=True)]
    print(f"ours / official, median of {len(ratios)} pairs: {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
