"""Tells people about changes of state, each once, through Airflow's own HTTP notifier."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.notifier import BaseNotifier

from madhatter_provider.core.operations import outbox

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

    from madhatter_provider.hooks.snowflake_rest import SnowflakeRest


_TIMEOUT_SECONDS = 10


class HealthNotifier(BaseNotifier):
    """Sends what waits in the outbox ``OPS.HEALTH_CHANGES`` as JSON, one request per change, or per many that
    are alike.

    Meant as ``on_success_callback`` of a :class:`~madhatter_provider.operators.health.HealthCheckOperator`:
    it sends what this run has found and what earlier ones could not send. The first failure ends the round,
    the rest waits for the next one; nothing is lost while a receiver is down. ``text`` in the JSON is what
    chat systems with incoming webhooks show.

    :param http_conn_id: connection of type ``http``: address, and token or password if needed.
    :param endpoint: path below that address.
    :param guide: address of the guide for people on call; a check's name is added as anchor.
    :param limit: changes in one round.
    :param digest_from: so many changes of one check to one state in a round are one message.
    """

    template_fields: Sequence[str] = ("http_conn_id", "endpoint", "guide", "snowflake_conn_id")

    def __init__(
        self,
        *,
        http_conn_id: str = "madhatter_notifications",
        endpoint: str | None = None,
        guide: str = "",
        snowflake_conn_id: str = "snowflake_default",
        limit: int = 500,
        digest_from: int = 5,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.http_conn_id, self.endpoint, self.guide = http_conn_id, endpoint, guide
        self.snowflake_conn_id = snowflake_conn_id
        self.limit, self.digest_from = limit, digest_from

    def notify(self, context: Context) -> None:
        """Send what waits; the steps are those of :mod:`madhatter_provider.core.operations.outbox`."""
        from madhatter_provider.hooks.snowflake_rest import SnowflakeRestHook

        sender = f"{context.get('run_id', 'by hand')}/{uuid.uuid4().hex[:8]}"
        with SnowflakeRestHook(self.snowflake_conn_id).client as sql:
            sql.execute(*outbox.take(sender), repeatable=True)
            try:
                waiting = sql.execute(*outbox.taken(sender, self.limit))
                for changes, body in outbox.messages(waiting, self.guide, self.digest_from):
                    if not self._send(sql, changes, body, context):
                        break
            finally:
                sql.execute(*outbox.give_back(sender), repeatable=True)

    def _send(
        self, sql: SnowflakeRest, changes: list[outbox.Change], body: dict[str, Any], context: Context
    ) -> bool:
        """Whether it arrived."""
        from airflow.providers.http.notifications.http import HttpNotifier

        try:
            HttpNotifier(
                http_conn_id=self.http_conn_id,
                endpoint=self.endpoint,
                json=body,
                extra_options={"timeout": _TIMEOUT_SECONDS},
            ).notify(context)
        except Exception as err:  # whatever it is, the changes stay in the outbox and say why
            self.log.warning("Not sent, will be tried again: %s: %s", body["id"], err)
            sql.execute(*outbox.failed(changes, f"{type(err).__name__}: {err}"))
            return False
        sql.execute(*outbox.sent(changes), repeatable=True)
        return True
