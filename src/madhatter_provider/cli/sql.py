"""``madhatter sql apply``: make or bring up to date everything that this package needs in Snowflake."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from madhatter_provider.core.errors import ConfigurationError

if TYPE_CHECKING:
    from madhatter_provider.core.contracts.contract import Contract
    from madhatter_provider.core.warehouse.sql import SqlStatement
    from madhatter_provider.hooks.snowflake_profile import SnowflakeProfile
    from madhatter_provider.hooks.snowflake_rest import SnowflakeRest

app = typer.Typer(no_args_is_help=True, help="SQL of MadHatter's Snowflake database.")

_Folder = Annotated[
    Path | None,
    typer.Option(
        "--include",
        help="Folder of SQL files to run beside the package's own.  [default: include/sql, if it is there]",
    ),
]
_Contracts = Annotated[Path, typer.Option(help="Folder of the data contracts.")]
_Root = Annotated[
    str,
    typer.Option(
        envvar="MADHATTER_LANDING_ROOT", help="URL below which landing files are: gs://…, s3://…, file://…"
    ),
]
_Database = Annotated[str, typer.Option(envvar="SNOWFLAKE_DATABASE", help="Database.")]


@app.callback()
def _sql() -> None:
    """SQL of MadHatter's Snowflake database."""


@app.command()
def apply(
    landing_root: _Root,
    include: _Folder = None,
    contracts: _Contracts = Path("include/contracts"),
    database: _Database = "MADHATTER",
    account: Annotated[str | None, typer.Option(envvar="SNOWFLAKE_ACCOUNT")] = None,
    user: Annotated[str | None, typer.Option(envvar="SNOWFLAKE_USER")] = None,
    private_key_file: Annotated[str | None, typer.Option(envvar="SNOWFLAKE_PRIVATE_KEY_FILE")] = None,
    host: Annotated[str | None, typer.Option(envvar="SNOWFLAKE_HOST")] = None,
    port: Annotated[int | None, typer.Option(envvar="SNOWFLAKE_PORT")] = None,
    role: Annotated[str | None, typer.Option(envvar="SNOWFLAKE_ROLE")] = None,
    warehouse: Annotated[str | None, typer.Option(envvar="SNOWFLAKE_WAREHOUSE")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the SQL, run nothing.")] = False,
    cloud: Annotated[bool, typer.Option("--cloud", help="With --dry-run: the administrator's part.")] = False,
) -> None:
    """Run the SQL files in order. Running it again changes nothing; new columns of a contract or of
    the ledger are added."""
    from madhatter_provider.core.contracts.contract import load_contracts
    from madhatter_provider.core.warehouse.sql import script
    from madhatter_provider.hooks.snowflake_profile import SnowflakeProfile

    known = load_contracts(contracts)
    statements = script(
        include or _own_folder(), known, landing_root=landing_root, database=database, cloud_only=cloud
    )
    if dry_run:
        typer.echo(";\n\n".join(s.text for s in statements) + ";")
        return
    if cloud:
        raise ConfigurationError(
            "--cloud needs --dry-run", remedy="Print it for an account administrator to run."
        )
    profile = SnowflakeProfile.from_env(
        account=account, user=user, private_key_file=private_key_file, host=host, port=port,
        database=database, role=role, warehouse=warehouse,
    )  # fmt: skip
    apply_sql(profile, statements, known, landing_root)


def _own_folder() -> Path | None:
    folder = Path("include/sql")
    return folder if folder.is_dir() else None


def apply_sql(
    profile: SnowflakeProfile,
    statements: list[SqlStatement],
    contracts: Mapping[str, Contract],
    landing_root: str,
) -> None:
    """Run statements, add missing columns, and check that the stage points at the landing root."""
    from madhatter_provider.hooks.snowflake_rest import SnowflakeRest

    setup = [s for s in statements if s.file == "00_setup/01_database.sql"]
    with SnowflakeRest(dataclasses.replace(profile, database=None), timeout=120) as client:
        _run(client, setup)
    with SnowflakeRest(profile, timeout=120) as client:
        _run(client, [s for s in statements if s not in setup and s.file < "15"])
        added = _add_columns(client, contracts)
        _run(client, [s for s in statements if s.file >= "15"])
        _check_stage(client, landing_root)
    typer.echo(
        f"{profile.database} at {profile.base_url}: {len(statements)} statements, {added} columns added"
    )


def _run(client: SnowflakeRest, statements: list[SqlStatement]) -> None:
    for statement in statements:
        # Every statement here says IF NOT EXISTS or OR REPLACE, or merges: repeating it is safe.
        client.execute(statement.text, repeatable=True)
        typer.echo(f"{statement.file}: {statement.title}")


def _add_columns(client: SnowflakeRest, contracts: Mapping[str, Contract]) -> int:
    from madhatter_provider.core.warehouse import ledger
    from madhatter_provider.core.warehouse.sql import add_missing_columns

    found = client.execute(
        "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME FROM INFORMATION_SCHEMA.COLUMNS "
        "WHERE TABLE_SCHEMA IN ('RAW', 'OPS')"
    )
    columns: dict[str, list[str]] = {}
    for row in found:
        columns.setdefault(f"{row['TABLE_SCHEMA']}.{row['TABLE_NAME']}", []).append(row["COLUMN_NAME"])
    missing = ledger.add_missing_columns(columns[ledger.TABLE])
    for contract in contracts.values():
        missing += add_missing_columns(contract, columns.get(f"RAW.{contract.table}", ()))
    for statement in missing:
        client.execute(statement)
        typer.echo(statement)
    return len(missing)


def _check_stage(client: SnowflakeRest, landing_root: str) -> None:
    from madhatter_provider.core.warehouse.sql import landing_url

    wanted = landing_url(landing_root)
    found = client.execute("SHOW STAGES LIKE 'LANDING' IN SCHEMA RAW")
    url = str(found[0]["url"]) if found else ""
    if url != wanted:
        raise ConfigurationError(
            f"Stage RAW.LANDING points to {url!r}, not to {wanted!r}",
            where="stage RAW.LANDING",
            remedy="Give the old landing root; or drop the stage and the pipes, and apply again.",
        )
