"""Random streams in which all places agree, and one way each to make them disagree."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from madhatter_provider.core.audit.model import (
    DagState,
    Evidence,
    LandingFiles,
    LedgerRange,
    RangeKey,
    RangeRows,
    SeenFile,
    Stray,
    TableRows,
)
from madhatter_provider.core.landing.manifest import LandedFile, LandedRange, Manifest
from madhatter_provider.core.landing.names import landing_path, manifest_path, quarantine_path
from madhatter_provider.core.slices.claims import Claim, ClaimRecord, TopicBounds
from madhatter_provider.core.slices.offsets import OffsetRange, Slice

STREAM = TOPIC = "clicks"
DAG, OTHER = "land_clicks", "count_clicks"
NOW, OLD = "epoch-now", "past-epoch"
DAY = 86400.0


@dataclass
class World:
    """What every place says, to be changed by a plant."""

    rng: random.Random
    ledger: list[LedgerRange] = field(default_factory=list)
    rows: dict[RangeKey, RangeRows] = field(default_factory=dict)
    strays: list[Stray] = field(default_factory=list)
    files: dict[str, SeenFile] = field(default_factory=dict)
    file_rows: dict[str, int | None] = field(default_factory=dict)
    contents: dict[str, str] = field(default_factory=dict)
    manifests: dict[str, Manifest | None] = field(default_factory=dict)
    scratch: list[SeenFile] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    starts: dict[int, int] = field(default_factory=dict)
    ends: dict[int, int] = field(default_factory=dict)
    position: dict[int, int] = field(default_factory=dict)
    mirror: dict[int, tuple[str, int]] = field(default_factory=dict)
    runs: dict[str, str | None] = field(default_factory=dict)
    other: DagState | None = None
    record_epoch: str = NOW

    def evidence(self) -> Evidence:
        """What an audit would have gathered."""
        record = ClaimRecord(TOPIC, self.record_epoch, dict(self.position), tuple(self.claims))
        mine = DagState(DAG, True, record, record, dict(self.runs), dict(self.mirror))
        return Evidence(
            STREAM,
            TOPIC,
            DAG,
            bounds=TopicBounds(TOPIC, NOW, dict(self.starts), dict(self.ends)),
            ledger=tuple(self.ledger),
            rows=TableRows(dict(self.rows), tuple(self.strays)),
            landing=LandingFiles(
                dict(self.files),
                dict(self.manifests),
                tuple(self.scratch),
                dict(self.file_rows),
                dict(self.contents),
            ),
            dags=(mine, *([self.other] if self.other else [])),
            now=1_000_000,
        )

    def land(self, topic_id: str, run_id: str, ranges: list[OffsetRange], state: str = "loaded") -> None:
        """One run, with all that it leaves behind."""
        owned = Slice(TOPIC, topic_id, tuple(ranges))
        landed: list[LandedRange] = []
        files: list[LandedFile] = []
        for r in owned:
            read = self.rng.randint(max(1, len(r) // 2), len(r))  # transactions leave holes
            held = self.rng.randint(0, read // 3)
            landed.append(LandedRange(r.partition, r.start, r.end, read, read - held, held))
            for rows, path in (
                (read - held, landing_path(STREAM, topic_id, r)),
                (held, quarantine_path(STREAM, topic_id, r)),
            ):
                if rows:
                    quarantine = path.startswith("quarantine/")
                    sha256 = self.rng.choice(["d1", None])  # some were landed before digests were kept
                    files.append(
                        LandedFile(path, r.partition, r.start, r.end, rows, rows * 10, quarantine, sha256)
                    )
            self._record(topic_id, run_id, landed[-1], r, state)
        if topic_id == NOW:
            self.claims.append(Claim(run_id, owned, Slice(TOPIC, topic_id)))
            self.runs[run_id] = "success" if state == "loaded" else "running"
        if state == "loaded":
            self.files |= {f.path: SeenFile(f.path, f.bytes, DAY) for f in files}
            self.contents |= {f.path: f.sha256 for f in files if f.sha256}
            manifest = Manifest(STREAM, TOPIC, topic_id, run_id, "1.0.0", tuple(landed), tuple(files))
            self.manifests[manifest_path(STREAM, owned)] = manifest

    def _record(self, topic_id: str, run_id: str, counts: LandedRange, r: OffsetRange, state: str) -> None:
        row = LedgerRange(topic_id, r, state, DAG, run_id)
        if state == "loaded":
            row = replace(
                row,
                read=counts.read,
                landed=counts.landed,
                loaded=counts.landed,
                quarantined=counts.quarantined,
                loaded_ago=60.0,
            )
            held = counts.quarantined
            self.rows[(topic_id, r.partition, r.start)] = RangeRows(counts.landed, counts.landed, held, held)
        self.ledger.append(row)

    def pick(self, wanted: Callable[[LedgerRange], bool] = lambda r: True) -> int:
        """Index of a loaded range of the present epoch."""
        found = [
            i for i, r in enumerate(self.ledger) if r.topic_id == NOW and r.state == "loaded" and wanted(r)
        ]
        return self.rng.choice(found)

    def inner(self) -> int:
        """A loaded range with ranges on both sides, of a run that has no other, so that it may be taken
        out.
        """
        return self.pick(lambda r: r.run_id.startswith("inner"))

    def landed_paths(self) -> list[str]:
        """Files that manifests name."""
        return [f.path for m in self.manifests.values() if m for f in m.files]

    def forget(self, index: int, *, files: bool = True, rows: bool = True) -> LedgerRange:
        """Take a range out of the ledger, with what is said."""
        row = self.ledger.pop(index)
        found = self.rows.pop((row.topic_id, row.range.partition, row.range.start))
        if not rows:
            self.strays.append(Stray(row.topic_id, row.range, found.rows, found.held_rows))
        if files:
            owned = Slice(TOPIC, row.topic_id, (row.range,))
            manifest = self.manifests.pop(manifest_path(STREAM, owned))
            for file in manifest.files if manifest else ():
                del self.files[file.path]
        return row


def healthy(seed: int) -> World:
    """A stream in which everything agrees: an old epoch, lost and replayed ranges, a run at work, a file
    that is being written, another DAG.
    """
    rng = random.Random(seed)
    world = World(rng)
    if rng.random() < 0.5:
        world.land(OLD, "old-run", [OffsetRange(0, 0, 10)])
    at = dict.fromkeys(range(rng.randint(1, 3)), 0)
    world.starts = dict.fromkeys(at, 0)
    if rng.random() < 0.5:
        at[0] = rng.randint(1, 1000)  # retention took what was before the first claim
        world.starts[0] = at[0]
    for number in range(3):
        world.land(NOW, f"run-{number}", [_next(rng, at, p) for p in at])
        world.land(NOW, f"inner-{number}", [_next(rng, at, 0)])
    lost = _next(rng, at, 0)
    world.ledger.append(LedgerRange(NOW, lost, "lost", DAG, "run-x", acknowledged=True))
    world.land(NOW, "run-last", [_next(rng, at, p) for p in at])
    replayed = world.pick(lambda r: r.run_id.startswith("run-"))
    _replay(world, replayed)
    world.land(NOW, "run-now", [_next(rng, at, 0)], state="claimed")
    name = landing_path(STREAM, NOW, world.ledger[-1].range)
    world.files[name] = SeenFile(name, 10)
    world.scratch.append(SeenFile(".scratch/a/b", 10, 5.0))
    world.position, world.ends = dict(at), {p: o + 5 for p, o in at.items()}
    world.mirror = {p: (NOW, o) for p, o in at.items()}
    if rng.random() < 0.5:
        world.other = _another(at)
    return world


def _next(rng: random.Random, at: dict[int, int], partition: int) -> OffsetRange:
    start = at[partition]
    at[partition] = start + rng.randint(2, 40)
    return OffsetRange(partition, start, at[partition])


def _replay(world: World, index: int) -> None:
    """A later decision: everything is good now."""
    row = world.ledger[index]
    world.ledger[index] = replace(row, landed=row.read, loaded=row.read, quarantined=0, replayed=True)
    world.rows[(row.topic_id, row.range.partition, row.range.start)] = RangeRows(row.read, row.read)


def _another(at: dict[int, int]) -> DagState:
    position = {p: o - 1 for p, o in at.items()}
    claim = Claim("other-run", Slice(TOPIC, NOW, (OffsetRange(0, 0, 1),)), Slice(TOPIC, NOW))
    record = ClaimRecord(TOPIC, NOW, position, (claim,))
    mirror = {p: (NOW, o) for p, o in position.items()}
    return DagState(OTHER, True, record, record, {"other-run": "success"}, mirror)


def _change_rows(world: World, index: int, **changes: int) -> None:
    row = world.ledger[index]
    key = (row.topic_id, row.range.partition, row.range.start)
    rows = world.rows[key]
    added = {name: getattr(rows, name) + by for name, by in changes.items()}
    world.rows[key] = replace(rows, **added)


def _change_row(world: World, index: int, **changes: object) -> None:
    world.ledger[index] = replace(world.ledger[index], **changes)  # type: ignore[arg-type]


def gap(world: World) -> None:
    world.forget(world.inner())


def overlap(world: World) -> None:
    at = world.pick(lambda r: r.run_id in ("inner-0", "inner-1"))  # what follows the last one is lost
    r = world.ledger[at].range
    _change_row(world, at, range=OffsetRange(r.partition, r.start, r.end + 1))


def not_loaded(world: World) -> None:
    world.runs["run-now"] = "failed"


def not_loaded_and_gone(world: World) -> None:
    world.runs["run-now"] = None


def not_loaded_for_long(world: World) -> None:
    del world.runs["run-now"]
    index = next(i for i, r in enumerate(world.ledger) if r.run_id == "run-now")
    _change_row(world, index, claimed_ago=2 * DAY)


def does_not_add_up(world: World) -> None:
    at = world.pick(lambda r: not r.replayed)
    _change_row(world, at, read=world.ledger[at].read + 1)


def loaded_miscounted(world: World) -> None:
    at = world.pick()
    _change_row(world, at, loaded=world.ledger[at].loaded + 1)


def miscounts(world: World) -> None:
    at = world.pick(lambda r: not r.replayed)
    row = world.ledger[at]
    _change_row(world, at, read=row.read + 1, landed=row.landed + 1, loaded=row.loaded + 1)


def manifest_disagrees(world: World) -> None:
    at = world.inner()
    path = manifest_path(STREAM, Slice(TOPIC, NOW, (world.ledger[at].range,)))
    manifest = world.manifests[path]
    assert manifest is not None
    r = manifest.ranges[0]
    world.manifests[path] = replace(manifest, ranges=(replace(r, read=r.read + 1, landed=r.landed + 1),))


def lost(world: World) -> None:
    index = next(i for i, r in enumerate(world.ledger) if r.state == "lost")
    _change_row(world, index, acknowledged=False)


def lost_without_record(world: World) -> None:
    row = world.forget(world.inner())
    world.starts[0] = row.range.end


def old_epoch(world: World) -> None:
    if not any(r.topic_id == OLD for r in world.ledger):
        world.land(OLD, "old-run", [OffsetRange(0, 0, 10)])


def position_behind(world: World) -> None:
    world.position[0] -= 1
    world.mirror[0] = (NOW, world.position[0])


def position_ahead(world: World) -> None:
    index = next(i for i, r in enumerate(world.ledger) if r.run_id == "run-now")
    row = world.ledger.pop(index)
    world.runs["run-now"] = "failed"
    del world.files[landing_path(STREAM, NOW, row.range)]


def position_of_old_epoch(world: World) -> None:
    for found in (world.ledger, world.rows, world.files, world.contents, world.manifests, world.claims):
        found.clear()
    world.land(OLD, "old-run", [OffsetRange(0, 0, 10)])
    world.record_epoch, world.position, world.mirror = OLD, {0: 10}, {0: (OLD, 10)}
    world.starts, world.ends, world.other = {0: 0}, {0: 5}, None


def state_of_old_epoch_beside_new_claims(world: World) -> None:
    world.record_epoch, world.position = OLD, {}
    world.claims.clear()


def log_cut(world: World) -> None:
    world.ends[0] = world.position[0] - 2


def run_failed(world: World) -> None:
    other = _another(world.position)
    world.other = replace(other, runs={"other-run": "failed"})


def mirror_missing(world: World) -> None:
    world.mirror.clear()


def mirror_behind(world: World) -> None:
    world.mirror[0] = (NOW, world.position[0] - 1)


def mirror_ahead(world: World) -> None:
    world.mirror[0] = (NOW, world.position[0] + 1)


def mirror_of_old_epoch(world: World) -> None:
    world.mirror[0] = (OLD, world.position[0])


def file_missing(world: World) -> None:
    del world.files[world.rng.choice(world.landed_paths())]


def file_and_manifest_missing(world: World) -> None:
    at = world.inner()
    manifest = world.manifests.pop(manifest_path(STREAM, Slice(TOPIC, NOW, (world.ledger[at].range,))))
    for file in manifest.files if manifest else ():
        del world.files[file.path]


def file_edited(world: World) -> None:
    path = world.rng.choice(world.landed_paths())
    world.files[path] = replace(world.files[path], bytes=world.files[path].bytes + 1)
    world.file_rows[path] = world.rng.choice([None, 3])


def content_edited(world: World) -> None:
    world.contents[world.rng.choice(sorted(set(world.contents) & set(world.landed_paths())))] = "d2"


def file_without_manifest(world: World) -> None:
    at = world.inner()
    path = manifest_path(STREAM, Slice(TOPIC, NOW, (world.ledger[at].range,)))
    manifest = world.manifests.pop(path)
    assert manifest is not None
    for file in manifest.files[1:]:
        del world.files[file.path]


def file_of_nobody(world: World) -> None:
    r = OffsetRange(0, world.position[0] + 100, world.position[0] + 200)
    path = landing_path(STREAM, NOW, r)
    world.files[path] = SeenFile(path, 10)


def file_beside_others(world: World) -> None:
    r = world.ledger[world.inner()].range
    path = landing_path(STREAM, NOW, OffsetRange(r.partition, r.start, r.end - 1))
    world.files[path] = SeenFile(path, 10)


def foreign_file(world: World) -> None:
    world.files[f"{STREAM}/notes.txt"] = SeenFile(f"{STREAM}/notes.txt", 10)


def manifest_unreadable(world: World) -> None:
    at = world.inner()
    world.manifests[manifest_path(STREAM, Slice(TOPIC, NOW, (world.ledger[at].range,)))] = None


def manifest_without_ledger(world: World) -> None:
    world.forget(world.inner(), files=False, rows=world.rng.random() < 0.5)


def scratch_files(world: World) -> None:
    world.scratch.append(SeenFile(".scratch/x/y", 10, 2 * DAY))


def rows_missing(world: World) -> None:
    _change_rows(world, world.pick(lambda r: r.loaded > 0), rows=-1, offsets=-1)


def rows_surplus(world: World) -> None:
    _change_rows(world, world.pick(), rows=1, offsets=1)


def duplicate_rows(world: World) -> None:
    _change_rows(world, world.pick(lambda r: r.loaded > 0), rows=1)


def duplicate_in_quarantine(world: World) -> None:
    _change_rows(world, world.pick(lambda r: r.quarantined > 0), held_rows=1)


def loaded_row_in_quarantine_too(world: World) -> None:
    _change_rows(world, world.pick(lambda r: r.loaded > 0), held_rows=1, held_offsets=1, both=1)


def quarantined_row_loaded_too(world: World) -> None:
    _change_rows(world, world.pick(lambda r: r.quarantined > 0), rows=1, offsets=1, both=1)


def strangers_beyond(world: World) -> None:
    end = world.position[0]
    world.strays.append(Stray(NOW, OffsetRange(0, end, end + 3), 3, 0))


def strangers_of_an_unknown_epoch(world: World) -> None:
    world.strays.append(Stray("never-seen", OffsetRange(0, 0, 3), 2, 1))


def strangers_in_a_gap(world: World) -> None:
    world.forget(world.inner(), rows=False)


def quarantine_count(world: World) -> None:
    _change_rows(world, world.pick(lambda r: r.quarantined > 0), held_rows=-1, held_offsets=-1)


def deep_gate_waits(world: World) -> None:
    _change_row(world, world.pick(), deep_gated=False, loaded_ago=2 * DAY)


PLANTS: dict[str, tuple[Callable[[World], None], ...]] = {
    "ledger_gap": (gap,),
    "ledger_overlap": (overlap,),
    "not_loaded": (not_loaded, not_loaded_and_gone, not_loaded_for_long),
    "counts_do_not_add_up": (does_not_add_up, loaded_miscounted),
    "ledger_miscounts": (miscounts,),
    "manifest_disagrees": (manifest_disagrees,),
    "lost_not_acknowledged": (lost,),
    "lost_without_record": (lost_without_record,),
    "old_epoch": (old_epoch,),
    "position_behind": (position_behind, state_of_old_epoch_beside_new_claims),
    "position_ahead": (position_ahead,),
    "position_of_old_epoch": (position_of_old_epoch,),
    "log_cut": (log_cut,),
    "run_failed": (run_failed,),
    "mirror_missing": (mirror_missing,),
    "mirror_behind": (mirror_behind,),
    "mirror_ahead": (mirror_ahead,),
    "mirror_of_old_epoch": (mirror_of_old_epoch,),
    "file_missing": (file_missing, file_and_manifest_missing),
    "file_edited": (file_edited, content_edited),
    "file_without_manifest": (file_without_manifest, file_of_nobody, file_beside_others, foreign_file),
    "manifest_unreadable": (manifest_unreadable,),
    "manifest_without_ledger": (manifest_without_ledger,),
    "scratch_files": (scratch_files,),
    "rows_missing": (rows_missing,),
    "rows_surplus": (rows_surplus,),
    "duplicate_rows": (duplicate_rows, duplicate_in_quarantine),
    "in_both": (loaded_row_in_quarantine_too, quarantined_row_loaded_too),
    "stranger_rows": (strangers_beyond, strangers_of_an_unknown_epoch, strangers_in_a_gap),
    "quarantine_count": (quarantine_count,),
    "deep_gate_waits": (deep_gate_waits,),
}
"""Kind of finding → ways to cause it."""
