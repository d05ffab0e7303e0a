"""What the protocols of this package need of a connection to Snowflake."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class Sql(Protocol):
    """Runs one statement with ``?`` bindings; rows come back as dicts with upper-case names."""

    def execute(self, statement: str, bindings: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Run it."""


class TransactionalSql(Sql, Protocol):
    """Runs several statements as one transaction too."""

    def transact(self, statements: Sequence[str], *, repeatable: bool = False) -> None:
        """Run all of them, or none.

        :param repeatable: whether running all of them twice does no harm.
        """


class AsyncSql(Protocol):
    """The same for an event loop."""

    async def aexecute(self, statement: str, bindings: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Run it."""
