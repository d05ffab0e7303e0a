"""Claims and claim records as JSON values, with a version. What an earlier version wrote is read.

Offsets are kept as text, ``partition:start+length`` and ``partition:position``, separated by blanks; a
partition that is the next one after the last is not named. So a record of a thousand partitions stays below
the 64 KB above which Airflow complains.

======= ==========================================================================================
version what it brought
======= ==========================================================================================
1       position and claims, as objects and lists
2       text for offsets; when and in how many parts a slice was claimed; claims that are no longer
        kept; logs that were cut
======= ==========================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from madhatter_provider.core.errors import StateLostError
from madhatter_provider.core.slices.claims import Claim, ClaimRecord
from madhatter_provider.core.slices.offsets import OffsetRange, Slice

VERSION: Final = 2

_Json = dict[str, Any]


def write_record(record: ClaimRecord) -> _Json:
    """A JSON value of a record."""
    value: _Json = {
        "version": VERSION,
        "topic": record.topic,
        "topic_id": record.topic_id,
        "position": _write_offsets(record.position),
        "claims": [_write(c, (record.topic, record.topic_id)) for c in record.claims],
    }
    if record.forgotten:
        value["forgotten"] = record.forgotten
    if record.cuts:
        value["cuts"] = _write_offsets(record.cuts)
    return value


def read_record(value: Any) -> ClaimRecord:
    """Read what this or an earlier version of :func:`write_record` wrote.

    :raises StateLostError: the value is not a record, or was written by a later version.
    """
    value = _up_to_date(value, _RECORD_MIGRATIONS)
    try:
        epoch = str(value["topic"]), str(value["topic_id"])
        return ClaimRecord(
            *epoch,
            _read_offsets(value["position"]),
            tuple(_read(c, epoch) for c in value["claims"]),
            int(value.get("forgotten", 0)),
            _read_offsets(value.get("cuts", "")),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as err:
        raise _unreadable(value) from err


def write_claim(claim: Claim) -> _Json:
    """A JSON value of one claim."""
    return {"version": VERSION, **_write(claim, None)}


def read_claim(value: Any) -> Claim:
    """Read what :func:`write_claim` wrote.

    :raises StateLostError: the value is not a claim, or was written by a later version.
    """
    value = _up_to_date(value, {})
    try:
        return _read(value, None)
    except (KeyError, TypeError, ValueError, AttributeError) as err:
        raise _unreadable(value) from err


def _up_to_date(value: Any, migrations: Mapping[int, Callable[[_Json], _Json]]) -> _Json:
    if not isinstance(value, Mapping):
        raise _unreadable(value)
    found: _Json = dict(value)
    try:
        while found.get("version") != VERSION:
            found = migrations[found["version"]](found)
    except (KeyError, TypeError, ValueError, AttributeError) as err:
        raise _unreadable(value) from err
    return found


def _unreadable(value: Any) -> StateLostError:
    return StateLostError(
        "The stored position cannot be read",
        where=f"Airflow's state, found {str(value)[:200]!r}",
        remedy="Update the provider; do not delete the state, the position would start over.",
    )


def _from_1_to_2(value: _Json) -> _Json:
    def text(ranges: list[list[int]]) -> str:
        return " ".join(f"{p}:{start}+{end - start}" for p, start, end in ranges)

    claims = [
        {
            "run": c["run_id"],
            "topic_id": c["topic_id"],
            "ranges": text(c["ranges"]),
            "lost": text(c.get("lost", [])),
        }
        for c in value["claims"]
    ]
    position = " ".join(f"{p}:{offset}" for p, offset in value["position"].items())
    return {**value, "version": 2, "position": position, "claims": claims}


_RECORD_MIGRATIONS: Final[Mapping[int, Callable[[_Json], _Json]]] = {1: _from_1_to_2}


def _write(claim: Claim, epoch: tuple[str, str] | None) -> _Json:
    """:param epoch: topic and topic id that need not be said again."""
    value: _Json = {"run": claim.run_id, "at": claim.at, "ranges": _write_ranges(claim.slice)}
    if len(claim.lost):
        value["lost"] = _write_ranges(claim.lost)
    if claim.parts is not None:
        value["parts"] = claim.parts
    if (claim.slice.topic, claim.slice.topic_id) != epoch:
        value |= {"topic": claim.slice.topic, "topic_id": claim.slice.topic_id}
    return value


def _read(value: _Json, epoch: tuple[str, str] | None) -> Claim:
    topic, topic_id = epoch or (value["topic"], value["topic_id"])
    epoch = str(value.get("topic", topic)), str(value.get("topic_id", topic_id))
    parts = value.get("parts")
    return Claim(
        str(value["run"]),
        Slice(*epoch, _read_ranges(value["ranges"])),
        Slice(*epoch, _read_ranges(value.get("lost", ""))),
        None if parts is None else int(parts),
        int(value.get("at", 0)),
    )


def _write_offsets(offsets: Mapping[int, int]) -> str:
    return _write_words((p, str(offset)) for p, offset in sorted(offsets.items()))


def _read_offsets(text: str) -> dict[int, int]:
    return {p: int(offset) for p, offset in _read_words(text)}


def _write_ranges(owned: Slice) -> str:
    return _write_words((r.partition, f"{r.start}+{len(r)}") for r in owned)


def _read_ranges(text: str) -> tuple[OffsetRange, ...]:
    ranges = []
    for partition, span in _read_words(text):
        start, length = map(int, span.split("+"))
        ranges.append(OffsetRange(partition, start, start + length))
    return tuple(ranges)


def _write_words(pairs: Iterable[tuple[int, str]]) -> str:
    words, previous = [], None
    for partition, content in pairs:
        follows = previous is not None and partition == previous + 1
        words.append(content if follows else f"{partition}:{content}")
        previous = partition
    return " ".join(words)


def _read_words(text: str) -> Iterator[tuple[int, str]]:
    partition = -1
    for word in text.split():
        named, _, content = word.rpartition(":")
        partition = int(named) if named else partition + 1
        yield partition, content
