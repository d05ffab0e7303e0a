"""Staged rows, and the one transaction that puts them in place.

1. :meth:`Staging.make`: two empty transient tables like RAW's table and like the quarantine.
2. :meth:`Staging.copy`: files are loaded into them; no reader sees that.
3. :meth:`Staging.check`: every message is staged once.
4. :func:`swap`: in one transaction the staged rows take the place of whatever their coordinates had before,
   wherever it was, and the ledger's counts are taken anew from the tables.

All of it may be done again: every try has its own tables, and the transaction run twice leaves the same rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from madhatter_provider.core.contracts.contract import Contract
from madhatter_provider.core.errors import ConfigurationError, ConservationError, LoadError
from madhatter_provider.core.landing.manifest import Manifest
from madhatter_provider.core.replay import record as replay_record
from madhatter_provider.core.slices.offsets import Slice
from madhatter_provider.core.warehouse import ledger
from madhatter_provider.core.warehouse.ledger_changes import rejudge, touching
from madhatter_provider.core.warehouse.sql import literal, quote
from madhatter_provider.core.warehouse.sql_client import Sql

COORDINATES: Final = ("_TOPIC_ID", "_PARTITION", "_OFFSET")
QUARANTINE: Final = "RAW.QUARANTINE"
_FILES_OF_ONE_COPY = 500
_KEY = ", ".join(COORDINATES)


@dataclass(frozen=True, slots=True)
class Staging:
    """The staging tables of one try of a replay. A try that was believed dead works on with its own tables,
    until a later one is done and drops all of them.

    :param attempt: six hexadecimal digits, of this try alone.
    """

    replay_id: str
    attempt: str
    contract: Contract
    sql: Sql

    @property
    def target(self) -> str:
        """The stream's table."""
        return f"RAW.{self.contract.table}"

    @property
    def rows(self) -> str:
        """Table of staged good rows."""
        return f"OPS.REPLAY_{self.replay_id}_{self.attempt}_ROWS"

    @property
    def held(self) -> str:
        """Table of staged quarantine rows."""
        return f"OPS.REPLAY_{self.replay_id}_{self.attempt}_HELD"

    @property
    def keys(self) -> str:
        """A query: the coordinates of all staged messages."""
        return f"SELECT {_KEY} FROM {self.rows} UNION ALL SELECT {_KEY} FROM {self.held}"

    def make(self) -> None:
        """Step 1.

        :raises ConfigurationError: the stream's table lacks a column of the contract.
        """
        found = {c.strip('"') for c in self.columns()}
        missing = [c.name for c in self.contract.columns if c.name.upper() not in found]
        if missing:
            raise ConfigurationError(
                f"{self.target} has no column {', '.join(missing)}",
                where=f"stream {self.contract.stream}, contract {self.contract.version}",
                remedy="Run `madhatter sql apply`: it adds new columns of a contract.",
            )
        self.sql.execute(f"CREATE OR REPLACE TRANSIENT TABLE {self.rows} LIKE {self.target}")
        self.sql.execute(f"CREATE OR REPLACE TRANSIENT TABLE {self.held} LIKE {QUARANTINE}")

    def columns(self, table: str | None = None) -> list[str]:
        """Columns of a table of RAW (the stream's), quoted."""
        found = self.sql.execute(
            "SELECT COLUMN_NAME FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_SCHEMA = 'RAW' "
            "AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION",
            [table or self.contract.table],
        )
        return [quote(r["COLUMN_NAME"]) for r in found]

    def copy(self, table: str, files: Mapping[str, int]) -> None:
        """Step 2: load files into a staging table.

        :param files: path below the landing root → rows that it has.
        :raises LoadError: Snowflake did not take all rows of a file.
        """
        everything = list(files.items())
        for first in range(0, len(everything), _FILES_OF_ONE_COPY):
            some = everything[first : first + _FILES_OF_ONE_COPY]
            names = ", ".join(literal(path) for path, _ in some)
            loaded = self.sql.execute(
                f"COPY INTO {table} FROM @RAW.LANDING FILES = ({names}) "
                "FILE_FORMAT = (FORMAT_NAME = 'RAW.PARQUET') MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE "
                "ON_ERROR = ABORT_STATEMENT"
            )
            counted = {str(r.get("file")): int(r.get("rows_loaded") or 0) for r in loaded}
            for path, rows in some:
                got = next((n for name, n in counted.items() if name.endswith(path)), 0)
                if got != rows:
                    raise LoadError(
                        f"{path} has {rows} rows, Snowflake loaded {got}",
                        where=f"{table}, stage RAW.LANDING",
                        remedy="Does the stage point at this landing root? Was the file changed just now?",
                    )

    def copy_landed(self, manifests: Sequence[Manifest]) -> None:
        """Step 2 for what this replay has landed itself."""
        root = replay_record.root_of(self.replay_id)
        for table, quarantine in ((self.rows, False), (self.held, True)):
            files = (f for m in manifests for f in m.files if f.quarantine is quarantine and f.rows)
            self.copy(table, {f"{root}/{f.path}": f.rows for f in files})

    def keep_only(self, table: str, condition: str) -> None:
        """Remove staged rows that are not wanted: a file may hold more than the part asked for."""
        self.sql.execute(f"DELETE FROM {table} WHERE NOT ({condition})")

    def check(self) -> tuple[int, int]:
        """Step 3.

        :returns: numbers of good and of quarantined rows that are staged.
        :raises ConservationError: a message is staged twice.
        """
        twice = self.sql.execute(
            f"SELECT {_KEY}, COUNT(*) AS N FROM ({self.keys}) AS k "
            f"GROUP BY {_KEY} HAVING COUNT(*) > 1 LIMIT 5"
        )
        if twice:
            some = ", ".join(f"{r['_PARTITION']}:{r['_OFFSET']} {r['N']} times" for r in twice)
            raise ConservationError(
                f"The files hold messages more than once: {some}",
                where=f"stream {self.contract.stream}, {self.rows}",
                remedy="Somebody changed landing files: look at those of these offsets. Nothing is replaced.",
            )
        counts = self.sql.execute(
            f"SELECT (SELECT COUNT(*) FROM {self.rows}) AS GOOD, (SELECT COUNT(*) FROM {self.held}) AS HELD"
        )
        return int(counts[0]["GOOD"]), int(counts[0]["HELD"])

    def drop(self) -> None:
        """Remove the tables of all tries."""
        found = self.sql.execute(
            "SELECT TABLE_NAME FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = 'OPS' "
            "AND STARTSWITH(TABLE_NAME, ?)",
            [f"REPLAY_{self.replay_id}_"],
        )
        mine = re.compile(rf"REPLAY_{self.replay_id}_[0-9A-F]{{6}}_(ROWS|HELD)")
        for name in (str(r["TABLE_NAME"]) for r in found):
            if mine.fullmatch(name):
                self.sql.execute(f"DROP TABLE IF EXISTS OPS.{name}")


def swap(staging: Staging, scope: str | None, touched: Sequence[Slice]) -> list[str]:
    """Step 4: statements of the transaction.

    Its first statement locks this replay's record, which makes swaps wait for each other.

    :param scope: a condition on rows: the range that is replaced. Rows in it whose message no source holds
        any more stay, once. ``None``: only the staged messages are replaced.
    :param touched: the ranges whose ledger rows are counted anew, by epoch of the topic.
    """
    columns = ", ".join(staging.columns())
    held_columns = ", ".join(staging.columns("QUARANTINE"))
    stream = literal(staging.contract.stream)
    where = scope or f"({_KEY}) IN ({staging.keys})"
    in_target = f"FROM {staging.target} WHERE {where}"
    in_held = f"FROM {QUARANTINE} WHERE STREAM = {stream} AND {where}"
    statements = [
        f"UPDATE {replay_record.TABLE} SET STATE = 'swapped', SWAPPED_AT = CURRENT_TIMESTAMP(), "
        f"ROWS_BEFORE = (SELECT COUNT(*) {in_target}), QUARANTINED_BEFORE = (SELECT COUNT(*) {in_held}) "
        f"WHERE ID = {literal(staging.replay_id)} AND STATE = 'begun'"
    ]
    if scope:
        held_scope = f"STREAM = {stream} AND {scope}"
        statements += [
            _keep(staging, staging.target, staging.rows, columns, scope),
            _keep(staging, QUARANTINE, staging.held, held_columns, held_scope),
        ]
    statements += [
        f"DELETE {in_target}",
        f"DELETE {in_held}",
        f"INSERT INTO {staging.target} ({columns}) SELECT {columns} FROM {staging.rows}",
        f"INSERT INTO {QUARANTINE} ({held_columns}) SELECT {held_columns} FROM {staging.held}",
        *_in_ledger(staging, touched),
        f"UPDATE {replay_record.TABLE} SET ROWS_AFTER = (SELECT COUNT(*) FROM {staging.rows}), "
        f"QUARANTINED_AFTER = (SELECT COUNT(*) FROM {staging.held}) WHERE ID = {literal(staging.replay_id)}",
    ]
    return statements


def _keep(staging: Staging, source: str, table: str, columns: str, scope: str) -> str:
    """Stage the rows whose message is not staged, each once."""
    same = " AND ".join(f"k.{c} = r.{c}" for c in COORDINATES)
    return (
        f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {source} AS r WHERE {scope} "
        f"AND NOT EXISTS (SELECT 1 FROM ({staging.keys}) AS k WHERE {same}) "
        f"QUALIFY ROW_NUMBER() OVER (PARTITION BY {_KEY} ORDER BY _TIMESTAMP) = 1"
    )


def _in_ledger(staging: Staging, touched: Sequence[Slice]) -> Iterator[str]:
    for owned in touched:
        yield rejudge(staging.contract, owned)
        yield (
            f"UPDATE {ledger.TABLE} SET REPLAY_ID = {literal(staging.replay_id)} "
            f"WHERE STREAM = {literal(staging.contract.stream)} AND TOPIC_ID = {literal(owned.topic_id)} "
            f"AND STATE <> 'lost' AND ({touching(owned)})"
        )
