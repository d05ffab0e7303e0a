"""Where the CPU of the local platform goes, by service, while something else (``madhatter demo``) works it.

Start it in a second shell as soon as the demo has begun; it waits for traffic, measures, and prints a table
(Markdown)::

    .madhatter/venv/bin/python benchmarks/platform_cpu.py --seconds 60
"""

from __future__ import annotations

import argparse
import time
from collections import Counter

import psutil

from madhatter_provider.local.platform import Platform

EVERY_SECONDS = 0.25
# Parts of a service that are worth a line of their own, by what their command line holds.
PARTS = {"prism": "prism --job_port", "streaming job": "streaming_fraud.py", "tasks": "airflow worker"}


def processes(platform: Platform) -> dict[psutil.Process, str]:
    """Every process of the platform and the traffic sender, with the name to count it under."""
    found: dict[psutil.Process, str] = {}
    for service in platform.services:
        if service.pid is None:
            continue
        try:
            first = psutil.Process(service.pid)
            for process in (first, *first.children(recursive=True)):
                command = " ".join(process.cmdline())
                found[process] = next((n for n, text in PARTS.items() if text in command), service.name)
        except psutil.NoSuchProcess:
            continue
    for process in psutil.process_iter(["cmdline"]):
        command = " ".join(process.info["cmdline"] or ())
        if "madhatter_provider.cli.main traffic --seconds" in command:
            found[process] = "traffic"
    return found


def measure(platform: Platform, seconds: float) -> tuple[Counter[str], Counter[str]]:
    """CPU seconds and peak memory (MB) by name."""
    used: Counter[str] = Counter()
    peak: Counter[str] = Counter()
    before: dict[psutil.Process, float] = {}
    began = time.time()
    while time.time() - began < seconds:
        memory: Counter[str] = Counter()
        for process, name in processes(platform).items():
            try:
                times = process.cpu_times()
                total = times.user + times.system
                # A process born while we look has used all its time within the measurement.
                first = 0.0 if process.create_time() > began else total
                used[name] += total - before.get(process, first)
                before[process] = total
                memory[name] += process.memory_info().rss >> 20
            except psutil.NoSuchProcess:
                continue
        for name, megabytes in memory.items():
            peak[name] = max(peak[name], megabytes)
        time.sleep(EVERY_SECONDS)
    return used, peak


def main() -> None:
    """Wait for traffic, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--now", action="store_true", help="Measure at once, without traffic.")
    options = parser.parse_args()
    platform = Platform()
    while not options.now and "traffic" not in processes(platform).values():
        time.sleep(0.2)
    used, peak = measure(platform, options.seconds)
    print("| part | cores | peak MB |\n|---|---|---|")
    for name, seconds in used.most_common():
        print(f"| {name} | {seconds / options.seconds:.2f} | {peak[name]} |")
    print(f"| **all** | **{sum(used.values()) / options.seconds:.2f}** | {sum(peak.values())} |")


if __name__ == "__main__":
    main()
