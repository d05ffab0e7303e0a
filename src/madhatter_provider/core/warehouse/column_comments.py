"""What the columns mean that no contract describes: of the ledger, and where a row came from."""

from __future__ import annotations

from typing import Final

COORDINATES: Final = {
    "_TOPIC_ID": "epoch of the topic: another id after it was deleted and made again",
    "_PARTITION": "partition of the message",
    "_OFFSET": "offset of the message",
    "_TIMESTAMP": "Kafka's time of the message",
    "_KEY": "key of the message, as text",
    "_HEADERS": "headers of the message, JSON",
}
LEDGER: Final = {
    "STREAM": "name of the stream",
    "TOPIC_ID": "epoch of the topic: another id after it was deleted and made again",
    "PARTITION_ID": "partition of the topic",
    "START_OFFSET": "first offset of the range",
    "END_OFFSET": "offset after the last one of the range",
    "STATE": "claimed, lost, landed, loaded",
    "TOPIC": "Kafka topic",
    "DAG_ID": "DAG of the run that owns the range",
    "RUN_ID": "that run",
    "ROWS_READ": "messages read from Kafka",
    "ROWS_LANDED": "rows in the landing file",
    "ROWS_LOADED": "rows in RAW",
    "ROWS_QUARANTINED": "messages in quarantine",
    "ROWS_FILTERED": "messages left out on purpose",
    "BYTES": "size of the landing file",
    "MIN_EVENT_TIME": "of the landed rows",
    "MAX_EVENT_TIME": "of the landed rows",
    "FILE_PATH": "landing file; empty: no row was good",
    "MANIFEST_PATH": "manifest of the landing",
    "REPLAY_ID": "replay that loaded the rows last",
    "GATE": "fast gate: pass, warn, fail",
    "DEEP_GATE": "deep gate: pass, warn, fail",
    "CLAIMED_AT": "when a run took the range",
    "LANDED_AT": "when the landing file was there; where the ingest is a task of its own, when that began",
    "LOADED_AT": "when the rows were in RAW",
    "GATED_AT": "when the fast gate judged last",
    "DEEP_GATED_AT": "when the deep gate judged last",
    "ACKNOWLEDGED_AT": "when somebody said that they know of the loss",
    "ACKNOWLEDGED_BY": "who did",
    "ACKNOWLEDGED_REASON": "why nothing more is to be done",
}
