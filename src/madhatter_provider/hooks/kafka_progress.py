"""How far readers and events have come in a topic: what the Kafka sensors ask. All calls block."""

from __future__ import annotations

import time
from dataclasses import dataclass

from madhatter_provider.core.slices.state import mirror_group
from madhatter_provider.core.warehouse.watermark import Progress, Watermark, loaded_progress
from madhatter_provider.hooks.kafka import KafkaSliceHook, known_offset


@dataclass(frozen=True, slots=True)
class SliceLag:
    """What a landing DAG has not claimed of a topic: messages, and those of them that are older than allowed
    (at least; counted from the log start where nothing was ever claimed).
    """

    unclaimed: int
    overdue: int


def slice_lag(hook: KafkaSliceHook, dag_id: str, topic: str, max_age: float | None) -> SliceLag:
    """Compare the mirrored position of a DAG with the topic.

    :param max_age: seconds by Kafka's time stamps that a message may wait.
    :raises TopicError: the topic or the group may not be read.
    :raises BrokerError: no answer in time.
    """
    bounds = hook.bounds(topic)
    partitions = sorted(bounds.ends)
    position = hook.mirror(mirror_group(dag_id), topic, partitions).position(bounds.topic_id)
    at = {p: max(position.get(p, 0), bounds.starts[p]) for p in partitions}
    unclaimed = sum(max(0, bounds.ends[p] - at[p]) for p in partitions)
    if max_age is None or not unclaimed:
        return SliceLag(unclaimed, 0)
    young = hook.offsets_at(topic, partitions, int((time.time() - max_age) * 1000))
    return SliceLag(unclaimed, sum(max(0, min(young[p], bounds.ends[p]) - at[p]) for p in partitions))


class WatermarkReader:
    """Reads the event-time watermark of a topic again and again.

    :param snowflake_conn_id: connection id of Snowflake: event times are those that the ledger has of loaded
        ranges. ``None``: they are Kafka's time stamps.
    :param stream: the stream's name in the ledger.
    :param idle_after: see :class:`~madhatter_provider.core.warehouse.watermark.Watermark`.
    """

    def __init__(
        self,
        topic: str,
        kafka_config_id: str,
        *,
        idle_after: float | None,
        stream: str = "",
        snowflake_conn_id: str | None = None,
    ) -> None:
        self.topic, self.stream, self.snowflake_conn_id = topic, stream or topic, snowflake_conn_id
        self._hook = KafkaSliceHook(kafka_config_id)
        self._watermark = Watermark(idle_after)

    def read(self) -> float | None:
        """The watermark in Unix seconds; ``None`` while it is not known.

        :raises TopicError: the topic may not be read.
        :raises BrokerError: Kafka did not answer.
        :raises SnowflakeUnavailable: Snowflake did not answer.
        """
        progress = self._stamped() if self.snowflake_conn_id is None else self._loaded(self.snowflake_conn_id)
        return self._watermark.observe(progress, time.time())

    def _stamped(self) -> dict[int, Progress]:
        from confluent_kafka import KafkaException, TopicPartition
        from confluent_kafka.admin import OffsetSpec

        ends = self._hook.bounds(self.topic).ends
        wanted = {TopicPartition(self.topic, p): OffsetSpec.max_timestamp() for p in ends}
        newest: dict[int, float] = {}
        try:
            for tp, future in self._hook.admin.list_offsets(
                wanted, request_timeout=self._hook.timeout
            ).items():
                if known_offset(future.result()) >= 0:
                    newest[tp.partition] = future.result().timestamp / 1000
        except KafkaException as err:
            raise self._hook.explain(err, self.topic) from err
        return {p: Progress(end, newest.get(p)) for p, end in ends.items()}

    def _loaded(self, snowflake_conn_id: str) -> dict[int, Progress]:
        from madhatter_provider.hooks.snowflake_rest import SnowflakeRestHook

        bounds = self._hook.bounds(self.topic)
        with SnowflakeRestHook(snowflake_conn_id).client as sql:
            rows = sql.execute(*loaded_progress(self.stream, bounds.topic_id))
        found = {int(row["PARTITION_ID"]): row for row in rows}
        progress = {}
        for p, end in bounds.ends.items():
            row = found.get(p)
            loaded_end = int(row["LOADED_END"]) if row else bounds.starts[p]
            newest = row["NEWEST"].timestamp() if row and row["NEWEST"] is not None else None
            progress[p] = Progress(end, newest, behind=loaded_end < end)
        return progress
