"""SQL files, put in order, filled in, split into statements: this package's own, and those of a folder.

- Files run in the order of their paths; a file of the folder replaces the package's file of the same path.
  ``90_cloud_only`` is left to an account administrator.
- ``{{ name }}`` is replaced. A file whose first line is ``-- per contract`` runs once for every contract.
- What a contract says is not said again: the tables of RAW are rendered from the contracts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from madhatter_provider.core.contracts.contract import Column, Contract
from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.core.warehouse import column_comments, ledger

PACKAGED: Final = Path(__file__).parents[2] / "sql"
CLOUD_ONLY: Final = "90_cloud_only"
COORDINATES: Final = {
    "_TOPIC_ID": "VARCHAR(64) NOT NULL",
    "_PARTITION": "NUMBER(10,0) NOT NULL",
    "_OFFSET": "NUMBER(38,0) NOT NULL",
    "_TIMESTAMP": "TIMESTAMP_TZ(6)",
    "_KEY": "VARCHAR",
    "_HEADERS": "VARCHAR",
}
"""Where a row came from; every landed row has them."""

_PER_CONTRACT = "-- per contract"
_PLACEHOLDER = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_TOKEN = re.compile(
    r"'(?:[^'\\]|\\.|'')*'|\"(?:[^\"]|\"\")*\"|\$\$.*?\$\$|--[^\n]*|/\*.*?\*/|;|[^'\"$\-/;]+|.", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class SqlStatement:
    """One statement, ready to run, and the file that it stands in (path below the folder)."""

    file: str
    text: str

    @property
    def title(self) -> str:
        """Its first line, for people."""
        return self.text.split("\n", 1)[0].split("(", 1)[0].strip()[:100]


def quote(name: str) -> str:
    """A column of a contract as an identifier, safe whether or not the name is a reserved word."""
    return f'"{name.upper()}"'


def literal(text: str) -> str:
    """A text literal. Quotes are doubled and backslashes escaped, since Snowflake reads both."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def column_type(column: Column) -> str:
    """Type of a column in RAW. Objects and arrays are landed as JSON text and stay text there."""
    return "VARCHAR" if column.nested else column.physical_type.upper()


def core_column(column: Column) -> str:
    """A column as the views of CORE select it: objects and arrays parsed, whatever type the contract says."""
    name = quote(column.name)
    return f"TRY_PARSE_JSON({name}) AS {name}" if column.nested else name


def create_table(contract: Contract, schema: str = "RAW") -> str:
    """DDL of a contract's landing table.

    Only the coordinates are NOT NULL: a row that breaks its contract must reach the gate, not break the load.
    """
    lines = [f"  {quote(c.name)} {column_type(c)} COMMENT {literal(c.description)}" for c in contract.columns]
    lines += [
        f"  {name} {kind} COMMENT {literal(column_comments.COORDINATES[name])}"
        for name, kind in COORDINATES.items()
    ]
    comment = literal(
        f"Contract {contract.id} {contract.version}, one row per message of topic {contract.topic}"
    )
    body = ",\n".join(lines)
    return f"CREATE TABLE IF NOT EXISTS {schema}.{contract.table} (\n{body}\n) COMMENT = {comment}"


def add_missing_columns(contract: Contract, existing: Iterable[str], schema: str = "RAW") -> list[str]:
    """Statements that add the columns that a newer contract has and the table has not."""
    known = {name.upper() for name in existing}
    return [
        f"ALTER TABLE {schema}.{contract.table} ADD COLUMN {quote(c.name)} {column_type(c)}"
        for c in contract.columns
        if c.name.upper() not in known
    ]


def landing_url(root: str) -> str:
    """The landing root as a stage's URL: with a slash at its end, and, if it is a local path, readable as
    one.

    :raises ConfigurationError: it is no URL.
    """
    if "://" not in root:
        raise ConfigurationError(
            "The landing root is not a URL",
            where=repr(root),
            remedy="Give file:///path, gs://bucket/prefix or s3://bucket/prefix.",
        )
    url = root.rstrip("/") + "/"
    return unquote(url) if url.startswith("file:") else url


def script(
    folder: str | Path | None,
    contracts: Mapping[str, Contract],
    *,
    landing_root: str,
    database: str = "MADHATTER",
    cloud_only: bool = False,
) -> list[SqlStatement]:
    """All statements, in order.

    :param folder: SQL files beside the package's own, if any.
    :param cloud_only: the statements of ``90_cloud_only`` instead of all others.
    :raises ConfigurationError: the folder has no SQL file, or one asks for a value that there is not.
    """
    files = _files(PACKAGED) | ({} if folder is None else _files(Path(folder)))
    values = _values(landing_root, database)
    return [
        statement
        for name, file in sorted(files.items())
        if name.startswith(f"{CLOUD_ONLY}/") is cloud_only
        for statement in _statements(file, name, contracts, values)
    ]


def _files(folder: Path) -> dict[str, Path]:
    found = {f.relative_to(folder).as_posix(): f for f in folder.rglob("*.sql")}
    if not found:
        raise ConfigurationError(
            "No SQL file found", where=str(folder), remedy="Give a folder such as include/sql."
        )
    return found


def _values(landing_root: str, database: str) -> dict[str, str]:
    local = landing_root.startswith("file:")
    return {
        "database": database,
        "landing_url": literal(landing_url(landing_root)),
        "storage_integration": "" if local else "STORAGE_INTEGRATION = MADHATTER_LANDING",
        "ledger": ledger.create_table(),
        "coordinates": ", ".join(COORDINATES),
    }


def _contract_values(contract: Contract) -> dict[str, str]:
    described = {quote(c.name): c.description for c in contract.columns} | column_comments.COORDINATES
    commented = [f"  {name} COMMENT {literal(text)}" for name, text in described.items()]
    return {
        "stream": contract.stream,
        "table": contract.table,
        "create_table": create_table(contract),
        "columns": ", ".join(core_column(c) for c in contract.columns),
        "commented_columns": ",\n".join(commented),
        "freshness_seconds": "NULL"
        if contract.freshness_seconds is None
        else f"{contract.freshness_seconds:g}",
        "primary_key": ", ".join(quote(n) for n in contract.primary_key) or "_TOPIC_ID, _PARTITION, _OFFSET",
    }


def _statements(
    file: Path, name: str, contracts: Mapping[str, Contract], values: Mapping[str, str]
) -> Iterator[SqlStatement]:
    text = file.read_text(encoding="utf-8")
    rounds: list[Mapping[str, str]] = [values]
    if text.startswith(_PER_CONTRACT):
        rounds = [{**values, **_contract_values(contracts[stream])} for stream in sorted(contracts)]
    for one in rounds:
        yield from (SqlStatement(name, s) for s in split_statements(render(text, one, where=name)))


def render(text: str, values: Mapping[str, str], *, where: str = "") -> str:
    """Replace ``{{ name }}``.

    :raises ConfigurationError: a name without a value.
    """

    def value(match: re.Match[str]) -> str:
        try:
            return values[match[1]]
        except KeyError:
            known = ", ".join(sorted(values))
            raise ConfigurationError(
                f"{{{{ {match[1]} }}}} has no value", where=where, remedy=f"Use one of {known}."
            ) from None

    return _PLACEHOLDER.sub(value, text)


def split_statements(text: str) -> list[str]:
    """Statements of a script, without comments between them. Semicolons in literals and comments do not
    split.
    """
    statements, current = [], ""
    for token in _TOKEN.findall(text):
        if token == ";":
            statements.append(current.strip())
            current = ""
        elif not token.startswith(("--", "/*")):
            current += token
    return [s for s in [*statements, current.strip()] if s]
