"""Wait for the readers of a topic, or for its events."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator, conf

from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.core.timestamps import format_timestamp, parse_timestamp
from madhatter_provider.operators.retrying import retry_defaults
from madhatter_provider.triggers.kafka_lag import (
    KafkaLagTrigger,
    KafkaSliceLagTrigger,
    KafkaWatermarkTrigger,
)
from madhatter_provider.triggers.snowpipe import raise_for_event

if TYPE_CHECKING:
    from airflow.sdk import Context

    from madhatter_provider.triggers.kafka_waiting import KafkaWaitingTrigger


class KafkaWaitingSensor(BaseSensorOperator):
    """Base of sensors that wait in the worker, or deferred: the trigger that looks is the same.

    :param kafka_config_id: connection id of Kafka.
    :param deferrable: wait in the triggerer; default: Airflow's ``[operators] default_deferrable``.
    """

    def __init__(
        self,
        *,
        kafka_config_id: str = "kafka_default",
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**retry_defaults(kwargs))
        self.kafka_config_id, self.deferrable = kafka_config_id, deferrable

    @abstractmethod
    def waiting(self) -> KafkaWaitingTrigger:
        """The trigger, made of the rendered arguments."""

    @cached_property
    def _trigger(self) -> KafkaWaitingTrigger:
        return self.waiting()

    def poke(self, context: Context) -> bool:
        """Look once."""
        return self._said(self._trigger.look())

    def execute(self, context: Context) -> None:
        """Wait here, or deferred."""
        if not self.deferrable:
            super().execute(context)
        elif not self.poke(context):
            self.defer(trigger=self.waiting(), method_name="finish", timeout=timedelta(seconds=self.timeout))

    def finish(self, context: Context, event: dict[str, Any]) -> None:
        """The wait is over.

        :raises MadHatterError: something is wrong that waiting does not mend.
        """
        raise_for_event(event)
        self._said(event)

    def _said(self, answer: dict[str, Any] | None) -> bool:
        self.log.info("%s", "Not yet" if answer is None else f"Reached: {answer}")
        return answer is not None


class KafkaConsumerLagSensor(KafkaWaitingSensor):
    """Wait until a group lags behind a topic by no more than ``max_lag`` messages, over all partitions.

    A partition for which the group has committed nothing counts from its log start. The position of a landing
    DAG is mirrored to the group ``madhatter.<dag_id>``.

    :param topic: topic. (templated)
    :param group_id: consumer group. (templated)
    :param max_lag: most messages that may be unread.
    :param kafka_config_id: connection id of Kafka.
    :param deferrable: wait in the triggerer; default: Airflow's ``[operators] default_deferrable``.
    :raises ConfigurationError: ``max_lag`` is negative.
    """

    template_fields: Sequence[str] = ("topic", "group_id")

    def __init__(self, *, topic: str, group_id: str, max_lag: int = 0, **kwargs: Any) -> None:
        _refuse_negative(kwargs, max_lag=max_lag)
        super().__init__(**kwargs)
        self.topic, self.group_id, self.max_lag = topic, group_id, max_lag

    def waiting(self) -> KafkaLagTrigger:
        """What looks."""
        return KafkaLagTrigger(
            self.topic, self.group_id, self.max_lag, self.kafka_config_id, self.poke_interval
        )


class KafkaSliceLagSensor(KafkaWaitingSensor):
    """Wait until a landing DAG has claimed a topic up to a few messages, none of them too old.

    The DAG's position is read from its mirror, the consumer group ``madhatter.<dag_id>``; where that has no
    position, the DAG has claimed nothing.

    :param topic: topic. (templated)
    :param landing_dag_id: the landing DAG. (templated)
    :param max_messages: most messages that may be unclaimed, over all partitions.
    :param max_age: the oldest unclaimed message may be so old, by Kafka's time stamps: a ``timedelta`` or
        seconds. Default: its age does not matter.
    :param kafka_config_id: connection id of Kafka.
    :param deferrable: wait in the triggerer; default: Airflow's ``[operators] default_deferrable``.
    :raises ConfigurationError: a limit is negative.
    """

    template_fields: Sequence[str] = ("topic", "landing_dag_id")

    def __init__(
        self,
        *,
        topic: str,
        landing_dag_id: str,
        max_messages: int = 0,
        max_age: timedelta | float | None = None,
        **kwargs: Any,
    ) -> None:
        seconds = _seconds(max_age)
        _refuse_negative(kwargs, max_messages=max_messages, max_age=seconds)
        super().__init__(**kwargs)
        self.topic, self.landing_dag_id = topic, landing_dag_id
        self.max_messages, self.max_age = max_messages, seconds

    def waiting(self) -> KafkaSliceLagTrigger:
        """What looks."""
        return KafkaSliceLagTrigger(
            self.topic, self.landing_dag_id, self.max_messages, self.max_age, self.kafka_config_id,
            self.poke_interval,
        )  # fmt: skip


class KafkaWatermarkSensor(KafkaWaitingSensor):
    """Wait until all partitions of a topic have brought their events up to a time.

    The watermark is the least of the partitions' newest event times. It must reach ``until + lateness``.

    :param topic: topic. (templated)
    :param until: event time to wait for: ISO 8601 with zone, or an aware ``datetime``; usually
        ``"{{ data_interval_end }}"``. (templated)
    :param lateness: how late events may come: a ``timedelta`` or seconds.
    :param idle_after: a partition that gets no message for this long (a ``timedelta`` or seconds) holds
        nothing back; ``None``: it is waited for.
    :param snowflake_conn_id: take the event times of the ledger, of what is loaded, from this connection;
        default: Kafka's time stamps, of what is in the topic.
    :param stream: name of the stream in the ledger; default: the topic. (templated)
    :param kafka_config_id: connection id of Kafka.
    :param deferrable: wait in the triggerer; default: Airflow's ``[operators] default_deferrable``.
    :raises ConfigurationError: ``until`` is not a time, a duration is negative, or ``idle_after`` is given
        with ``mode="reschedule"``, where nothing remembers since when a partition is idle.
    """

    template_fields: Sequence[str] = ("topic", "until", "stream")

    def __init__(
        self,
        *,
        topic: str,
        until: str | datetime,
        lateness: timedelta | float = 0.0,
        idle_after: timedelta | float | None = timedelta(minutes=5),
        snowflake_conn_id: str | None = None,
        stream: str = "",
        **kwargs: Any,
    ) -> None:
        self.lateness, self.idle_after = _seconds(lateness) or 0.0, _seconds(idle_after)
        _refuse_negative(kwargs, lateness=self.lateness, idle_after=self.idle_after)
        super().__init__(**kwargs)
        self.topic, self.until, self.stream = topic, until, stream
        self.snowflake_conn_id = snowflake_conn_id
        if self.reschedule and not self.deferrable and self.idle_after is not None:
            raise ConfigurationError(
                "idle_after with mode='reschedule'",
                where=f"task {self.task_id}",
                remedy="Use deferrable=True, which needs no worker either.",
            )
        if not (isinstance(until, str) and "{{" in until):
            self._until()

    def _until(self) -> float:
        """Unix seconds that the watermark must reach."""
        try:
            return parse_timestamp(self.until) + self.lateness
        except (TypeError, ValueError) as err:
            raise ConfigurationError(
                f"until={self.until!r} is not a time with zone",
                where=f"task {self.task_id}",
                remedy='Give ISO 8601 with zone; "{{ data_interval_end }}" in a DAG with intervals.',
            ) from err

    def waiting(self) -> KafkaWatermarkTrigger:
        """What looks."""
        until = self._until()
        self.log.info("Waiting for events up to %s", format_timestamp(until))
        return KafkaWatermarkTrigger(
            self.topic, until, self.idle_after, self.stream, self.snowflake_conn_id, self.kafka_config_id,
            self.poke_interval,
        )  # fmt: skip


def _seconds(duration: timedelta | float | None) -> float | None:
    return duration.total_seconds() if isinstance(duration, timedelta) else duration


def _refuse_negative(kwargs: dict[str, Any], **limits: float | None) -> None:
    for name, limit in limits.items():
        if limit is not None and limit < 0:
            raise ConfigurationError(
                f"{name}={limit}", where=f"task {kwargs.get('task_id')}", remedy="Give 0 or more."
            )
