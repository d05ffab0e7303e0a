"""Compare landing files, manifests and the ledger. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from madhatter_provider.core.audit.model import Evidence, Finding, LandingFiles, LedgerRange
from madhatter_provider.core.audit.ranges import Place, RangeIndex
from madhatter_provider.core.landing.manifest import LandedFile, LandedRange, Manifest
from madhatter_provider.core.landing.names import epoch, manifest_path
from madhatter_provider.core.slices.offsets import OffsetRange, Slice

_NAME: Final = re.compile(
    r"(?:quarantine/)?(?P<stream>[^/]+)/(?P<epoch>[^/]{1,8})/(?P<partition>\d+)/(?P<start>\d{20})-(?P<end>\d{20})\.[\w.]+"
)


_Range = tuple[Place, OffsetRange]


def range_of(path: str) -> tuple[str, OffsetRange] | None:
    """Eight characters of the topic id, and the range, of a landing file's name; ``None`` if it is no such
    name.
    """
    found = _NAME.fullmatch(path)
    if found is None or int(found["start"]) > int(found["end"]):
        return None
    return found["epoch"], OffsetRange(int(found["partition"]), int(found["start"]), int(found["end"]))


@dataclass(slots=True)
class LandingIndex:
    """Manifests by range, and what the ledger does not know of them."""

    evidence: Evidence
    index: RangeIndex
    without_ledger: dict[str, tuple[Manifest, list[OffsetRange]]] = field(init=False, default_factory=dict)
    """Path of a manifest → its ranges that no ledger row covers."""
    of_path: dict[str, Manifest] = field(init=False, default_factory=dict)
    """The manifest that is, or names, a path."""
    damaged: RangeIndex = field(init=False)
    """Files that are missing or not as they were landed."""
    manifests: RangeIndex = field(init=False)
    """What manifests cover, those that cannot be read included."""
    unreadable: RangeIndex = field(init=False)
    """What only the latter cover."""
    unreadable_runs: dict[str, tuple[Slice, tuple[str, str]]] = field(init=False, default_factory=dict)
    """Path of a manifest that cannot be read → slice, DAG and run that it is of, if that can be told."""
    _counts: dict[tuple[Place, OffsetRange], tuple[str, LandedRange]] = field(
        init=False, default_factory=dict
    )
    _unrecorded: dict[Place, list[OffsetRange]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        landing = self.evidence.landing or LandingFiles()
        for path, manifest in landing.manifests.items():
            if manifest is not None:
                self._add(path, manifest)
        covered = (LedgerRange(place[0], r, "landed") for place, r in self._counts)
        self.damaged = RangeIndex(self._damaged(landing))
        unreadable = list(self._of_unreadable(landing))
        self.manifests, self.unreadable = RangeIndex([*covered, *unreadable]), RangeIndex(unreadable)

    def _damaged(self, landing: LandingFiles) -> Iterator[LedgerRange]:
        for manifest in (m for m in landing.manifests.values() if m is not None):
            for f in manifest.files:
                seen = landing.files.get(f.path)
                if seen is None or seen.bytes != f.bytes or not landing.content_agrees(f):
                    yield LedgerRange(manifest.topic_id, OffsetRange(f.partition, f.start, f.end), "landed")

    def _of_unreadable(self, landing: LandingFiles) -> Iterator[LedgerRange]:
        """Ranges of runs whose manifest is there and cannot be read: that is said once."""
        unreadable = {path for path, manifest in landing.manifests.items() if manifest is None}
        runs: dict[tuple[str, str, str], list[LedgerRange]] = {}
        for row in (self.evidence.ledger or ()) if unreadable else ():
            if row.state != "lost":
                runs.setdefault((row.topic_id, row.dag_id, row.run_id), []).append(row)
        for (topic_id, *run), rows in runs.items():
            owned = self.evidence.slice(topic_id, *(r.range for r in rows))
            path = manifest_path(self.evidence.stream, owned)
            if path in unreadable:
                self.unreadable_runs[path] = owned, (run[0], run[1])
                yield from rows

    def _add(self, path: str, manifest: Manifest) -> None:
        self.of_path |= dict.fromkeys((path, *(f.path for f in manifest.files)), manifest)
        missing: list[OffsetRange] = []
        for landed in manifest.ranges:
            r = OffsetRange(landed.partition, landed.start, landed.end)
            place = (manifest.topic_id, r.partition)
            self._counts[(place, r)] = (path, landed)
            missing += self.index.uncovered(place, r)
        if missing:
            self.without_ledger[path] = (manifest, missing)
            for r in missing:
                self._unrecorded.setdefault((manifest.topic_id, r.partition), []).append(r)

    def unrecorded(self, topic_id: str, partition: int) -> list[OffsetRange]:
        """What was landed, and the ledger does not know."""
        return self._unrecorded.get((topic_id, partition), [])

    def intact(self, owned: Slice) -> bool:
        """Whether manifests cover all of a slice, and their files are as landed."""
        places = [((owned.topic_id, r.partition), r) for r in owned]
        return all(
            self.manifests.covers(place, r)
            and not self.unreadable.touches(place, r)
            and not self.damaged.touches(place, r)
            for place, r in places
        )

    def counts(self, row: LedgerRange) -> LandedRange | None:
        """What the manifest of a ledger range counted."""
        found = self._counts.get(((row.topic_id, row.range.partition), row.range))
        return None if found is None else found[1]

    def manifest_of(self, row: LedgerRange) -> str:
        """Path of the manifest of a ledger range."""
        return self._counts[((row.topic_id, row.range.partition), row.range)][0]


def landing_findings(evidence: Evidence, landed: LandingIndex) -> Iterator[Finding]:
    """Files against manifests, manifests against the ledger, the ledger against files."""
    landing = evidence.landing
    if landing is None:
        return
    for path, manifest in landing.manifests.items():
        if manifest is None:
            owned, run = landed.unreadable_runs.get(path, (_nothing(evidence), ("", "")))
            yield Finding("manifest_unreadable", owned, path, run, path)
        else:
            yield from (f for file in manifest.files for f in _file(evidence, landing, manifest, file))
    for path, (manifest, missing) in landed.without_ledger.items():
        owned = evidence.slice(manifest.topic_id, *missing)
        said = f"run {manifest.run_id}: {manifest.landed} rows landed, {manifest.quarantined} quarantined"
        yield Finding("manifest_without_ledger", owned, said, (evidence.dag_id, manifest.run_id), path)
    yield from _unnamed(evidence, landed, landing)
    yield from _without_files(evidence, landed, landing)
    old = [f for f in landing.scratch if f.age > evidence.patience.scratch]
    if old:
        said = f"{len(old)} files, {sum(f.bytes for f in old)} bytes"
        yield Finding("scratch_files", _nothing(evidence), said, path=old[0].path)


def _file(
    evidence: Evidence, landing: LandingFiles, manifest: Manifest, file: LandedFile
) -> Iterator[Finding]:
    seen = landing.files.get(file.path)
    owned = evidence.slice(manifest.topic_id, OffsetRange(file.partition, file.start, file.end))
    run = (evidence.dag_id, manifest.run_id)
    if seen is None:
        yield Finding("file_missing", owned, f"{file.path}: {file.rows} rows were landed", run, file.path)
    elif seen.bytes != file.bytes:
        rows = landing.rows.get(file.path)
        now = "it is no Parquet file" if rows is None else f"{rows} rows"
        said = f"{file.path}: {now} in {seen.bytes} bytes, landed were {file.rows} in {file.bytes}"
        yield Finding("file_edited", owned, said, run, file.path)
    elif not landing.content_agrees(file):
        said = f"{file.path}: its content is another than was landed; {file.bytes} bytes as before"
        yield Finding("file_edited", owned, said, run, file.path)


def _unnamed(evidence: Evidence, landed: LandingIndex, landing: LandingFiles) -> Iterator[Finding]:
    """Files that no manifest names. A run that has not loaded its range yet may still write one."""
    topic_ids = {epoch(topic_id): topic_id for topic_id in landed.index.epochs}
    for path in (path for path in landing.files if path not in landed.of_path):
        found = range_of(path)
        if found is None:
            said = f"{path}: not the name of a landing file"
            yield Finding("file_without_manifest", _nothing(evidence), said, path=path)
            continue
        topic_id, r = topic_ids.get(found[0], found[0]), found[1]
        holder = landed.index.holder((topic_id, r.partition), r)
        if holder is None:
            owned = evidence.slice(topic_id, r)
            yield Finding("file_without_manifest", owned, f"{path}: no ledger row", path=path)
        elif holder.state in ("loaded", "lost") and not landed.unreadable.covers((topic_id, r.partition), r):
            owned, run = evidence.slice(topic_id, holder.range), (holder.dag_id, holder.run_id)
            yield Finding("file_without_manifest", owned, path, run, path)


def _without_files(evidence: Evidence, landed: LandingIndex, landing: LandingFiles) -> Iterator[Finding]:
    """Loaded ranges of which neither a manifest nor a file is there."""
    found = ((range_of(path), path) for path in landing.files)
    files = RangeIndex(LedgerRange(place[0], place[1], "landed") for place, _ in found if place)
    for row in evidence.ledger or ():
        just_now = (row.loaded_ago or 0.0) <= landing.seconds
        if row.state != "loaded" or row.replayed or not row.landed or just_now:
            continue
        place = (row.topic_id, row.range.partition)
        there = landed.manifests.covers(place, row.range)
        parts = files.uncovered((epoch(row.topic_id), row.range.partition), row.range)
        if not there and parts == [row.range]:
            said = f"{row.landed} rows were landed; neither a file nor a manifest"
            yield Finding(
                "file_missing", evidence.slice(row.topic_id, row.range), said, (row.dag_id, row.run_id)
            )


def _nothing(evidence: Evidence) -> Slice:
    return Slice(evidence.topic, evidence.topic_id)
