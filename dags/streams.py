"""What all DAG files share: the streams, their assets, and where things are. Imports nothing heavy.

Asset URIs begin with ``x-``: Airflow takes those as they are. For any other scheme it imports the URI
handlers of all providers, which costs half a second of CPU in every task start where Google's provider is
installed.
"""

from __future__ import annotations

import os
from pathlib import Path

from airflow.sdk import Asset, AssetWatcher

from madhatter_provider.triggers.kafka_slice import KafkaSliceTrigger

ROOT = Path(__file__).resolve().parent.parent
CONTRACTS = {
    f.name.removesuffix(".odcs.yaml"): str(f)
    for f in sorted((ROOT / "include/contracts").glob("*.odcs.yaml"))
}
LANDING_ROOT = os.environ.get("MADHATTER_LANDING_ROOT", f"file://{ROOT}/.madhatter/landing")
# Where people on call read what to do; the name of a check is added as anchor.
ON_CALL_GUIDE = os.environ.get("MADHATTER_ON_CALL_GUIDE", "docs/how-to/on-call.md")
# The streaming job on Dataflow.
FRAUD_JOB, JOB_LOCATION = "streaming-fraud", "local"
GOOGLE_PROJECT = os.environ.get("PUBSUB_PROJECT_ID", "madhatter-local")
MAX_WAIT_SECONDS = float(os.environ.get("MADHATTER_MAX_WAIT_SECONDS", "10"))
MIN_MESSAGES = int(os.environ.get("MADHATTER_MIN_MESSAGES", "20000"))


def topic_asset(stream: str) -> Asset:
    """The stream's topic. Its watcher announces unclaimed messages; its state store holds the positions."""
    trigger = KafkaSliceTrigger(stream, min_messages=MIN_MESSAGES, max_wait=MAX_WAIT_SECONDS)
    watcher = AssetWatcher(name=f"{stream}_slices", trigger=trigger)
    return Asset(f"topic_{stream}", uri=f"x-kafka://madhatter/{stream}", watchers=[watcher])


def raw_asset(stream: str) -> Asset:
    """The stream's RAW table: loaded, and passed by the fast gate."""
    return Asset(f"raw_{stream}", uri=f"x-snowflake://madhatter/MADHATTER/RAW/{stream.upper()}")


def verified_asset(stream: str) -> Asset:
    """The stream's RAW table, passed by the deep gate."""
    return Asset(f"verified_{stream}", uri=f"x-madhatter://verified/{stream}")
