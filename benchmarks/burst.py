"""How many runs a burst of messages starts: ours and the official trigger, at the same time, in one Airflow::

    .madhatter/venv/bin/python benchmarks/burst.py --messages 5000 --seconds 180

Ours has its default settings. What the official one has not announced when the time is over is still to come.
"""

from __future__ import annotations

import argparse
import time

from watched_airflow import WatchedAirflow, watched_airflow


def events(airflow: WatchedAirflow, asset: str) -> int:
    """Events of an asset that Airflow has stored."""
    found = airflow.api._get("/api/v2/assets", name_pattern=asset)["assets"]
    ident = next(a["id"] for a in found if a["name"] == asset)
    return int(airflow.api._get("/api/v2/assets/events", asset_id=ident, limit=1)["total_entries"])


def main() -> None:
    """Send the burst, wait, print a table."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--messages", type=int, default=5000)
    options.add_argument("--seconds", type=float, default=180.0)
    chosen = options.parse_args()
    with watched_airflow(min_messages=10_000, max_wait=10, poll=0.5) as airflow:
        for topic in ("ours", "official"):
            airflow.send(topic, chosen.messages)
        time.sleep(chosen.seconds)
        print("| trigger | messages | events | runs |\n|---|---|---|---|")
        for name in ("ours", "official"):
            runs = airflow.api._get(f"/api/v2/dags/{name}/dagRuns", limit=1)["total_entries"]
            print(f"| {name} | {chosen.messages} | {events(airflow, name)} | {runs} |")


if __name__ == "__main__":
    main()
