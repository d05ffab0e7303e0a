"""Wait for a Snowpipe load without holding a worker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from madhatter_provider.core import errors
from madhatter_provider.core.errors import MadHatterError, SnowflakeUnavailable
from madhatter_provider.core.warehouse.ingest import Ingest, aingest


class SnowpipeIngestTrigger(BaseTrigger):
    """Carries out ingests to their end and says how they ended. Safe to run anywhere, any number of times.

    :param wanted: ingests as JSON values.
    :param snowflake_conn_id: connection id of Snowflake.
    :param poll_seconds: time between two looks at the load.
    :param timeout: seconds until it gives up.
    """

    def __init__(
        self,
        wanted: list[dict[str, Any]],
        snowflake_conn_id: str,
        poll_seconds: float = 2.0,
        timeout: float = 1800.0,
    ) -> None:
        super().__init__()
        self.wanted, self.snowflake_conn_id = wanted, snowflake_conn_id
        self.poll_seconds, self.timeout = poll_seconds, timeout

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments."""
        arguments = {
            "wanted": self.wanted,
            "snowflake_conn_id": self.snowflake_conn_id,
            "poll_seconds": self.poll_seconds,
            "timeout": self.timeout,
        }
        return "madhatter_provider.triggers.snowpipe.SnowpipeIngestTrigger", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event: success, or the error that the task is to raise."""
        try:
            for wanted in self.wanted:
                await self._load(Ingest.from_json(wanted))
        except MadHatterError as err:
            kind, what, where, remedy = type(err).__name__, err.what, err.where, err.remedy
            yield TriggerEvent({"error": kind, "what": what, "where": where, "remedy": remedy})
            return
        yield TriggerEvent({"wanted": self.wanted})

    async def _load(self, wanted: Ingest) -> None:
        from asgiref.sync import sync_to_async

        from madhatter_provider.hooks.snowpipe import SnowpipeHook

        hook = SnowpipeHook(self.snowflake_conn_id)
        # Reading a connection asks the database: in the triggerer that must not happen in the event loop.
        await sync_to_async(lambda: hook.profile)()
        try:
            await aingest(
                hook.pipes, hook.client, wanted, poll_seconds=self.poll_seconds, timeout=self.timeout
            )
        finally:
            await hook.aclose()


def raise_for_event(event: dict[str, Any]) -> None:
    """Raise the error that a trigger reported, with its own class, so that the retry policy sees it.

    :raises MadHatterError: the event reports an error.
    """
    if name := event.get("error"):
        kind = getattr(errors, name, SnowflakeUnavailable)
        raise kind(event["what"], where=event["where"], remedy=event["remedy"])
