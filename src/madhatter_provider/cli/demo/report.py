"""What a person sees of a demo: a line per stage, a table at the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table


def show(console: Console, summary: Mapping[str, Any]) -> None:
    """Print the summary as tables."""
    console.print()
    console.print(_streams(summary["streams"]))
    console.print(
        "[dim]held: quarantined; bad: injected; p95: from Kafka's time stamp to loaded and judged[/]"
    )
    console.print(_rest(summary))
    console.print(_pages(summary["control_room"]))
    for note in summary["notes"]:
        console.print(f"[yellow]note[/] {note}")
    for failure in summary["failures"]:
        console.print(f"[bold red]failed[/] {failure}")
    if summary["ok"]:
        console.print(
            "[bold green]Every invariant holds.[/] Nothing lost, nothing twice, and the fraud was caught."
        )


def _streams(streams: Mapping[str, Mapping[str, Any]]) -> Table:
    table = Table(title="Streams, compared offset by offset: broker against Snowflake", title_justify="left")
    table.add_column("stream", no_wrap=True)
    columns = ("produced", "loaded", "quarantined", "injected_bad", "gaps", "overlaps", "duplicates", "runs")
    for name in ("produced", "loaded", "held", "bad", "gaps", "overlaps", "doubles", "runs", "p95"):
        table.add_column(name, justify="right", no_wrap=True)
    for stream, facts in streams.items():
        delay = facts["p95_event_to_queryable_seconds"]
        numbers = [f"{facts[c]:,}" for c in columns]
        table.add_row(stream, *numbers, "-" if delay is None else f"{delay:.1f} s")
    return table


def _pages(control_room: Mapping[str, Any]) -> Table:
    table = Table(show_header=False, box=None, pad_edge=False, title="Control room", title_justify="left")
    for page in control_room["pages"]:
        table.add_row(page["title"], page["url"], page["problem"] or "[green]has its data[/]")
    return table


def _rest(summary: Mapping[str, Any]) -> Table:
    table = Table(show_header=False, box=None, pad_edge=False)
    fraud, quality, seconds = summary["fraud"], summary["quality"], summary["seconds"]
    operations = summary["operations"]
    services, told = summary["services"], summary["notifications"]
    delay = fraud["event_to_function_seconds"]
    rows = {
        "fraud cases": f"{fraud['caught']} of {fraud['cases']} caught (recall {fraud['recall']:.2f})",
        "alerts": f"{fraud['alerts']} alerts in {fraud['alerted_cases']} cases, "
        f"{fraud['false_alerted_cases']} false (precision {fraud['precision']:.2f})",
        "cases": "{opened} opened, {held} with orders held, {asked} asked about, {decided} decided".format(
            **summary["cases"]
        ),
        "notifications": "not run"
        if told is None
        else f"{told['sent']} sent, {told['duplicates']} twice, {told['lost']} lost",
        "payment to function": "not run"
        if delay["p50"] is None
        else f"p50 {delay['p50']:.2f} s, p95 {delay['p95']:.2f} s, max {delay['max']:.2f} s",
        "faults in services, sensors": f"{operations['found']} of {operations['planted']} found, "
        f"{operations['false']} false",
        "deep gates": f"{quality['passed']} of {quality['gates']} passed",
        "recommendations": _recommendations(summary["recommendations"]),
        "seconds": ", ".join(f"{k.replace('_', ' ')} {v:.0f}" for k, v in seconds.items() if v is not None),
        "memory": f"{sum(s['rss_mb'] for s in services):,} MB in {len(services)} services",
    }
    for name, text in rows.items():
        table.add_row(f"[bold]{name}[/]", text)
    return table


def _recommendations(facts: Mapping[str, Any]) -> str:
    lists = f"{facts['lists']:,} lists"
    if facts["hit_rate_at_10"] is None:
        return lists
    return (
        f"{lists}, hit rate@10 {facts['hit_rate_at_10']:.3f} "
        f"(popularity {facts['popularity_hit_rate_at_10']:.3f}) "
        f"on {facts['sessions']:,} held-out sessions, coverage {facts['coverage']:.2f}"
    )
