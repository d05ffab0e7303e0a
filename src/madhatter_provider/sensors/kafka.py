"""Wait until a consumer group has caught up."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator, conf

from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.operators.retrying import retry_defaults
from madhatter_provider.triggers.kafka_lag import KafkaLagTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context


class KafkaConsumerLagSensor(BaseSensorOperator):
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

    def __init__(
        self,
        *,
        topic: str,
        group_id: str,
        max_lag: int = 0,
        kafka_config_id: str = "kafka_default",
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        if max_lag < 0:
            raise ConfigurationError(
                f"max_lag={max_lag}", where=f"task {kwargs.get('task_id')}", remedy="Give 0 or more."
            )
        super().__init__(**retry_defaults(kwargs))
        self.topic, self.group_id, self.max_lag = topic, group_id, max_lag
        self.kafka_config_id, self.deferrable = kafka_config_id, deferrable

    def poke(self, context: Context) -> bool:
        """Look once."""
        from madhatter_provider.hooks.kafka import KafkaSliceHook

        lag = sum(KafkaSliceHook(self.kafka_config_id).lag(self.group_id, self.topic).values())
        self.log.info("Group %s lags %d messages behind %s", self.group_id, lag, self.topic)
        return lag <= self.max_lag

    def execute(self, context: Context) -> None:
        """Wait here, or deferred."""
        if not self.deferrable:
            super().execute(context)
        elif not self.poke(context):
            trigger = KafkaLagTrigger(
                self.topic, self.group_id, self.max_lag, self.kafka_config_id, self.poke_interval
            )
            self.defer(trigger=trigger, method_name="finish", timeout=timedelta(seconds=self.timeout))

    def finish(self, context: Context, event: dict[str, Any]) -> None:
        """The group has caught up."""
        self.log.info("Group %s lags %d messages behind %s", self.group_id, event["lag"], self.topic)
