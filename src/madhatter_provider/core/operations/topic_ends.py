"""When did a topic reach an offset? ``OPS.TOPIC_ENDS`` keeps every end that was seen, of the last day."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final, NamedTuple

from madhatter_provider.core.warehouse.ledger import Statement

TABLE: Final = "OPS.TOPIC_ENDS"
KEPT_SECONDS: Final = 86_400


class TopicEnd(NamedTuple):
    """Last stable offset of one partition."""

    stream: str
    topic_id: str
    partition_id: int
    end_offset: int


def record_ends(ends: Sequence[TopicEnd]) -> Statement:
    """Record that these were seen now. What was seen before is seen again."""
    rows = [{"S": e.stream, "T": e.topic_id, "P": e.partition_id, "E": e.end_offset} for e in ends]
    same = " AND ".join(f"t.{c} = s.{c}" for c in ("STREAM", "TOPIC_ID", "PARTITION_ID", "END_OFFSET"))
    return (
        f"MERGE INTO {TABLE} AS t USING (SELECT r.VALUE:S::VARCHAR(128) AS STREAM, "
        "r.VALUE:T::VARCHAR(64) AS TOPIC_ID, r.VALUE:P::NUMBER(10,0) AS PARTITION_ID, "
        "r.VALUE:E::NUMBER(38,0) AS END_OFFSET FROM TABLE(FLATTEN(INPUT => PARSE_JSON(?))) AS r) AS s "
        f"ON {same} WHEN MATCHED THEN UPDATE SET LAST_SEEN_AT = CURRENT_TIMESTAMP() "
        "WHEN NOT MATCHED THEN INSERT (STREAM, TOPIC_ID, PARTITION_ID, END_OFFSET, FIRST_SEEN_AT, "
        "LAST_SEEN_AT) VALUES (s.STREAM, s.TOPIC_ID, s.PARTITION_ID, s.END_OFFSET, CURRENT_TIMESTAMP(), "
        "CURRENT_TIMESTAMP())",
        [json.dumps(rows)],
    )


def forget_old_ends() -> Statement:
    """Delete what nobody asks for any more: how long a message has waited is never asked beyond a day."""
    return (
        f"DELETE FROM {TABLE} WHERE LAST_SEEN_AT < DATEADD('second', -{KEPT_SECONDS}, CURRENT_TIMESTAMP())",
        [],
    )
