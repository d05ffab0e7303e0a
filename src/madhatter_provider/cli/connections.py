"""How commands reach a stream's systems: options, and what stands behind them.

Snowflake: ``SNOWFLAKE_*`` where ``SNOWFLAKE_ACCOUNT`` is set, else Airflow's connection. Kafka: Airflow's
connection, which may be an environment variable ``AIRFLOW_CONN_KAFKA_DEFAULT``.
"""

from __future__ import annotations

import getpass
import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from madhatter_provider.core.errors import ConfigurationError

if TYPE_CHECKING:
    from madhatter_provider.core.contracts.contract import Contract
    from madhatter_provider.hooks.snowflake_profile import SnowflakeProfile
    from madhatter_provider.hooks.snowflake_rest import SnowflakeRest

ContractsOption = Annotated[
    Path, typer.Option(envvar="MADHATTER_CONTRACTS", help="Folder of the data contracts.")
]
SnowflakeOption = Annotated[
    str, typer.Option(help="Airflow's connection to Snowflake, where SNOWFLAKE_ACCOUNT is not set.")
]
KafkaOption = Annotated[str, typer.Option(help="Airflow's connection to Kafka.")]
LandingOption = Annotated[
    str | None,
    typer.Option(
        envvar="MADHATTER_LANDING_ROOT", help="URL below which landing files are: gs://…, s3://…, file://…"
    ),
]
CONTRACTS = Path("include/contracts")


def contract_of(stream: str, folder: Path) -> Contract:
    """The contract of a stream.

    :raises ConfigurationError: there is none; the known streams are named.
    """
    from madhatter_provider.core.contracts.contract import load_contracts

    known = load_contracts(folder)
    if stream not in known:
        raise ConfigurationError(
            f"There is no stream {stream!r}",
            where=f"contracts in {folder}",
            remedy=f"Known are {', '.join(sorted(known))}; --contracts names another folder.",
        )
    return known[stream]


def snowflake_profile(conn_id: str) -> SnowflakeProfile:
    """Who to call, and as whom.

    :raises ConfigurationError: neither the environment nor the connection says it.
    """
    from madhatter_provider.hooks.snowflake_profile import SnowflakeProfile

    if os.environ.get("SNOWFLAKE_ACCOUNT"):
        database = os.environ.get("SNOWFLAKE_DATABASE") or "MADHATTER"
        return SnowflakeProfile.from_env(database=database)
    from madhatter_provider.hooks.snowflake_rest import connection_profile

    return connection_profile(conn_id)


def snowflake(conn_id: str, timeout: float = 300.0) -> SnowflakeRest:
    """A client.

    :param timeout: seconds that one statement may take.
    """
    from madhatter_provider.hooks.snowflake_rest import SnowflakeRest

    return SnowflakeRest(snowflake_profile(conn_id), timeout)


def moment(text: str | None, option: str = "--since") -> datetime | None:
    """A time as people write it.

    :raises ConfigurationError: it is none, or has no zone.
    """
    if text is None:
        return None
    try:
        when = datetime.fromisoformat(text)
    except ValueError as err:
        raise ConfigurationError(
            f"{option} {text!r} is no time", remedy="Write 2026-11-24T09:30:00Z."
        ) from err
    if when.tzinfo is None:
        raise ConfigurationError(f"{option} {text!r} has no time zone", remedy="Add Z, or +01:00.")
    return when


def person() -> str:
    """Who runs this command, for the record."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container whose user has no name
        return str(os.getuid())
