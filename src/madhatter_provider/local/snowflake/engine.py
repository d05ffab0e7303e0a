"""fakesnow with files under it: databases survive ``kill -9``, MERGE is one statement, writers wait for each
other.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import duckdb
import snowflake.connector.errors as sf
from fakesnow import info_schema
from fakesnow.conn import FakeSnowflakeConnection
from fakesnow.cursor import FakeSnowflakeCursor
from fakesnow.instance import GLOBAL_DATABASE_NAME, FakeSnow
from fakesnow.transforms import show, stage
from sqlglot import Expr, exp, parse_one

from madhatter_provider.local.snowflake import statements
from madhatter_provider.local.snowflake.catalog import Catalog
from madhatter_provider.local.snowflake.loader import PipeLoader

_READS = re.compile(r"\s*(?:SELECT|WITH|SHOW|DESC|DESCRIBE|LIST|LS|EXPLAIN|USE)\b", re.IGNORECASE)
_BEGIN = re.compile(r"\s*(?:BEGIN|START\s+TRANSACTION)\b", re.IGNORECASE)
_END = re.compile(r"\s*(?:COMMIT|ROLLBACK)\b", re.IGNORECASE)
_CONFLICT_TRIES = 5
_KEPT = 256
_MEMORY = "1GB"
"""What DuckDB may take before it writes to disk: a laptop has more to run than this."""


class _Recent(OrderedDict[Any, Any]):
    """The newest entries only. fakesnow keeps every result for ever; a server must not."""

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, value)
        while len(self) > _KEPT:
            self.popitem(last=False)


class LocalSnowflake(FakeSnow):
    """All databases below ``folder``, one DuckDB file each.

    fakesnow keeps stages, file formats and comments in an in-memory database; here that database is a file
    too, and so is the bucket of internal stages.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        bucket = folder / "bucket"
        bucket.mkdir(exist_ok=True)
        stage.LOCAL_BUCKET_PATH = str(bucket)
        self.create_database_on_connect = False
        self.create_schema_on_connect = False
        self.db_path = folder
        self.nop_regexes = None
        self.results_cache = _Recent()
        self.merges: dict[tuple[str, str | None, str | None], _Merge] = _Recent()
        self.write_lock = threading.RLock()
        self._connect_lock = threading.Lock()
        settings: dict[str, str | bool | int | float | list[str]] = {
            "lambda_syntax": "ENABLE_SINGLE_ARROW",
            "memory_limit": _MEMORY,
            "temp_directory": str(folder / "tmp"),
        }
        self.duck_conn = duckdb.connect(":memory:", config=settings)
        self.duck_conn.execute(f"ATTACH '{folder / '_fs_global.duckdb'}' AS {GLOBAL_DATABASE_NAME}")
        self.duck_conn.execute(info_schema.fs_global_creation_sql())
        self.duck_conn.execute(show.fs_global_creation_sql())
        self.duck_conn.execute("SET GLOBAL TimeZone = 'UTC'")
        for file in sorted(folder.glob("*.db")):
            self.duck_conn.execute(f"ATTACH '{file}' AS {file.stem}")
        self.catalog = Catalog(self.duck_conn.cursor())
        self.loader = PipeLoader(self)

    def connect(
        self,
        database: str | None = None,
        schema: str | None = None,
        nop_regexes: list[str] | None = None,
        **kwargs: Any,
    ) -> LocalConnection:
        """A session of its own. Sessions are not shared between threads."""
        with self._connect_lock:
            return LocalConnection(
                self.duck_conn.cursor(),
                self.results_cache,
                database,
                schema,
                create_database=False,
                create_schema=False,
                db_path=self.db_path,
                nop_regexes=nop_regexes,
                engine=self,
                **kwargs,
            )

    def check_exists(self, table: str, stage_name: str) -> None:
        """Fail unless a pipe's table and stage (fully qualified) are there.

        :raises snowflake.connector.errors.ProgrammingError: one of them is not.
        """
        known = {
            "Table": "SELECT database_name || '.' || schema_name || '.' || table_name FROM duckdb_tables()",
            "Stage": "SELECT database_name || '.' || schema_name || '.' || name "
            f"FROM {GLOBAL_DATABASE_NAME}._fs_information_schema._fs_stages",
        }
        for (kind, query), name in zip(known.items(), (table, stage_name), strict=True):
            if (name,) not in self.duck_conn.cursor().execute(query).fetchall():
                message = f"SQL compilation error:\n{kind} '{name}' does not exist or not authorized."
                raise sf.ProgrammingError(msg=message, errno=2003, sqlstate="02000")

    def close(self) -> None:
        """Finish the loads at hand, write everything into the database files and let go of them."""
        self.loader.stop()
        self.duck_conn.close()


class LocalConnection(FakeSnowflakeConnection):
    """A session; its cursors know what fakesnow's do not."""

    def __init__(self, *args: Any, engine: LocalSnowflake, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.engine = engine
        self.explicit_transaction = False

    def cursor(self, cursor_class: type[Any] | None = None) -> LocalCursor:
        """A cursor of this session."""
        named = cursor_class is not None and cursor_class.__name__ == "DictCursor"
        return LocalCursor(conn=self, duck_conn=self._duck_conn, use_dict_result=named)


class LocalCursor(FakeSnowflakeCursor):
    """Adds pipes, users and native MERGE, and turns every failure into a Snowflake error."""

    _conn: LocalConnection

    def execute(self, command: str, params: Any = None, *args: Any, **kwargs: Any) -> LocalCursor:
        """Run one statement.

        :raises snowflake.connector.errors.ProgrammingError: whatever went wrong, with number and SQL state.
        """
        text = statements.without_comments(command)
        try:
            with self._waiting_for_writers(text):
                self._run(text, command, params, *args, **kwargs)
        except sf.Error:
            raise
        except Exception as err:
            raise as_snowflake_error(err) from err
        if _BEGIN.match(text):
            self._conn.explicit_transaction = True
        elif _END.match(text):
            self._conn.explicit_transaction = False
        return self

    def _run(self, text: str, command: str, params: Any, *args: Any, **kwargs: Any) -> None:
        conn = self._conn
        if (answer := statements.answer(conn, text)) is not None:
            self._execute(statements.as_select(answer))
            return
        self._merge_key = (text, conn.database, conn.schema)
        known = conn.engine.merges.get(self._merge_key) if params is None else None
        for attempt in range(_CONFLICT_TRIES):
            try:
                if known:
                    self._run_merge(known, kwargs.get("binding_params"))
                else:
                    super().execute(command, params, *args, **kwargs)
                return
            except duckdb.TransactionException:
                if conn.explicit_transaction or attempt == _CONFLICT_TRIES - 1:
                    raise

    @contextmanager
    def _waiting_for_writers(self, text: str) -> Iterator[None]:
        """One autocommitted write at a time, as Snowflake's table locks would have it.

        DuckDB does not wait: of two writers of one row the second fails. A session in a transaction of its
        own does not take part, or it could hold everybody up for ever.
        """
        alone = not (_READS.match(text) or self._conn.explicit_transaction)
        with self._conn.engine.write_lock if alone else nullcontext():
            yield

    def _transform_explode(self, expression: Expr) -> list[Expr]:
        _drop_lengths_of_binaries(expression)
        if isinstance(expression, exp.Merge):
            return [expression]
        if isinstance(expression, exp.Copy):
            return [_without_false_options(expression)]
        return super()._transform_explode(expression)

    def _execute(self, transformed: Expr, params: Any = None) -> None:
        if not isinstance(transformed, exp.Merge):
            super()._execute(transformed, params)
            return
        merge = _Merge.of(transformed)
        self._conn.engine.merges[self._merge_key] = merge
        self._run_merge(merge, params)

    def _run_merge(self, merge: _Merge, params: Any) -> None:
        conn = self._conn
        if not conn._autocommit and not conn._in_transaction:
            self._duck_conn.begin()
            conn._in_transaction = True
        actions = [r[0] for r in self._duck_conn.execute(merge.sql, params).fetchall()]
        counts = [f'{actions.count(a)} AS "number of rows {_ACTIONS[a][0]}"' for a in merge.actions]
        answer = parse_one(f"SELECT {', '.join(counts)}", read="duckdb")
        answer.args["merge_counts"] = True
        super()._execute(answer)

    def _describe_last_sql(self) -> list[Any]:
        try:
            return super()._describe_last_sql()
        # fakesnow raises it for types that it cannot describe. Untranslated it would end the connection, and
        # a client would take a statement that can never work for a server that is away, and repeat it.
        except NotImplementedError as err:
            raise as_snowflake_error(err) from err


_ACTIONS: dict[str, tuple[str, type[Expr]]] = {
    "INSERT": ("inserted", exp.Insert),
    "UPDATE": ("updated", exp.Update),
    "DELETE": ("deleted", exp.Var),
}


@dataclass(frozen=True, slots=True)
class _Merge:
    """A MERGE in DuckDB's own words: one statement, so a crash leaves all of it or nothing."""

    sql: str
    actions: tuple[str, ...]

    @classmethod
    def of(cls, merge: exp.Merge) -> Self:
        merge = merge.copy()
        whens = merge.args["whens"].expressions
        for when in whens:
            then = when.args.get("then")
            if isinstance(then, exp.Update):
                for assignment in then.expressions:  # DuckDB wants no table name left of the equals sign
                    assignment.set("this", exp.column(assignment.this.this.copy()))
        kinds = {type(w.args.get("then")) for w in whens}
        actions = tuple(name for name, (_, kind) in _ACTIONS.items() if kind in kinds)
        return cls(f"{merge.sql(dialect='duckdb')} RETURNING merge_action", actions)


def _drop_lengths_of_binaries(expression: Expr) -> None:
    """DuckDB's BLOB takes no length."""
    for kind in expression.find_all(exp.DataType):
        if kind.is_type(exp.DataType.Type.BINARY, exp.DataType.Type.VARBINARY):
            kind.set("expressions", [])


def _without_false_options(copy: exp.Copy) -> exp.Copy:
    """fakesnow takes ``FORCE = FALSE`` and ``PURGE = FALSE`` for TRUE."""
    params = copy.args.get("params") or []
    kept = [
        p
        for p in params
        if not (
            p.this.name.upper() in ("FORCE", "PURGE")
            and isinstance(p.expression, exp.Boolean)
            and not p.expression.this
        )
    ]
    copy.set("params", kept)
    return copy


def as_snowflake_error(err: Exception) -> sf.ProgrammingError:
    """Any failure as the error that a Snowflake client understands."""
    first = str(err).split("\n\n", 1)[0]
    numbers: dict[type[Exception], tuple[int, str]] = {
        duckdb.CatalogException: (2003, "42S02"),
        duckdb.BinderException: (904, "42000"),
        duckdb.ParserException: (1003, "42000"),
        duckdb.ConversionException: (100038, "22018"),
        duckdb.InvalidInputException: (100038, "22018"),
        duckdb.ConstraintException: (100072, "22000"),
        duckdb.TransactionException: (625, "57014"),
        duckdb.InterruptException: (604, "57014"),
        duckdb.IOException: (91016, "22000"),
        duckdb.OutOfRangeException: (100039, "22003"),
        # What fakesnow raises where Snowflake says "feature not supported".
        NotImplementedError: (9999, "0A000"),
    }
    number, state = next((v for k, v in numbers.items() if isinstance(err, k)), (9999, "58000"))
    if number == 9999:
        first = f"The local server cannot do this: {type(err).__name__}: {first}"
    return sf.ProgrammingError(msg=first, errno=number, sqlstate=state)
