"""SQL over Snowflake's SQL API v2: what the hot path needs, without the weight of the connector.

Importing the connector costs a task more than a second of CPU; this costs a tenth. Use the official
``SnowflakeHook`` for bulk reads and everything else.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from typing import Any

from madhatter_provider.core.errors import ConfigurationError, SnowflakeUnavailable, SqlError
from madhatter_provider.hooks.snowflake_http import Call, Deadline, Pause, SnowflakeHttp, Steps
from madhatter_provider.hooks.snowflake_profile import SnowflakeProfile

Rows = list[dict[str, Any]]

_PATH = "/api/v2/statements"
_REPEATABLE = re.compile(
    r"\s*(?:SELECT|WITH|SHOW|DESC|DESCRIBE|MERGE|DELETE|TRUNCATE|DROP\b.*\bIF\s+EXISTS|"
    r"CREATE\s+OR\s+REPLACE|CREATE\b.*\bIF\s+NOT\s+EXISTS)\b",
    re.IGNORECASE,
)
_LOCKED = "000625"


class SnowflakeRest(SnowflakeHttp):
    """Runs statements, blocking (:meth:`execute`) or not (:meth:`aexecute`).

    One object serves one thread, or one event loop; it keeps its connection open between statements.
    """

    def execute(
        self, statement: str, bindings: Sequence[Any] = (), *, repeatable: bool | None = None
    ) -> Rows:
        """Run one statement and return its rows as dicts with Python values.

        :param bindings: values of the ``?`` placeholders: text, numbers, booleans, dates, times, bytes,
            ``None``.
        :param repeatable: whether running it twice does no harm. Left out, statements that obviously are
            repeatable (SELECT, MERGE, DELETE, CREATE OR REPLACE, … IF NOT EXISTS) are taken for it. Others
            are sent again only when Snowflake cannot have begun with them.
        :raises SqlError: Snowflake refused the statement.
        :raises SnowflakeUnavailable: no answer within the timeout.
        :raises ConfigurationError: key, user, account or address is wrong.
        """
        return self.run(self._statement(statement, bindings, repeatable))

    def transact(self, statements: Sequence[str], *, repeatable: bool = False) -> None:
        """Run statements as one transaction: all of them take effect, or none.

        The SQL API knows no sessions, so the whole transaction is one request; such a request takes no
        bindings.

        :param repeatable: whether running all of them twice does no harm.
        """
        everything = ["BEGIN TRANSACTION", *statements, "COMMIT"]
        text = ";\n".join(s.rstrip().rstrip(";") for s in everything)
        self.run(self._statement(text, (), repeatable, len(everything)))

    async def aexecute(
        self, statement: str, bindings: Sequence[Any] = (), *, repeatable: bool | None = None
    ) -> Rows:
        """:meth:`execute` for an event loop."""
        return await self.arun(self._statement(statement, bindings, repeatable))

    def _statement(
        self, statement: str, bindings: Sequence[Any], repeatable: bool | None, count: int = 1
    ) -> Steps[Rows]:
        deadline = Deadline(self.timeout)
        about = " ".join(statement.split())[:120]
        if repeatable is None:
            repeatable = bool(_REPEATABLE.match(statement))
        body = self._body(statement, bindings)
        if count != 1:
            body["parameters"] = {"MULTI_STATEMENT_COUNT": str(count)}
        while True:
            answer = yield from self.ask(
                Call("POST", _PATH, body=body, repeatable=repeatable, about=about), deadline
            )
            content = yield from self._finished(answer, deadline, about)
            if content.get("code") != _LOCKED:
                break
            if (wait := deadline.next_wait()) is None:
                raise SnowflakeUnavailable(
                    f"The table stayed locked: {content.get('message')}", where=about, remedy="Try again."
                )
            yield Pause(wait)
        if "resultSetMetaData" not in content:
            raise SqlError(
                f"Snowflake refused the statement: {content.get('message')} [{content.get('code')}]",
                where=about,
                remedy="Mend the statement, or grant the role what it lacks.",
            )
        rows = _rows(content, content.get("data") or [])
        for number in range(1, len(content["resultSetMetaData"].get("partitionInfo") or ())):
            call = Call(
                "GET", f"{_PATH}/{content['statementHandle']}", {"partition": str(number)}, about=about
            )
            part = yield from self.ask(call, deadline)
            rows += _rows(content, part.json()["data"])
        return rows

    def _finished(self, answer: Any, deadline: Deadline, about: str) -> Steps[dict[str, Any]]:
        wait = 0.1
        while answer.status_code == 202:
            if deadline.left <= wait:
                raise SnowflakeUnavailable(
                    f"The statement did not finish in {self.timeout:g} s",
                    where=about,
                    remedy="Give it a larger warehouse, or this client a longer timeout.",
                )
            yield Pause(wait)
            wait = min(2.0, wait * 2)
            call = Call("GET", f"{_PATH}/{answer.json()['statementHandle']}", about=about)
            answer = yield from self.ask(call, deadline)
        content: dict[str, Any] = answer.json()
        return content

    def _body(self, statement: str, bindings: Sequence[Any]) -> dict[str, Any]:
        session = {k: getattr(self.profile, k) for k in ("database", "schema", "warehouse", "role")}
        body: dict[str, Any] = {
            "statement": statement,
            "timeout": max(1, int(self.timeout)),
            **{k: v for k, v in session.items() if v},
        }
        if bindings:
            body["bindings"] = {str(i): _binding(v) for i, v in enumerate(bindings, 1)}
        return body


class SnowflakeRestHook:
    """A :class:`SnowflakeRest` from an Airflow connection of the official type ``snowflake`` with a key pair.

    :param snowflake_conn_id: connection id.
    :param timeout: seconds that one statement may take.
    """

    def __init__(self, snowflake_conn_id: str = "snowflake_default", *, timeout: float = 60.0) -> None:
        self.snowflake_conn_id, self.timeout = snowflake_conn_id, timeout

    @cached_property
    def profile(self) -> SnowflakeProfile:
        """The connection.

        :raises ConfigurationError: it is missing or has no key pair.
        """
        return connection_profile(self.snowflake_conn_id)

    @cached_property
    def client(self) -> SnowflakeRest:
        """The client; close it when done, or leave it to the end of the process."""
        return SnowflakeRest(self.profile, self.timeout)

    def execute(
        self, statement: str, bindings: Sequence[Any] = (), *, repeatable: bool | None = None
    ) -> Rows:
        """See :meth:`SnowflakeRest.execute`."""
        return self.client.execute(statement, bindings, repeatable=repeatable)


def connection_profile(conn_id: str) -> SnowflakeProfile:
    """Profile of an Airflow connection.

    :raises ConfigurationError: it is missing, or it is not usable with the REST APIs.
    """
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException, AirflowRuntimeError

    try:
        conn = BaseHook.get_connection(conn_id)
    except (AirflowNotFoundException, AirflowRuntimeError) as err:
        raise ConfigurationError(
            f"There is no connection {conn_id!r}", where=conn_id, remedy="Add a connection of type snowflake."
        ) from err
    return SnowflakeProfile.from_connection(conn)


_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def _binding(value: Any) -> dict[str, str | None]:
    """A value as the SQL API wants it: type name and text."""
    if value is None:
        return {"type": "TEXT", "value": None}
    for kind, encode in _BINDINGS.items():
        if isinstance(value, kind):
            name, text = encode(value)
            return {"type": name, "value": text}
    raise ConfigurationError(
        f"Cannot bind a {type(value).__name__} to a statement",
        remedy="Pass text, numbers, booleans, dates or bytes.",
    )


def _bind_timestamp(value: dt.datetime) -> tuple[str, str]:
    nanos = (value.replace(tzinfo=value.tzinfo or dt.UTC) - _EPOCH) // dt.timedelta(microseconds=1) * 1000
    if value.tzinfo is None:
        return "TIMESTAMP_NTZ", str(nanos)
    offset = value.utcoffset() or dt.timedelta()
    return "TIMESTAMP_TZ", f"{nanos} {offset // dt.timedelta(minutes=1) + 1440}"


_BINDINGS: dict[type, Callable[[Any], tuple[str, str]]] = {
    str: lambda v: ("TEXT", v),
    bool: lambda v: ("BOOLEAN", "true" if v else "false"),
    int: lambda v: ("FIXED", str(v)),
    float: lambda v: ("REAL", repr(v)),
    Decimal: lambda v: ("TEXT", format(v, "f")),
    dt.datetime: _bind_timestamp,
    dt.date: lambda v: ("DATE", str((v - _EPOCH.date()).days * 86_400_000)),
    bytes: lambda v: ("BINARY", v.hex()),
}


def _rows(content: Mapping[str, Any], data: Sequence[Sequence[str | None]]) -> Rows:
    columns = content["resultSetMetaData"]["rowType"]
    decoders = [(c["name"], _decoder(c)) for c in columns]
    return [
        {name: None if v is None else decode(v) for (name, decode), v in zip(decoders, row, strict=True)}
        for row in data
    ]


def _decoder(column: Mapping[str, Any]) -> Callable[[str], Any]:
    kind = str(column["type"]).lower()
    if kind == "fixed":
        return Decimal if column.get("scale") else int
    return _DECODERS.get(kind, str)


def _timestamp(text: str) -> dt.datetime:
    """Seconds since the epoch with nine decimals, then perhaps the zone as minutes + 1440."""
    number, _, zone = text.partition(" ")
    value = _EPOCH + dt.timedelta(microseconds=int(Decimal(number) * 1_000_000))
    return value.astimezone(dt.timezone(dt.timedelta(minutes=int(zone) - 1440))) if zone else value


def _variant(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


_DECODERS: dict[str, Callable[[str], Any]] = {
    "real": float,
    "boolean": lambda v: v.lower() in ("true", "1"),
    "date": lambda v: _EPOCH.date() + dt.timedelta(days=int(v)),
    "time": lambda v: (_EPOCH + dt.timedelta(microseconds=int(Decimal(v) * 1_000_000))).time(),
    "timestamp_ntz": lambda v: _timestamp(v).replace(tzinfo=None),
    "timestamp_ltz": _timestamp,
    "timestamp_tz": _timestamp,
    "variant": _variant,
    "object": _variant,
    "array": _variant,
    "binary": bytes.fromhex,
}
