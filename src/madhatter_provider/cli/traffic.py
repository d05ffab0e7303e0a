"""``madhatter traffic``:

send labelled traffic; ``madhatter traffic profiles``: write the customers' profiles.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(invoke_without_command=True, help="Send seeded, labelled traffic to the five streams.")

# Making the customers and the topics takes this long at most; nothing must be late from the first second on.
_GET_READY_SECONDS = 2.0

_Seed = Annotated[int, typer.Option(help="Same seed, same customers and same events.")]
_Rate = Annotated[
    float, typer.Option(min=0.1, help="Messages per second over all streams; a fifth are payments.")
]
_Customers = Annotated[int, typer.Option(min=1, max=999_999, help="Size of the population.")]
_Labels = Annotated[Path, typer.Option(help="File for the labels (NDJSON).")]
_Servers = Annotated[str, typer.Option(envvar="KAFKA_BOOTSTRAP_SERVERS", help="Kafka's address.")]
_Contracts = Annotated[Path, typer.Option(help="Folder of the data contracts.")]
_Break = Annotated[
    str | None,
    typer.Option("--break", metavar="STREAM", help="This stream's producer violates its contract."),
]
_BreakAfter = Annotated[float | None, typer.Option(help="From this second on; default: half time.")]
_Summary = Annotated[Path | None, typer.Option(help="File for the counts (JSON).")]


@app.callback()
def traffic(
    context: typer.Context,
    seconds: Annotated[float, typer.Option(min=1, help="How long to send.")] = 60.0,
    rate: _Rate = 300.0,
    seed: _Seed = 1,
    customers: _Customers = 4000,
    labels: _Labels = Path("labels.ndjson"),
    bootstrap_servers: _Servers = "127.0.0.1:9092",
    contracts: _Contracts = Path("include/contracts"),
    break_stream: _Break = None,
    break_after: _BreakAfter = None,
    summary: _Summary = None,
) -> None:
    """Send traffic of five streams to Kafka and write its labels."""
    if context.invoked_subcommand is not None:
        return
    from madhatter_provider.core.contracts.contract import load_contracts
    from madhatter_provider.local.traffic.generate import STREAMS, generate, plan_faults
    from madhatter_provider.local.traffic.send import Sender, ensure_topics, send_traffic

    known = {stream: c for stream, c in load_contracts(contracts).items() if stream in STREAMS}
    start = time.time() + _GET_READY_SECONDS
    messages = generate(
        seed,
        rate,
        seconds,
        start=start,
        customers=customers,
        break_stream=break_stream,
        break_after=break_after,
    )
    ensure_topics(bootstrap_servers, known)
    labels.parent.mkdir(parents=True, exist_ok=True)
    with labels.open("w", encoding="utf-8") as out:
        sender = Sender(bootstrap_servers, out, {stream: c.topic for stream, c in known.items()})
        sender.label_faults(plan_faults(seed, rate, seconds, break_stream=break_stream), start)
        send_traffic(sender, messages, start)
    if summary is not None:
        _write(summary, {"seed": seed, "rate": rate, "started": start, **sender.summary()})
    typer.echo(f"Sent {sum(sender.sent.values())} messages; labels in {labels}")


def _write(file: Path, counts: dict[str, Any]) -> None:
    import msgspec

    file.parent.mkdir(parents=True, exist_ok=True)
    whole = {**counts, "finished": time.time(), "cpu_seconds": round(time.process_time(), 2)}
    file.write_bytes(msgspec.json.format(msgspec.json.encode(whole), indent=2) + b"\n")


@app.command("profiles")
def profiles_command(
    out: Annotated[Path, typer.Option(help="File for the profiles (NDJSON).")],
    seed: _Seed = 1,
    rate: _Rate = 300.0,
    customers: _Customers = 4000,
) -> None:
    """Write the customers' profiles: what a shop knows about them, not how they will behave."""
    from madhatter_provider.local.traffic.profiles import profiles
    from madhatter_provider.local.traffic.send import write_profiles

    typer.echo(f"{write_profiles(out, profiles(seed, rate=rate, customers=customers))} profiles in {out}")
