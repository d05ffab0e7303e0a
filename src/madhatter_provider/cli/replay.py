"""``madhatter replay``: read a range of a stream again, and put the rows in place of those there."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from madhatter_provider.cli.connections import (
    CONTRACTS,
    ContractsOption,
    KafkaOption,
    LandingOption,
    SnowflakeOption,
    contract_of,
    person,
    snowflake,
)
from madhatter_provider.core.errors import ConfigurationError

if TYPE_CHECKING:
    from madhatter_provider.core.contracts.contract import Contract
    from madhatter_provider.core.replay.job import Replayed, Replaying

BootstrapOption = Annotated[
    str | None,
    typer.Option(
        envvar="KAFKA_BOOTSTRAP_SERVERS", help="Kafka's address, host:port,…; without, Airflow's connection."
    ),
]
ConfigFileOption = Annotated[
    Path | None,
    typer.Option(
        envvar="KAFKA_CONFIG_FILE",
        help="Kafka client settings, as security.protocol=SASL_SSL: lines of key=value, or JSON.",
    ),
]
RegistryOption = Annotated[
    str | None,
    typer.Option(
        help="Airflow's connection to the schema registry, for formats that need one.  "
        "[default: schema_registry_default]"
    ),
]
TombstonesOption = Annotated[
    str, typer.Option(help="Messages without a value: quarantine, or keep; as the stream is landed.")
]
ReasonOption = Annotated[str, typer.Option(help="Why; it is recorded.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show the plan, do nothing.")]
IdOption = Annotated[
    str | None, typer.Option("--id", help="Take up the replay of this id, where it stopped.")
]
_CONN_ID = "madhatter_command_line"


def replay(
    stream: Annotated[str, typer.Argument(help="Stream.")],
    start: Annotated[
        str | None,
        typer.Option("--from", help="Offset (1000), offsets (0:100,1:50), or time (2026-11-24T09:30:00Z)."),
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", help="The same; what is replayed lies before it.")
    ] = None,
    reason: ReasonOption = "",
    run_id: Annotated[
        str | None, typer.Option(help="Instead of a range: the landing run whose slice is replayed.")
    ] = None,
    topic_id: Annotated[
        str | None, typer.Option(help="Epoch that the offsets belong to.  [default: the present one]")
    ] = None,
    dry_run: DryRunOption = False,
    allow_gone: Annotated[
        bool, typer.Option("--allow-gone", help="Replay the rest when a part is in no source any more.")
    ] = False,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="Replay what a run has claimed but can never load, too.")
    ] = False,
    replay_id: IdOption = None,
    contracts: ContractsOption = CONTRACTS,
    landing_root: LandingOption = None,
    snowflake_conn_id: SnowflakeOption = "snowflake_default",
    kafka_config_id: KafkaOption = "kafka_default",
    bootstrap_servers: BootstrapOption = None,
    config_file: ConfigFileOption = None,
    schema_registry_conn_id: RegistryOption = None,
    tombstones: TombstonesOption = "quarantine",
) -> None:
    """Read a range of a stream again, decode it by the contract as it is now, and put the rows in place of
    those that are there, in one transaction.
    """
    from madhatter_provider.core.replay.request import ReplayRequest
    from madhatter_provider.core.replay.run import plan_replay
    from madhatter_provider.core.replay.run import replay as run

    request = ReplayRequest(
        start=start, end=end, run_id=run_id, topic_id=topic_id, reason=reason or ("-" if dry_run else ""),
        who=person(), allow_gone=allow_gone, take_over=take_over,
    )  # fmt: skip
    kafka = kafka_connection(kafka_config_id, bootstrap_servers, config_file)
    options = Options(landing_root, snowflake_conn_id, kafka, schema_registry_conn_id, tombstones, replay_id)
    with replaying(contract_of(stream, contracts), options) as job:
        if dry_run:
            typer.echo("\n".join(plan_replay(job, request).lines()))
            return
        say_how_to_go_on(job)
        conclude(run(job, request))


@dataclass(frozen=True, slots=True)
class Options:
    """How a command reaches what a replay works with."""

    landing_root: str | None
    snowflake_conn_id: str
    kafka_config_id: str
    schema_registry_conn_id: str | None
    tombstones: str
    replay_id: str | None


@contextmanager
def replaying(contract: Contract, options: Options) -> Iterator[Replaying]:
    """What a replay works with.

    :raises ConfigurationError: something of it is not known.
    """
    if not options.landing_root:
        raise ConfigurationError(
            "Where landing files are is not known",
            remedy="Set MADHATTER_LANDING_ROOT, or give --landing-root.",
        )
    from madhatter_provider.core.replay.job import Replaying
    from madhatter_provider.hooks.kafka import KafkaSliceHook
    from madhatter_provider.hooks.object_store import open_store
    from madhatter_provider.hooks.schema_registry import open_schemas

    with snowflake(options.snowflake_conn_id, timeout=3600.0) as sql:
        yield Replaying(
            contract,
            sql,
            KafkaSliceHook(options.kafka_config_id),
            open_store(options.landing_root),
            options.replay_id or new_id(),
            open_schemas(contract, options.schema_registry_conn_id),
            options.tombstones,
            typer.echo,
        )


def new_id() -> str:
    """An id that tells when it was made."""
    return f"R{datetime.now(UTC):%Y%m%dT%H%M%S}_{secrets.token_hex(4).upper()}"


def say_how_to_go_on(job: Replaying) -> None:
    """Before anything is done."""
    typer.echo(f"Replay {job.id}. Should it stop half-way, give the same command with --id {job.id}.")


def conclude(done: Replayed) -> None:
    """Say what was done; fail if the gate does.

    :raises GateFailed: a critical rule failed.
    """
    typer.echo(str(done))
    done.raise_if_failed()


def kafka_connection(conn_id: str, bootstrap: str | None, config_file: Path | None) -> str:
    """Id of the connection to use: Airflow's, or one made of the options for this process.

    :raises ConfigurationError: the file holds no settings, or names no address.
    """
    if bootstrap is None and config_file is None:
        return conn_id
    settings = dict(_settings(config_file)) if config_file else {}
    if bootstrap:
        settings["bootstrap.servers"] = bootstrap
    if "bootstrap.servers" not in settings:
        raise ConfigurationError(
            "Kafka's address is not known",
            where=str(config_file),
            remedy="Add bootstrap.servers to the file, or set KAFKA_BOOTSTRAP_SERVERS.",
        )
    os.environ[f"AIRFLOW_CONN_{_CONN_ID.upper()}"] = json.dumps({"conn_type": "kafka", "extra": settings})
    return _CONN_ID


def _settings(file: Path) -> Mapping[str, str]:
    text = file.read_text(encoding="utf-8")
    if text.lstrip().startswith("{"):
        try:
            return dict(json.loads(text))
        except ValueError as err:
            raise ConfigurationError(f"Not valid JSON: {err}", where=str(file), remedy="Mend it.") from err
    lines = [line.strip() for line in text.splitlines()]
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    wrong = next((key for key, sign, _ in pairs if not sign), None)
    if wrong is not None:
        raise ConfigurationError(
            f"{wrong!r} is no setting", where=str(file), remedy="Write key=value, one a line."
        )
    return {key.strip(): value.strip() for key, _, value in pairs}
