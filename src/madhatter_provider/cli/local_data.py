"""``madhatter local send`` and ``madhatter local sql``: messages in, rows out, without another tool."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from madhatter_provider.core.errors import BrokerError, ConfigurationError, MadHatterError

if TYPE_CHECKING:
    from madhatter_provider.core.contracts.contract import Contract
    from madhatter_provider.local.encoding import Encode
    from madhatter_provider.local.platform import Platform

_SECONDS = 30.0


def send(
    topic: Annotated[str, typer.Argument(help="Topic of the local Kafka.")],
    file: Annotated[
        Path, typer.Argument(help="One message a line; - reads standard input.", allow_dash=True)
    ],
    repeat: Annotated[int, typer.Option(min=1, help="Send the file so many times.")] = 1,
    schema: Annotated[
        Path | None,
        typer.Option(
            help="Register this first: Avro, JSON Schema, or what protoc --descriptor_set_out writes."
        ),
    ] = None,
) -> None:
    """Send the lines of a file to a topic of the local Kafka: as they are or, where the contract's format
    needs a schema registry, as messages of the newest schema registered.
    """
    from confluent_kafka import KafkaError, Producer

    lines = _lines(file)
    platform = _running("kafka")
    lines = _encoded(platform, topic, lines, file, schema)
    servers = platform.env["KAFKA_BOOTSTRAP_SERVERS"]
    refused: list[KafkaError] = []

    def report(error: KafkaError | None, _: Any) -> None:
        if error is not None:
            refused.append(error)

    producer = Producer({"bootstrap.servers": servers, "enable.idempotence": True, "linger.ms": 5})
    for line in lines * repeat:
        while True:
            try:
                producer.produce(topic, line, on_delivery=report)
                break
            except BufferError:  # full: wait for room
                producer.poll(0.1)
        producer.poll(0)
    left = producer.flush(_SECONDS)
    if refused or left:
        why = f": {refused[0].str()}" if refused else f" within {_SECONDS:.0f} s"
        raise BrokerError(
            f"Kafka did not take {len(refused) + left} of {len(lines) * repeat} messages{why}",
            where=f"{topic} on {servers}",
            remedy="Read its log: madhatter local logs kafka.",
        )
    typer.echo(f"{len(lines) * repeat} messages to {topic}")


def _encoded(
    platform: Platform, topic: str, lines: list[bytes], file: Path, schema_file: Path | None
) -> list[bytes]:
    """What the contract of a topic says that messages look like, made of JSON lines.

    :raises ConfigurationError: a line does not fit the schema, or there is none; nothing is to be sent.
    """
    from madhatter_provider.core.contracts.contract import REGISTRY_FORMATS
    from madhatter_provider.local.project_contracts import readable_contracts

    known = (c for c in readable_contracts(platform.home.project) if c.topic == topic)
    contract = next((c for c in known if c.format in REGISTRY_FORMATS), None)
    if contract is None:
        if schema_file is not None:
            raise ConfigurationError(
                f"No contract says that {topic} has messages of a schema", where="--schema",
                remedy=f"Give its contract a format: {', '.join(REGISTRY_FORMATS)}.",
            )  # fmt: skip
        return lines
    encode = _encoder(_running("schema-registry"), contract, schema_file)
    messages = []
    for number, line in enumerate(lines, 1):
        try:
            messages.append(encode(line))
        except ValueError as err:
            raise ConfigurationError(
                f"Line {number} is no message of the schema: {err}", where=str(file),
                remedy="Mend the line, one JSON object; nothing was sent.",
            ) from err  # fmt: skip
    return messages


def _encoder(platform: Platform, contract: Contract, schema_file: Path | None) -> Encode:
    from madhatter_provider.hooks.schema_registry import SchemaRegistry
    from madhatter_provider.local.encoding import KINDS, open_encoder, schema_text, subject_of
    from madhatter_provider.local.registration import register_schema

    url, subject = platform.env["SCHEMA_REGISTRY_URL"], subject_of(contract)
    if schema_file is not None:
        try:
            text = schema_text(contract, _content(schema_file))
        except ValueError as err:
            raise ConfigurationError(
                f"Not a schema of format {contract.format}: {err}",
                where=str(schema_file),
                remedy="Mend it.",
            ) from err
        register_schema(url, subject, text, KINDS[contract.format])
    registry = SchemaRegistry(url, f"schema-registry ({url})")
    found = registry.latest(subject)
    if found is None:
        raise ConfigurationError(
            f"No schema is registered for subject {subject}", where=f"{contract.topic}, {registry.where}",
            remedy="Give it once: --schema FILE. Or have a producer register it.",
        )  # fmt: skip
    try:
        return open_encoder(contract, found, registry)
    except MadHatterError:
        raise
    except ValueError as err:
        raise ConfigurationError(
            f"Schema {found.id} {err}", where=subject, remedy="Register another one: --schema FILE."
        ) from err


def query(
    statement: Annotated[str, typer.Argument(help="One SQL statement.")],
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Run a statement on the local Snowflake and print its rows."""
    from madhatter_provider.hooks.snowflake_profile import SnowflakeProfile
    from madhatter_provider.hooks.snowflake_rest import SnowflakeRest

    platform = _running("snowflake")
    os.environ["SSL_CERT_FILE"] = platform.env["SSL_CERT_FILE"]  # the platform has a CA of its own
    profile = SnowflakeProfile.from_env(platform.env, database="MADHATTER")
    with SnowflakeRest(profile, timeout=_SECONDS) as client:
        rows = client.execute(statement)
    if as_json:
        typer.echo(json.dumps(rows, default=str))
        return
    _print(rows)


def _print(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(soft_wrap=True)
    if rows:
        table = Table(*rows[0], box=None)
        for row in rows:
            table.add_row(*("" if value is None else escape(str(value)) for value in row.values()))
        console.print(table)
    console.print(f"{len(rows)} row{'' if len(rows) == 1 else 's'}")


def _lines(file: Path) -> list[bytes]:
    if str(file) == "-":
        return typer.get_binary_stream("stdin").read().splitlines()
    return _content(file).splitlines()


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError as err:
        raise ConfigurationError("No such file", where=str(file), remedy="Check the path.") from err


def _running(service: str) -> Platform:
    """The project's platform, where this service must run.

    :raises ConfigurationError: it does not.
    """
    from madhatter_provider.local.platform import Platform

    platform = Platform()
    if not any(status.name == service and status.alive for status in platform.services):
        raise ConfigurationError(
            f"The local {service} does not run",
            where=str(platform.home.root),
            remedy=f"Start it: madhatter local up --only {service}",
        )
    return platform
