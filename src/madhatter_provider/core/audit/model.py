"""What an audit of a stream looks at, and what it can find.

An audit compares what six places say of the same offsets: the broker, the consumer group that mirrors the
position, Airflow's state, the ledger, the landing files with their manifests, and the rows in Snowflake.

1. Whoever has connections gathers an :class:`Evidence`. A place that was not looked at, or could not be, is
   ``None`` in it, and ``unseen`` says why.
2. :func:`madhatter_provider.core.audit.findings.compare` finds the differences.
3. :func:`madhatter_provider.core.audit.plan.plan` says what would mend them.

Everything here is data: nothing is read or written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from madhatter_provider.core.landing.manifest import LandedFile, Manifest
from madhatter_provider.core.slices.claims import ClaimRecord, TopicBounds
from madhatter_provider.core.slices.offsets import OffsetRange, Slice

Place = Literal["broker", "mirror", "airflow", "ledger", "landing", "snowflake"]
Severity = Literal["difference", "note"]


@dataclass(frozen=True, slots=True)
class LedgerRange:
    """A row of the ledger, as far as an audit needs it. Ages are in seconds; ``None``: it never happened."""

    topic_id: str
    range: OffsetRange
    state: str
    dag_id: str = ""
    run_id: str = ""
    read: int = 0
    landed: int = 0
    loaded: int = 0
    quarantined: int = 0
    filtered: int = 0
    replayed: bool = False
    acknowledged: bool = False
    deep_gated: bool = True
    claimed_ago: float = 0.0
    loaded_ago: float | None = None


@dataclass(frozen=True, slots=True)
class RangeRows:
    """What the tables hold of one ledger range: rows, and different offsets among them."""

    rows: int = 0
    offsets: int = 0
    held_rows: int = 0
    held_offsets: int = 0
    both: int = 0
    """Offsets that are in the table and in quarantine."""


@dataclass(frozen=True, slots=True)
class Stray:
    """Rows that no ledger range covers. ``range`` is the hull of those between two ranges."""

    topic_id: str
    range: OffsetRange
    rows: int
    held_rows: int


RangeKey = tuple[str, int, int]
"""Topic id, partition, start."""


@dataclass(frozen=True, slots=True)
class TableRows:
    """Snowflake's rows, by ledger range; ranges without rows may be left out."""

    by_range: Mapping[RangeKey, RangeRows] = field(default_factory=dict)
    strays: tuple[Stray, ...] = ()


@dataclass(frozen=True, slots=True)
class SeenFile:
    """A file below the landing root: path relative to it, bytes, seconds since it was written."""

    path: str
    bytes: int
    age: float = 0.0


@dataclass(frozen=True, slots=True)
class LandingFiles:
    """What is below the landing root of one stream."""

    files: Mapping[str, SeenFile] = field(default_factory=dict)
    """Published files, good and quarantined, by path."""
    manifests: Mapping[str, Manifest | None] = field(default_factory=dict)
    """By path; ``None``: it cannot be read."""
    scratch: tuple[SeenFile, ...] = ()
    rows: Mapping[str, int | None] = field(default_factory=dict)
    """Rows that a file really has, for those whose size is wrong; ``None``: it is no Parquet file."""
    contents: Mapping[str, str] | None = None
    """SHA-256 of what is in the files that were read whole, by path; ``None``: that was not asked for."""
    began: float = 0.0
    """When the listing began, by the monotonic clock."""
    seconds: float = 0.0
    """From then until the ledger was read: what was loaded meanwhile need not be in the listing."""

    def content_agrees(self, file: LandedFile) -> bool:
        """Whether a file's content is the one that was landed, as far as anybody has looked."""
        return (self.contents or {}).get(file.path, file.sha256) == file.sha256


@dataclass(frozen=True, slots=True)
class DagState:
    """What Airflow and the mirror group say of one DAG that claims from the topic.

    :param before: record read before everything else; ``None``: Airflow has none.
    :param after: record read after everything else: what moved between is no difference.
    :param runs: state of its runs that have a claim; ``None`` for a run that Airflow does not know any more.
    :param mirror: topic id and offset that the group has committed, by partition; ``None``: not looked at.
    """

    dag_id: str
    looked_at: bool = False
    before: ClaimRecord | None = None
    after: ClaimRecord | None = None
    runs: Mapping[str, str | None] = field(default_factory=dict)
    mirror: Mapping[int, tuple[str, int]] | None = None


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds until something that is under way counts as stuck.

    :param load: from the claim of a range to its load.
    :param deep_gate: from the load to the deep gate's decision; 0: the stream has no deep gate.
    :param scratch: age of an unpublished file that nobody writes any more.
    """

    load: float = 3600.0
    deep_gate: float = 86400.0
    scratch: float = 86400.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that was gathered of a stream.

    :param dag_id: the DAG that lands the stream.
    :param bounds: the topic as the broker has it.
    :param dags: the landing DAG and all others that claim from the topic.
    :param unseen: why a place was not looked at.
    :param now: when the evidence was gathered, seconds since the epoch.
    """

    stream: str
    topic: str
    dag_id: str
    bounds: TopicBounds | None = None
    ledger: tuple[LedgerRange, ...] | None = None
    rows: TableRows | None = None
    landing: LandingFiles | None = None
    dags: tuple[DagState, ...] = ()
    unseen: Mapping[Place, str] = field(default_factory=dict)
    patience: Patience = Patience()
    now: int = 0

    @property
    def topic_id(self) -> str:
        """The present epoch: the broker's, else that of the newest claim; empty if nothing is known."""
        if self.bounds is not None:
            return self.bounds.topic_id
        newest = min(self.ledger or (), key=lambda r: r.claimed_ago, default=None)
        return "" if newest is None else newest.topic_id

    def slice(self, topic_id: str, *ranges: OffsetRange) -> Slice:
        """A slice of the stream's topic."""
        return Slice(self.topic, topic_id, ranges)


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference.

    :param kind: a key of :data:`KINDS`.
    :param owned: the offsets concerned; empty where it is not about offsets.
    :param said: what each side says, in words.
    :param run: ``(dag_id, run_id)`` of the claim concerned.
    :param path: file or manifest concerned.
    """

    kind: str
    owned: Slice
    said: str
    run: tuple[str, str] = ("", "")
    path: str = ""

    @property
    def severity(self) -> Severity:
        """Notes are worth knowing and break nothing."""
        return "note" if self.kind in NOTES else "difference"


KINDS: Final[Mapping[str, str]] = {
    "ledger_gap": "offsets between claimed ranges that no ledger row covers",
    "ledger_overlap": "two ledger rows cover the same offsets",
    "not_loaded": "claimed, but never loaded: the run failed or is gone",
    "counts_do_not_add_up": "a ledger row breaks read = landed + quarantined + filtered, or landed = loaded",
    "lost_not_acknowledged": "retention took a range; nobody has acknowledged the loss",
    "lost_without_record": "retention took offsets that no ledger row covers",
    "old_epoch": "ranges of the topic as it was before it was created again",
    "position_behind": "the position is before what the ledger says was claimed: it would be read twice",
    "position_ahead": "the position is beyond the ledger: a claimed range is not recorded",
    "position_of_old_epoch": "the topic was created again; the next run begins the new one at its start",
    "log_cut": "the topic ends before the position: the broker lost messages, and gives out their offsets",
    "run_failed": "a DAG without a ledger claimed a range, and its run failed",
    "mirror_missing": "the mirror group has no position",
    "mirror_behind": "the mirror group is behind the position",
    "mirror_ahead": "the mirror group is ahead of the position: a restore would skip messages",
    "mirror_of_old_epoch": "the mirror group's position belongs to another topic id",
    "file_missing": "a landing file is not there",
    "file_edited": "a landing file is not the one that was landed",
    "file_without_manifest": "a landing file that no manifest names",
    "manifest_unreadable": "a manifest is not one",
    "manifest_disagrees": "a manifest counts otherwise than table and ledger, which agree",
    "manifest_without_ledger": "a landed slice that the ledger does not know",
    "scratch_files": "unpublished files that nobody writes any more",
    "rows_missing": "fewer messages in the table than were loaded",
    "rows_surplus": "more messages in the table than were landed",
    "ledger_miscounts": "table and manifest agree; the ledger has another count",
    "duplicate_rows": "a message is in the table, or in quarantine, more than once",
    "in_both": "a message is in the table and in quarantine",
    "stranger_rows": "rows of offsets that no ledger row covers",
    "quarantine_count": "the quarantine holds another number of messages than the ledger says",
    "deep_gate_waits": "loaded long ago, and not judged by the deep gate",
}
"""Every kind of finding, and what it means."""

NOTES: Final = frozenset({"old_epoch", "position_of_old_epoch"})

CHECKS: Final[Mapping[str, tuple[tuple[Place, ...], tuple[str, ...]]]] = {
    "the ledger tiles the topic": (
        ("ledger",),
        ("ledger_gap", "ledger_overlap", "lost_without_record", "old_epoch"),
    ),
    "claimed ranges are loaded": (("ledger",), ("not_loaded",)),
    "counts add up": (("ledger",), ("counts_do_not_add_up", "ledger_miscounts")),
    "losses are acknowledged": (("ledger",), ("lost_not_acknowledged",)),
    "deep gate has judged": (("ledger",), ("deep_gate_waits",)),
    "position and ledger agree": (
        ("airflow", "ledger"),
        ("position_behind", "position_ahead", "position_of_old_epoch", "log_cut", "run_failed"),
    ),
    "mirror group and position agree": (
        ("mirror",),
        ("mirror_missing", "mirror_behind", "mirror_ahead", "mirror_of_old_epoch"),
    ),
    "landing files are as landed": (
        ("landing", "ledger"),
        ("file_missing", "file_edited", "file_without_manifest", "scratch_files"),
    ),
    "manifests and ledger agree": (
        ("landing", "ledger"),
        ("manifest_unreadable", "manifest_disagrees", "manifest_without_ledger"),
    ),
    "every message is in one place, once": (
        ("snowflake", "ledger"),
        ("rows_missing", "rows_surplus", "duplicate_rows", "in_both", "stranger_rows", "quarantine_count"),
    ),
}
"""The lines of the audit's table: the places that it needs, and the kinds that break it."""
