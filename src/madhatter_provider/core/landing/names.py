"""Names of landing files. They are a function of the offsets alone, so writing a slice again names the same
files.

Offsets are padded to 20 digits: the names sort as the numbers do, for every offset that Kafka can have.
"""

from __future__ import annotations

import re

from madhatter_provider.core.slices.offsets import OffsetRange, Slice

_UNSAFE = re.compile(r"[^A-Za-z0-9]")


def epoch(topic_id: str) -> str:
    """Eight characters for a topic id, safe in paths and URLs."""
    return _UNSAFE.sub("0", topic_id)[:8]


def landing_path(stream: str, topic_id: str, part: OffsetRange, suffix: str = ".parquet") -> str:
    """Path, relative to the landing root, of the good rows of one offset range."""
    return f"{stream}/{epoch(topic_id)}/{part.partition}/{part.start:020d}-{part.end:020d}{suffix}"


def quarantine_path(stream: str, topic_id: str, part: OffsetRange) -> str:
    """Path, relative to the landing root, of the quarantined rows of one offset range."""
    return f"quarantine/{landing_path(stream, topic_id, part)}"


def manifest_path(stream: str, owned: Slice) -> str:
    """Path, relative to the landing root, of a slice's manifest."""
    return f"_manifests/{stream}/{epoch(owned.topic_id)}/{owned.digest}.json"
