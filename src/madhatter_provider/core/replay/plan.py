"""Where each part of a range is read again: Kafka while it is retained there, else the files of an earlier
replay or of the landing, the newest first. What is in none of them is gone.

A part that comes from files is loaded as it was typed when it landed; only its quarantined messages, of which
the files keep the raw bytes, are decoded again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from madhatter_provider.core.contracts.contract import Contract
from madhatter_provider.core.errors import ConfigurationError, ConservationError, LostRangeError
from madhatter_provider.core.landing.land import Store
from madhatter_provider.core.landing.manifest import LandedFile, Manifest
from madhatter_provider.core.landing.names import landing_path, manifest_path, quarantine_path
from madhatter_provider.core.replay import record as replay_record
from madhatter_provider.core.replay.store import StoredFile, look_at
from madhatter_provider.core.slices.claims import TopicBounds
from madhatter_provider.core.slices.offsets import OffsetRange, Slice
from madhatter_provider.core.warehouse import ledger
from madhatter_provider.core.warehouse.ledger import LedgerRow
from madhatter_provider.core.warehouse.ledger_changes import touching
from madhatter_provider.core.warehouse.sql_client import Sql

Source = Literal["kafka", "files", "gone"]
_NAME = re.compile(r"(?P<start>\d{20})-(?P<end>\d{20})\.")


@dataclass(frozen=True, slots=True)
class StoredRange:
    """One offset range in files: its typed rows and its quarantined messages."""

    range: OffsetRange
    origin: str = "landing"
    """Whose files: the landing's, or those of the replay of this id."""
    typed: tuple[StoredFile, ...] = ()
    quarantined: tuple[StoredFile, ...] = ()
    fault: str = ""
    """Why the files cannot be used; empty if they can."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the range with one source."""

    range: OffsetRange
    source: Source
    stored: StoredRange | None = None
    why: str = ""

    def __str__(self) -> str:
        detail = f" ({self.why})" if self.why else ""
        return f"{self.range} {len(self.range)} offsets: {self.source}{detail}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a replay would do. Counts are of now: rows of the range in the table and in quarantine."""

    stream: str
    table: str
    asked: Slice
    parts: tuple[Part, ...]
    rows: int
    quarantined: int

    def slice_of(self, *sources: Source) -> Slice:
        """What has one of these sources."""
        ranges = tuple(p.range for p in self.parts if p.source in sources)
        return Slice(self.asked.topic, self.asked.topic_id, ranges)

    @property
    def found(self) -> Slice:
        """What will be replayed."""
        return self.slice_of("kafka", "files")

    @property
    def from_files(self) -> list[tuple[Part, StoredRange]]:
        """The parts that come from files."""
        return [(p, p.stored) for p in self.parts if p.stored]

    @property
    def typed_files(self) -> list[StoredFile]:
        """Files to load as they are."""
        return _distinct(f for _, stored in self.from_files for f in stored.typed)

    @property
    def quarantine_files(self) -> list[StoredFile]:
        """Files whose messages are decoded again."""
        return _distinct(f for _, stored in self.from_files for f in stored.quarantined)

    def sources_json(self) -> str:
        """The ranges of each source, for the record."""
        named: tuple[Source, ...] = ("kafka", "files", "gone")
        return json.dumps({s: self.slice_of(s).to_json()["ranges"] for s in named})

    def lines(self) -> Iterator[str]:
        """The plan in words."""
        yield f"Replay {self.asked.topic} (epoch {self.asked.topic_id}) into RAW.{self.table}"
        yield from (f"  {part}" for part in sorted(self.parts, key=lambda p: p.range))
        files = [*self.typed_files, *self.quarantine_files]
        yield (
            f"  {len(self.slice_of('kafka'))} offsets from Kafka, {len(self.slice_of('files'))} from "
            f"{len(files)} files ({sum(f.rows for f in files)} rows, {sum(f.bytes for f in files)} bytes), "
            f"{len(self.slice_of('gone'))} gone"
        )
        yield f"  now: {self.rows} rows in RAW.{self.table}, {self.quarantined} in RAW.QUARANTINE"

    def refuse_gone(self, allowed: bool) -> None:
        """Stop if a part is gone and nobody said that the rest will do.

        :raises LostRangeError: a part is gone, or everything is.
        """
        gone = [p for p in self.parts if p.source == "gone"]
        if not gone or (allowed and len(self.found)):
            return
        raise LostRangeError(
            "No source holds these offsets any more: " + "; ".join(map(str, gone[:5])),
            where=f"stream {self.stream}, {self.asked}",
            remedy="Their rows stay as they are. Replay the rest with --allow-gone (allow_gone=True)."
            if len(self.found)
            else "Nothing of the range can be replayed; its rows stay as they are.",
        )


def _distinct(files: Iterable[StoredFile]) -> list[StoredFile]:
    return list(dict.fromkeys(f for f in files if f.rows))


def make_plan(
    contract: Contract,
    asked: Slice,
    bounds: TopicBounds | None,
    sql: Sql,
    store: Store,
    *,
    take_over: bool = False,
    run_id: str = "",
) -> Plan:
    """Find the source of every part.

    :param bounds: the topic as it is now; ``None`` if it is gone.
    :param take_over: replay ranges that a run has claimed but not loaded, too.
    :param run_id: under which name this replay claims what nobody has claimed.
    :raises ConfigurationError: a landing run owns a part of the range and has not loaded it yet.
    """
    rows = ledger_rows(sql, contract.stream, asked)
    _refuse_live(contract, asked, [r for r in rows if r.run_id != run_id], take_over)
    retained = _retained(asked, bounds)
    parts = [Part(r, "kafka") for r in asked & retained]
    rest = asked - retained
    for stored in (*_replayed(sql, store, contract, rest), *_landed(store, contract, rows, rest)):
        mine = rest & Slice(asked.topic, asked.topic_id, (stored.range,))
        if not stored.fault:
            parts += [Part(r, "files", stored, why=_names(stored)) for r in mine]
            rest = rest - mine
        else:
            parts += [Part(r, "gone", why=stored.fault) for r in mine]
            rest = rest - mine
    parts += [Part(r, "gone", why="neither in Kafka nor in landing files") for r in rest]
    loaded, held = count_rows(sql, contract, asked)
    return Plan(contract.stream, contract.table, asked, tuple(parts), loaded, held)


def _names(stored: StoredRange) -> str:
    return ", ".join(f.path for f in (*stored.typed, *stored.quarantined)) or "no message"


def _retained(asked: Slice, bounds: TopicBounds | None) -> Slice:
    if bounds is None or bounds.topic_id != asked.topic_id:
        return Slice(asked.topic, asked.topic_id)
    ranges = (OffsetRange(p, s, max(s, bounds.ends[p])) for p, s in bounds.starts.items())
    return Slice(asked.topic, asked.topic_id, tuple(ranges))


def ledger_rows(sql: Sql, stream: str, owned: Slice) -> list[LedgerRow]:
    """The ledger's rows that touch a slice."""
    found = sql.execute(
        f"SELECT {', '.join(ledger.COLUMNS)} FROM {ledger.TABLE} WHERE STREAM = ? AND TOPIC_ID = ? "
        f"AND ({touching(owned)}) ORDER BY PARTITION_ID, START_OFFSET",
        [stream, owned.topic_id],
    )
    return [LedgerRow.from_row(r) for r in found]


def within(owned: Slice) -> str:
    """A condition on landed rows of the slice's epoch: their offset is in the slice."""
    return " OR ".join(
        f"(_PARTITION = {r.partition} AND _OFFSET >= {r.start} AND _OFFSET < {r.end})" for r in owned
    )


def count_rows(sql: Sql, contract: Contract, owned: Slice) -> tuple[int, int]:
    """Rows of a slice in the table, and in quarantine."""
    where = f"_TOPIC_ID = ? AND ({within(owned)})"
    found = sql.execute(
        f"SELECT (SELECT COUNT(*) FROM RAW.{contract.table} WHERE {where}) AS LOADED, "
        f"(SELECT COUNT(*) FROM RAW.QUARANTINE WHERE STREAM = ? AND {where}) AS HELD",
        [owned.topic_id, contract.stream, owned.topic_id],
    )
    return int(found[0]["LOADED"]), int(found[0]["HELD"])


def _refuse_live(contract: Contract, asked: Slice, rows: Sequence[LedgerRow], take_over: bool) -> None:
    """Ranges that a run owns and has not loaded are taken over whole, or not at all."""
    live = [r for r in rows if r.state in ("claimed", "landed")]
    if take_over:
        live = [r for r in live if len(asked & _slice_of(asked, r)) < r.end_offset - r.start_offset]
    if live:
        first = live[0]
        owner, part = f"{first.run_id} of {first.dag_id}", f"[{first.start_offset}, {first.end_offset})"
        raise ConfigurationError(
            f"A landing run owns a part of this range and has not loaded it: {owner}, "
            f"partition {first.partition_id} {part}, {first.state}",
            where=f"stream {contract.stream}, {len(live)} such ranges",
            remedy="Wait until it is done. If it failed, clear it: it lands the same range again. If it can "
            "never run again, take its range over whole (--take-over, take_over=True).",
        )


def _slice_of(owned: Slice, row: LedgerRow) -> Slice:
    r = OffsetRange(row.partition_id, row.start_offset, row.end_offset)
    return Slice(owned.topic, owned.topic_id, (r,))


def _landed(
    store: Store, contract: Contract, rows: Sequence[LedgerRow], wanted: Slice
) -> Iterator[StoredRange]:
    """What landing runs wrote of the offsets wanted. Files are opened only for these."""
    folders: dict[str, list[str]] = {}
    landed: dict[str | None, Mapping[str, LandedFile]] = {}

    def files_of(path: str, r: OffsetRange) -> list[str]:
        folder = path.rpartition("/")[0]
        if folder not in folders:
            folders[folder] = store.names(folder)
        return [f"{folder}/{name}" for name in folders[folder] if _lies_in(name, r)]

    for row in rows:
        r = OffsetRange(row.partition_id, row.start_offset, row.end_offset)
        if not len(wanted & _slice_of(wanted, row)):
            continue
        if row.state == "lost":
            yield StoredRange(r, fault="retention deleted it before it was read")
            continue
        typed = files_of(landing_path(contract.stream, row.topic_id, r), r)
        held = files_of(quarantine_path(contract.stream, row.topic_id, r), r)
        if row.manifest_path not in landed:
            landed[row.manifest_path] = _files_of(store, row.manifest_path)
        yield _checked(store, row, r, typed, held, landed[row.manifest_path])


def _lies_in(name: str, r: OffsetRange) -> bool:
    """Whether a landing file's name says that it holds a part of this range."""
    found = _NAME.match(name)
    return found is not None and r.start <= int(found["start"]) and int(found["end"]) <= r.end


def _files_of(store: Store, path: str | None) -> Mapping[str, LandedFile]:
    """What a manifest says of its files, by path; nothing if there is none that can be read."""
    content = store.read(path) if path else None
    if content is None:
        return {}
    try:
        return {f.path: f for f in Manifest.from_json(json.loads(content)).files}
    except (ValueError, TypeError, ConservationError):
        return {}


def _checked(
    store: Store,
    row: LedgerRow,
    r: OffsetRange,
    typed: list[str],
    held: list[str],
    landed: Mapping[str, LandedFile],
) -> StoredRange:
    """A range's files, as far as they are those that were landed: by the manifest, else by the ledger."""
    other = next((path for path in typed if not path.endswith(".parquet")), None)
    if other:
        return StoredRange(r, fault=f"{other} is no Parquet file")
    found = {path: look_at(store, path) for path in (*typed, *held)}
    broken = next((path for path, file in found.items() if file is None), None)
    if broken:
        return StoredRange(r, fault=f"{broken} was changed: it is no Parquet file")
    known = {path: file for path, file in found.items() if file}
    changed = _changed(store, known.values(), landed)
    alone = typed[0] if len(typed) == 1 and typed[0] == row.file_path else ""
    if not landed and alone and row.bytes not in (None, known[alone].bytes):
        changed = f"{alone} was changed: {row.bytes} bytes were landed"
    if changed:
        return StoredRange(r, fault=changed)
    messages = (row.rows_read or 0) - (row.rows_filtered or 0)
    there = sum(f.rows for f in known.values())
    if there < messages:
        return StoredRange(r, fault=f"{messages} messages were landed, its files hold {there}")
    return StoredRange(r, typed=tuple(known[p] for p in typed), quarantined=tuple(known[p] for p in held))


def _changed(store: Store, files: Iterable[StoredFile], landed: Mapping[str, LandedFile]) -> str:
    """The first file that is not as it was landed; empty if all are, as far as manifests know them."""
    for there in files:
        file = landed.get(there.path)
        if file is not None and there.bytes != file.bytes:
            return f"{there.path} was changed: {file.bytes} bytes were landed"
        if file is not None and file.sha256 and store.digest(there.path) != file.sha256:
            return f"{there.path} was changed: its content is another than was landed"
    return ""


def _replayed(sql: Sql, store: Store, contract: Contract, wanted: Slice) -> Iterator[StoredRange]:
    """What earlier replays read from Kafka, the newest first: their decision is newer than the landing's."""
    if not len(wanted):
        return
    for done in replay_record.finished_ranges(sql, contract.stream, wanted.topic_id):
        from_kafka = Slice(wanted.topic, wanted.topic_id, done.kafka)
        if not len(from_kafka & wanted):
            continue
        root = replay_record.root_of(done.id)
        content = store.read(f"{root}/{manifest_path(contract.stream, from_kafka)}")
        if content is None:  # somebody tidied up; older files hold an older decision
            continue
        manifest = Manifest.from_json(json.loads(content))
        for r in manifest.ranges:
            mine = [f for f in manifest.files if f.partition == r.partition and r.start <= f.start < r.end]
            yield _as_written(store, done.id, OffsetRange(r.partition, r.start, r.end), mine)


def _as_written(store: Store, replay_id: str, r: OffsetRange, files: Sequence[LandedFile]) -> StoredRange:
    root = replay_record.root_of(replay_id)
    found: dict[bool, list[StoredFile]] = {False: [], True: []}
    for file in files:
        path = f"{root}/{file.path}"
        there = look_at(store, path)
        if there is None or (there.rows, there.bytes) != (file.rows, file.bytes):
            return StoredRange(r, fault=f"{path} was changed or removed")
        if changed := _changed(store, [there], {path: file}):
            return StoredRange(r, fault=changed)
        found[file.quarantine].append(there)
    return StoredRange(r, replay_id, tuple(found[False]), tuple(found[True]))
