"""Publish the lists that differ from what the topic has. Repeatable at any point:

1. Read the next queued lists.
2. Send them and wait for all acknowledgements.
3. Record what the topic has now; take from the queue what equals it. Killed before, the same lists are sent
   again with the same ``list_id``. A list that was made anew in between has another digest and stays queued.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

from madhatter_provider.core.warehouse.ledger import Statement
from madhatter_provider.core.warehouse.sql_client import Sql

TOPIC: Final = "recommendations"
WAITING: Final = "SELECT * FROM RECO.WAITING_LISTS"

_UNQUEUE: Final = (
    "DELETE FROM RECO.TO_PUBLISH WHERE EXISTS (SELECT 1 FROM RECO.PUBLISHED AS p "
    "WHERE p.CUSTOMER_ID = RECO.TO_PUBLISH.CUSTOMER_ID AND p.DIGEST = RECO.TO_PUBLISH.DIGEST)"
)


class Publisher(Protocol):
    """Sends messages (key, value) and returns when all are acknowledged."""

    def publish(self, topic: str, messages: Iterable[tuple[str, str]]) -> int:
        """Send them; their number."""


def publish_lists(sql: Sql, publisher: Publisher) -> int:
    """All steps, until nothing is queued; the number of lists sent."""
    sent = 0
    while lists := sql.execute(WAITING):
        sent += publisher.publish(TOPIC, [message(row) for row in lists])
        sql.execute(*record_published(lists))
        sql.execute(_UNQUEUE)
    return sent


def message(row: Mapping[str, Any]) -> tuple[str, str]:
    """Key and value of a row of ``RECO.WAITING_LISTS``, as the contract ``recommendations`` says."""
    value = {
        "list_id": row["DIGEST"],
        "customer_id": row["CUSTOMER_ID"],
        "computed_at": row["COMPUTED_AT"].isoformat(timespec="milliseconds"),
        "products": row["PRODUCTS"],
    }
    return row["CUSTOMER_ID"], json.dumps(value, separators=(",", ":"))


def record_published(lists: Iterable[Mapping[str, Any]]) -> Statement:
    """Statement that records the digests of what was sent."""
    sent = [{"CUSTOMER_ID": row["CUSTOMER_ID"], "DIGEST": row["DIGEST"]} for row in lists]
    return (
        "MERGE INTO RECO.PUBLISHED AS t USING (SELECT r.VALUE:CUSTOMER_ID::VARCHAR(16) AS CUSTOMER_ID, "
        "r.VALUE:DIGEST::VARCHAR(32) AS DIGEST FROM TABLE(FLATTEN(INPUT => PARSE_JSON(?))) AS r) AS s "
        "ON t.CUSTOMER_ID = s.CUSTOMER_ID WHEN MATCHED THEN UPDATE SET "
        "DIGEST = s.DIGEST, PUBLISHED_AT = CURRENT_TIMESTAMP() WHEN NOT MATCHED THEN INSERT "
        "(CUSTOMER_ID, DIGEST, PUBLISHED_AT) VALUES (s.CUSTOMER_ID, s.DIGEST, CURRENT_TIMESTAMP())",
        [json.dumps(sent)],
    )
