"""The id of a topic, and what stands in for it."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

from confluent_kafka import Uuid

from madhatter_provider.core.slices.topic_epoch import describe_topic


class _Admin:
    """Describes every topic with one id and partitions out of order."""

    def __init__(self, topic_id: Uuid) -> None:
        self._topic_id = topic_id

    def describe_topics(self, topics: Any, request_timeout: float) -> dict[str, Future[Any]]:
        answers: dict[str, Future[Any]] = {}
        for name in topics.topic_names:
            answers[name] = Future()
            partitions = [SimpleNamespace(id=p) for p in (2, 0, 1)]
            answers[name].set_result(SimpleNamespace(topic_id=self._topic_id, partitions=partitions))
        return answers


def test_the_brokers_id_and_partitions_in_order() -> None:
    admin: Any = _Admin(Uuid(7, 8))
    found = describe_topic(admin, "clicks", 1)
    assert found.id == str(Uuid(7, 8))
    assert found.partitions == (0, 1, 2)


def test_topics_without_ids_are_told_apart() -> None:
    admin: Any = _Admin(Uuid(0, 0))
    assert describe_topic(admin, "clicks", 1).id == "unversioned.clicks"
    assert describe_topic(admin, "searches", 1).id == "unversioned.searches"
