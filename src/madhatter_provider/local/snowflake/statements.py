"""Statements that fakesnow does not know: pipes, public keys, and everything about roles and warehouses.

:func:`answer` recognises them by their text. Roles, warehouses, grants and integrations mean nothing on one
laptop: they are accepted and do nothing, so that the same SQL files run here and in the cloud.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import snowflake.connector.errors as sf
from sqlglot import exp

from madhatter_provider.local.snowflake.auth import pem_of
from madhatter_provider.local.snowflake.catalog import Pipe, qualified

if TYPE_CHECKING:
    from madhatter_provider.local.snowflake.engine import LocalConnection

Answer = list[dict[str, Any]]
"""Rows with equal keys. An empty list is a result without columns that anybody reads."""

_COMMENTS = re.compile(r"^(?:\s+|--[^\n]*(?:\n|$)|//[^\n]*(?:\n|$)|/\*.*?\*/)+", re.DOTALL)
_NO_OPERATION = re.compile(
    r"(?:GRANT|REVOKE)\b|USE\s+(?:SECONDARY\s+)?ROLES?\b|USE\s+WAREHOUSE\b|ALTER\s+(?:SESSION|ACCOUNT|WAREHOUSE)\b|"
    r"(?:CREATE|ALTER|DROP)\s+(?:OR\s+REPLACE\s+)?(?:WAREHOUSE|ROLE|RESOURCE\s+MONITOR|NETWORK\s+POLICY|"
    r"(?:STORAGE|NOTIFICATION|API|SECURITY)\s+INTEGRATION)\b",
    re.IGNORECASE,
)
_DONE: Answer = [{"status": "Statement executed successfully."}]


def without_comments(command: str) -> str:
    """The statement without comments and blanks before it and the semicolon behind it."""
    return _COMMENTS.sub("", command).strip().rstrip(";").rstrip()


def answer(conn: LocalConnection, text: str) -> Answer | None:
    """Carry out a statement that fakesnow does not know; ``None`` when it is not one of those."""
    for pattern, carry_out in _STATEMENTS:
        if match := pattern.match(text):
            return carry_out(conn, match)
    return _DONE if _NO_OPERATION.match(text) else None


def as_select(rows: Answer) -> exp.Expression:
    """A query that returns the rows."""
    if not rows:
        return exp.select(exp.alias_(exp.Literal.string(""), "status", quoted=True)).where(exp.false())
    queries = [
        exp.select(*(exp.alias_(exp.convert(value), name, quoted=True) for name, value in row.items()))
        for row in rows
    ]
    return queries[0] if len(queries) == 1 else exp.union(*queries, distinct=False)


def _name(conn: LocalConnection, name: str) -> str:
    return qualified(name, conn.database, conn.schema)


def _create_pipe(conn: LocalConnection, match: re.Match[str]) -> Answer:
    name, catalog = _name(conn, match["name"]), conn.engine.catalog
    short = name.rsplit(".", 1)[-1]
    if name in catalog.pipes() and not match["replace"]:
        if match["unless"]:
            return [{"status": f"{short} already exists, statement succeeded."}]
        message = f"SQL compilation error:\nObject '{name}' already exists."
        raise sf.ProgrammingError(msg=message, errno=2002, sqlstate="42710")
    comment = re.search(r"\bCOMMENT\s*=\s*'((?:[^']|'')*)'", match["options"], re.IGNORECASE)
    pipe = Pipe.parse(
        name, match["copy"], datetime.now(UTC), comment=comment[1].replace("''", "'") if comment else ""
    )
    conn.engine.check_exists(pipe.table, pipe.stage)
    conn.engine.loader.prepare(pipe)
    conn.engine.loader.forget(pipe)
    catalog.save_pipe(pipe)
    return [{"status": f"Pipe {short} successfully created."}]


def _alter_pipe(conn: LocalConnection, match: re.Match[str]) -> Answer:
    pipe = conn.engine.catalog.pipe(_name(conn, match["name"]))
    conn.engine.catalog.save_pipe(dataclasses.replace(pipe, paused=match["paused"].upper() == "TRUE"))
    conn.engine.loader.wake()
    return _DONE


def _drop_pipe(conn: LocalConnection, match: re.Match[str]) -> Answer:
    name = _name(conn, match["name"])
    if name not in conn.engine.catalog.pipes() and match["exists"]:
        return [{"status": "Drop statement executed successfully."}]
    conn.engine.loader.forget(conn.engine.catalog.pipe(name))
    conn.engine.catalog.drop_pipe(name)
    return [{"status": f"{name.rsplit('.', 1)[-1]} successfully dropped."}]


def _describe(pipe: Pipe) -> dict[str, Any]:
    database, schema, short = pipe.name.split(".")
    return {
        "created_on": pipe.created_on.isoformat(),
        "name": short,
        "database_name": database,
        "schema_name": schema,
        "definition": pipe.definition,
        "owner": "SYSADMIN",
        "notification_channel": "",
        "comment": pipe.comment,
        "integration": "",
        "pattern": "",
        "error_integration": "",
        "owner_role_type": "ROLE",
        "invalid_reason": "",
    }


def _show_pipes(conn: LocalConnection, match: re.Match[str]) -> Answer:
    pipes = sorted(conn.engine.catalog.pipes().values(), key=lambda p: p.name)
    if match["like"]:
        like = re.compile(re.escape(match["like"]).replace("%", ".*").replace("_", "."), re.IGNORECASE)
        pipes = [p for p in pipes if like.fullmatch(p.name.rsplit(".", 1)[-1])]
    if match["scope"] and match["scope"].upper() == "SCHEMA":
        wanted = _name(conn, f"{match['where']}.X").rsplit(".", 1)[0]
        pipes = [p for p in pipes if p.name.startswith(f"{wanted}.")]
    return [_describe(p) for p in pipes]


def _desc_pipe(conn: LocalConnection, match: re.Match[str]) -> Answer:
    return [_describe(conn.engine.catalog.pipe(_name(conn, match["name"])))]


def _pipe_status(conn: LocalConnection, match: re.Match[str]) -> Answer:
    pipe = conn.engine.catalog.pipe(_name(conn, match["name"]))
    title = match["alias"] or f"SYSTEM$PIPE_STATUS('{match['name']}')"
    return [{title: json.dumps(conn.engine.loader.status(pipe))}]


def _set_key(conn: LocalConnection, match: re.Match[str]) -> Answer:
    catalog, user = conn.engine.catalog, match["user"].strip('"')
    others = catalog.keys_of(user)[1:] if match["second"] is None else catalog.keys_of(user)[:1]
    key = pem_of(match["key"])
    catalog.set_keys(user, [key, *others] if match["second"] is None else [*others, key])
    return _DONE


_IDENTIFIER = r"(?P<name>[\w.$\"]+)"
_PATTERNS: dict[str, Callable[[LocalConnection, re.Match[str]], Answer]] = {
    rf"CREATE\s+(?P<replace>OR\s+REPLACE\s+)?PIPE\s+(?P<unless>IF\s+NOT\s+EXISTS\s+)?{_IDENTIFIER}\s+"
    r"(?P<options>.*?)\bAS\s+(?P<copy>COPY\s+INTO\s.*)": _create_pipe,
    rf"ALTER\s+PIPE\s+(?:IF\s+EXISTS\s+)?{_IDENTIFIER}\s+"
    r"SET\s+PIPE_EXECUTION_PAUSED\s*=\s*(?P<paused>TRUE|FALSE)": _alter_pipe,
    rf"DROP\s+PIPE\s+(?P<exists>IF\s+EXISTS\s+)?{_IDENTIFIER}$": _drop_pipe,
    r"SHOW\s+PIPES(?:\s+LIKE\s+'(?P<like>[^']*)')?"
    r"(?:\s+IN\s+(?P<scope>ACCOUNT|DATABASE|SCHEMA)\s*(?P<where>[\w.\"]*))?$": _show_pipes,
    rf"DESC(?:RIBE)?\s+PIPE\s+{_IDENTIFIER}$": _desc_pipe,
    r"SELECT\s+SYSTEM\$PIPE_STATUS\(\s*'(?P<name>[^']+)'\s*\)(?:\s+(?:AS\s+)?(?P<alias>\w+))?$": _pipe_status,
    r"ALTER\s+USER\s+(?:IF\s+EXISTS\s+)?(?P<user>[\w\"]+)\s+"
    r"SET\s+RSA_PUBLIC_KEY(?P<second>_2)?\s*=\s*'(?P<key>[^']+)'": _set_key,
}
_STATEMENTS = [(re.compile(p, re.IGNORECASE | re.DOTALL), f) for p, f in _PATTERNS.items()]
