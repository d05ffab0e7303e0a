"""Topics and subscriptions of the alerts on the emulator, as a cloud project would have them by Terraform.

* topic ``fraud-alerts``; push subscription ``fraud-alerts-function`` to the function: ordered, retried with
  back-off, for ever. A dead-letter policy, which it has in the cloud, it must not have here: the emulator
  (0.8.20) ends all pushes for good, by a NullPointerException, when it would move a message of an ordered
  subscription to the dead letters;
* topic ``fraud-alerts-dead`` and a pull subscription on it, else what goes there is gone;
* pull subscription ``fraud-alerts-audit``, which sees every alert.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from madhatter_provider.core.errors import ConfigurationError

if TYPE_CHECKING:
    from google.cloud.pubsub_v1 import SubscriberClient

TOPIC = "fraud-alerts"
DEAD_TOPIC = "fraud-alerts-dead"
FUNCTION_SUBSCRIPTION = "fraud-alerts-function"
AUDIT_SUBSCRIPTION = "fraud-alerts-audit"
DEAD_SUBSCRIPTION = "fraud-alerts-dead-audit"

_ACK_SECONDS = 20
_BACK_OFF_SECONDS = (1, 10)


def ensure_pubsub(project: str, push_endpoint: str) -> None:
    """Create what is missing; a push subscription to another address is pointed to ``push_endpoint``.

    :param push_endpoint: the function's address, ``http://host:port``; the topic's path is added, as the
        function's framework takes the event's source from it.
    :raises ConfigurationError: the emulator at ``PUBSUB_EMULATOR_HOST`` refuses.
    """
    from google.api_core.exceptions import GoogleAPIError
    from google.cloud.pubsub_v1 import PublisherClient, SubscriberClient

    publisher, subscriber = PublisherClient(), SubscriberClient()
    try:
        topic = _ensure_topic(publisher, project, TOPIC)
        dead = _ensure_topic(publisher, project, DEAD_TOPIC)
        push = {"push_endpoint": f"{push_endpoint.rstrip('/')}/{topic}"}
        low, high = _BACK_OFF_SECONDS
        function = {
            "push_config": push,
            "enable_message_ordering": True,
            "retry_policy": {"minimum_backoff": {"seconds": low}, "maximum_backoff": {"seconds": high}},
        }
        if not _ensure_subscription(subscriber, project, FUNCTION_SUBSCRIPTION, topic, function):
            name = subscriber.subscription_path(project, FUNCTION_SUBSCRIPTION)
            subscriber.modify_push_config(request={"subscription": name, "push_config": push})
        _ensure_subscription(
            subscriber, project, AUDIT_SUBSCRIPTION, topic, {"enable_message_ordering": True}
        )
        _ensure_subscription(subscriber, project, DEAD_SUBSCRIPTION, dead, {})
    except GoogleAPIError as err:
        raise ConfigurationError(
            f"Pub/Sub refused: {err}",
            where=f"project {project}",
            remedy="Is the emulator up (PUBSUB_EMULATOR_HOST)?",
        ) from err
    finally:
        publisher.stop()
        subscriber.close()


def _ensure_topic(publisher: Any, project: str, name: str) -> str:
    from google.api_core.exceptions import AlreadyExists

    path = str(publisher.topic_path(project, name))
    with contextlib.suppress(AlreadyExists):
        publisher.create_topic(request={"name": path}, timeout=30)
    return path


def _ensure_subscription(
    subscriber: SubscriberClient, project: str, name: str, topic: str, settings: Mapping[str, Any]
) -> bool:
    """Whether it had to be created."""
    from google.api_core.exceptions import AlreadyExists

    path = subscriber.subscription_path(project, name)
    try:
        subscriber.create_subscription(
            request={"name": path, "topic": topic, "ack_deadline_seconds": _ACK_SECONDS, **settings},
            timeout=30,
        )
    except AlreadyExists:
        return False
    return True
