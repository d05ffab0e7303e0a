"""Wait for the readers of a topic, or for its events, without holding a worker."""

from __future__ import annotations

from typing import Any

from madhatter_provider.triggers.kafka_waiting import KafkaWaitingTrigger


class KafkaLagTrigger(KafkaWaitingTrigger):
    """Fires when a group lags behind a topic by no more than ``max_lag`` messages.

    :param poll_interval: seconds between two looks.
    """

    def __init__(
        self, topic: str, group_id: str, max_lag: int, kafka_config_id: str, poll_interval: float
    ) -> None:
        super().__init__(kafka_config_id, poll_interval)
        self.topic, self.group_id, self.max_lag = topic, group_id, max_lag

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments."""
        return (
            "madhatter_provider.triggers.kafka_lag.KafkaLagTrigger",
            {
                "topic": self.topic,
                "group_id": self.group_id,
                "max_lag": self.max_lag,
                "kafka_config_id": self.kafka_config_id,
                "poll_interval": self.poll_interval,
            },
        )

    def look(self) -> dict[str, Any] | None:
        """The lag, if it is small enough."""
        from madhatter_provider.hooks.kafka import KafkaSliceHook

        lag = sum(KafkaSliceHook(self.kafka_config_id).lag(self.group_id, self.topic).values())
        return {"lag": lag} if lag <= self.max_lag else None


class KafkaSliceLagTrigger(KafkaWaitingTrigger):
    """Fires when a landing DAG has claimed all but ``max_messages`` messages of a topic, and none that is
    left is older than ``max_age``.

    :param max_age: seconds; ``None``: any.
    :param poll_interval: seconds between two looks.
    """

    def __init__(
        self,
        topic: str,
        dag_id: str,
        max_messages: int,
        max_age: float | None,
        kafka_config_id: str,
        poll_interval: float,
    ) -> None:
        super().__init__(kafka_config_id, poll_interval)
        self.topic, self.dag_id = topic, dag_id
        self.max_messages, self.max_age = max_messages, max_age

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments."""
        return (
            "madhatter_provider.triggers.kafka_lag.KafkaSliceLagTrigger",
            {
                "topic": self.topic,
                "dag_id": self.dag_id,
                "max_messages": self.max_messages,
                "max_age": self.max_age,
                "kafka_config_id": self.kafka_config_id,
                "poll_interval": self.poll_interval,
            },
        )

    def look(self) -> dict[str, Any] | None:
        """The lag, if it is small enough."""
        from madhatter_provider.hooks.kafka import KafkaSliceHook
        from madhatter_provider.hooks.kafka_progress import slice_lag

        lag = slice_lag(KafkaSliceHook(self.kafka_config_id), self.dag_id, self.topic, self.max_age)
        if lag.overdue or lag.unclaimed > self.max_messages:
            return None
        return {"unclaimed": lag.unclaimed}


class KafkaWatermarkTrigger(KafkaWaitingTrigger):
    """Fires when the event-time watermark of a topic has reached a time.

    It follows the partitions by itself: one that was idle before counts as idle ``idle_after`` seconds after
    the trigger, or the triggerer, was started.

    :param until: Unix seconds.
    :param stream: name in the ledger.
    :param snowflake_conn_id: take event times from the ledger; ``None``: Kafka's time stamps.
    :param poll_interval: seconds between two looks.
    """

    def __init__(
        self,
        topic: str,
        until: float,
        idle_after: float | None,
        stream: str,
        snowflake_conn_id: str | None,
        kafka_config_id: str,
        poll_interval: float,
    ) -> None:
        from madhatter_provider.hooks.kafka_progress import WatermarkReader

        super().__init__(kafka_config_id, poll_interval)
        self.topic, self.until, self.idle_after = topic, until, idle_after
        self.stream, self.snowflake_conn_id = stream, snowflake_conn_id
        self._reader = WatermarkReader(
            topic, kafka_config_id, idle_after=idle_after, stream=stream, snowflake_conn_id=snowflake_conn_id
        )

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments."""
        return (
            "madhatter_provider.triggers.kafka_lag.KafkaWatermarkTrigger",
            {
                "topic": self.topic,
                "until": self.until,
                "idle_after": self.idle_after,
                "stream": self.stream,
                "snowflake_conn_id": self.snowflake_conn_id,
                "kafka_config_id": self.kafka_config_id,
                "poll_interval": self.poll_interval,
            },
        )

    def look(self) -> dict[str, Any] | None:
        """The watermark, if it is far enough."""
        watermark = self._reader.read()
        return {"watermark": watermark} if watermark is not None and watermark >= self.until else None
