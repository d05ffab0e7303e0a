"""What fakesnow does not keep: pipes, and the public keys of users. Stored beside stages and file formats."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

import duckdb
import snowflake.connector.errors as sf
import sqlglot
from fakesnow.instance import GLOBAL_DATABASE_NAME
from fakesnow.transforms import upper_case_unquoted_identifiers
from sqlglot import exp

_SCHEMA = f"{GLOBAL_DATABASE_NAME}._mh"
_TABLES = f"""
CREATE SCHEMA IF NOT EXISTS {_SCHEMA};
CREATE TABLE IF NOT EXISTS {_SCHEMA}.pipes (name VARCHAR, definition VARCHAR, created_on TIMESTAMPTZ, options
JSON); CREATE TABLE IF NOT EXISTS {_SCHEMA}.user_keys (user_name VARCHAR, public_key VARCHAR);
"""


def qualified(name: str, database: str | None, schema: str | None) -> str:
    """``DATABASE.SCHEMA.NAME`` of a possibly shorter, possibly quoted name.

    :raises snowflake.connector.errors.ProgrammingError: not a name, or the session lacks a database or
    schema.
    """
    try:
        table = exp.to_table(name, dialect="snowflake")
    except sqlglot.errors.SqlglotError as err:
        raise _error(f"SQL compilation error:\nsyntax error: {name!r} is not a name", 1003, "42000") from err
    parts = [p if isinstance(p, exp.Identifier) else exp.to_identifier(str(p)) for p in table.parts]
    names = [p.name if p.quoted else p.name.upper() for p in parts]
    names = [n for n in (database, schema) if n][: 3 - len(names)] + names
    if len(names) != 3:
        raise _error(
            "Cannot resolve the name. This session does not have a current database and schema.",
            90105,
            "22000",
        )
    return ".".join(names)


def _error(message: str, number: int, state: str) -> sf.ProgrammingError:
    return sf.ProgrammingError(msg=message, errno=number, sqlstate=state)


@dataclass(frozen=True, slots=True)
class Pipe:
    """A pipe and its COPY statement, already understood. ``name``, ``table`` and ``stage`` are fully
    qualified.
    """

    name: str
    definition: str
    created_on: datetime
    copy: exp.Copy = field(compare=False, repr=False)
    table: str
    stage: str
    paused: bool = False
    comment: str = ""

    @classmethod
    def parse(cls, name: str, definition: str, created_on: datetime, **options: Any) -> Self:
        """Understand a pipe's COPY statement.

        :raises snowflake.connector.errors.ProgrammingError: it is not a COPY INTO a table from a stage, or
        asks for
            an ON_ERROR other than SKIP_FILE, the only one that the local server can do.
        """
        database, schema, _ = name.split(".")
        copy = sqlglot.parse_one(definition, read="snowflake").transform(upper_case_unquoted_identifiers)
        if not isinstance(copy, exp.Copy):
            raise _error("SQL compilation error:\nA pipe needs a COPY INTO statement.", 1003, "42000")
        source = copy.args["files"][0].this
        if not isinstance(source, exp.Var) or not source.name.startswith("@"):
            raise _error("The local server loads pipes only FROM @stage, without a SELECT.", 9999, "0A000")
        target = copy.this.this if isinstance(copy.this, exp.Schema) else copy.this
        kept = [p for p in copy.args.get("params") or [] if not _is_skip_file(p)]
        kept.append(exp.CopyParameter(this=exp.var("FORCE"), expression=exp.true()))
        copy.set("params", kept)
        stage, _, _ = source.name[1:].partition("/")
        return cls(
            name=name,
            definition=definition,
            created_on=created_on,
            copy=copy,
            table=qualified(target.sql(dialect="snowflake"), database, schema),
            stage=qualified(stage, database, schema),
            **options,
        )

    def copy_of(self, path: str) -> exp.Copy:
        """The COPY statement for one file, path relative to the stage location."""
        copy = self.copy.copy()
        files = exp.CopyParameter(this=exp.var("FILES"), expressions=[exp.Literal.string(path)])
        copy.set("params", [*copy.args["params"], files])
        return copy

    @property
    def database(self) -> str:
        """The database of the pipe."""
        return self.name.split(".")[0]

    @property
    def schema(self) -> str:
        """The schema of the pipe."""
        return self.name.split(".")[1]


def _is_skip_file(param: exp.CopyParameter) -> bool:
    if param.this.name.upper() != "ON_ERROR":
        return False
    if param.expression.name.upper() != "SKIP_FILE":
        raise _error(
            f"The local server loads pipes with ON_ERROR = SKIP_FILE only, not {param.expression.name}.",
            9999,
            "0A000",
        )
    return True


class Catalog:
    """Pipes and keys, in memory and in the file. Safe to use from several threads."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._duck, self._lock = connection, threading.RLock()
        self._duck.execute(_TABLES)
        rows = self._duck.execute(
            f"SELECT name, definition, created_on, options FROM {_SCHEMA}.pipes"
        ).fetchall()
        self._pipes = {n: Pipe.parse(n, d, c.astimezone(UTC), **json.loads(o)) for n, d, c, o in rows}
        self._keys: dict[str, list[str]] = {}
        for user, key in self._duck.execute(
            f"SELECT user_name, public_key FROM {_SCHEMA}.user_keys"
        ).fetchall():
            self._keys.setdefault(user, []).append(key)

    def pipes(self) -> Mapping[str, Pipe]:
        """All pipes by fully qualified name."""
        with self._lock:
            return dict(self._pipes)

    def pipe(self, name: str) -> Pipe:
        """One pipe.

        :raises snowflake.connector.errors.ProgrammingError: there is none of this name.
        """
        with self._lock:
            if (found := self._pipes.get(name)) is None:
                raise _error(
                    f"SQL compilation error:\nPipe '{name}' does not exist or not authorized.", 2003, "02000"
                )
            return found

    def save_pipe(self, pipe: Pipe) -> None:
        """Create or replace a pipe."""
        options = json.dumps({"paused": pipe.paused, "comment": pipe.comment})
        with self._lock:
            self._duck.begin()
            self._duck.execute(f"DELETE FROM {_SCHEMA}.pipes WHERE name = ?", [pipe.name])
            self._duck.execute(
                f"INSERT INTO {_SCHEMA}.pipes VALUES (?, ?, ?, ?)",
                [pipe.name, pipe.definition, pipe.created_on, options],
            )
            self._duck.commit()
            self._pipes[pipe.name] = pipe

    def drop_pipe(self, name: str) -> None:
        """Forget a pipe."""
        with self._lock:
            self._duck.execute(f"DELETE FROM {_SCHEMA}.pipes WHERE name = ?", [name])
            self._pipes.pop(name, None)

    def keys_of(self, user: str) -> list[str]:
        """PEM public keys of a user."""
        with self._lock:
            return list(self._keys.get(user.upper(), ()))

    def set_keys(self, user: str, keys: list[str]) -> None:
        """Register the public keys (PEM) of a user in place of those known so far; none of them removes the
        user.
        """
        user = user.upper()
        with self._lock:
            self._duck.begin()
            self._duck.execute(f"DELETE FROM {_SCHEMA}.user_keys WHERE user_name = ?", [user])
            for key in keys:
                self._duck.execute(f"INSERT INTO {_SCHEMA}.user_keys VALUES (?, ?)", [user, key])
            self._duck.commit()
            self._keys[user] = list(keys)
