"""Judge quarantined messages again, after a contract or a rule was mended.

The messages are taken from ``RAW.QUARANTINE``: their raw bytes are there. Steps, each safe to repeat with the
same id:

1. Find the loaded ranges of the stream; rows of a run that is still at work are left to it.
2. Record the replay.
3. Decode the chosen messages by the contract as it is now; good and bad rows are landed below
   ``replay/<id>/``.
4. Load both into staging tables; prove that every message is there once.
5. In one transaction: messages that pass move to RAW's table, those that do not stay, with their new reason.
6. Judge the ledger's ranges that got rows by the fast gate, record it, tidy up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from madhatter_provider.core.crash_points import reached
from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.core.landing.land import land, landed_before
from madhatter_provider.core.landing.manifest import Manifest
from madhatter_provider.core.landing.row_encoding import row_encoder
from madhatter_provider.core.replay import quarantine
from madhatter_provider.core.replay import record as replay_record
from madhatter_provider.core.replay.job import Replayed, Replaying, by_epoch, finish
from madhatter_provider.core.replay.quarantine import Selection
from madhatter_provider.core.replay.record import Requested
from madhatter_provider.core.replay.staging import swap
from madhatter_provider.core.slices.offsets import Slice
from madhatter_provider.core.warehouse import ledger


@dataclass(frozen=True, slots=True)
class QuarantinePlan:
    """What a replay would do: messages that pass now, and those that stay, by rule."""

    stream: str
    passing: int
    staying: dict[str, int]
    untouched: int
    """Chosen rows of ranges that are not loaded yet."""

    def lines(self) -> Iterator[str]:
        """The plan in words."""
        yield f"Of {self.passing + sum(self.staying.values())} quarantined messages of {self.stream}:"
        yield f"  {self.passing} pass and move to RAW"
        for rule, n in sorted(self.staying.items(), key=lambda item: (-item[1], item[0])):
            yield f"  {n} stay: {rule}"
        if self.untouched:
            yield f"  {self.untouched} more belong to runs that have not loaded their slice yet"


def plan_quarantine(job: Replaying, chosen: Selection) -> QuarantinePlan:
    """Decode the chosen messages and count; nothing is written."""
    passing, rules = 0, Counter[str]()
    for owned in by_epoch(quarantine.settled_ranges(job.sql, chosen.stream)):
        encoder = row_encoder(job.landing(owned).writing)
        for batch in quarantine.messages(job.sql, chosen, owned):
            encoded = encoder.encode(batch)
            passing += len(encoded.rows)
            rules.update(bad.rule for bad in encoded.bad)
    held = sum(h.rows for h in quarantine.count_by_rule(job.sql, chosen))
    return QuarantinePlan(chosen.stream, passing, dict(rules), max(0, held - passing - rules.total()))


def replay_quarantine(job: Replaying, chosen: Selection, *, reason: str, who: str) -> Replayed:
    """All steps, or those that an earlier try left.

    :raises ConfigurationError: no reason is given, or the id belongs to another replay.
    """
    if not reason.strip():
        raise ConfigurationError("A replay needs a reason", remedy="Say why in a few words.")
    wanted = Requested(job.id, "quarantine", chosen.stream, None, None, chosen.to_json())
    known = replay_record.find(job.sql, job.id)
    if known is not None and known.state != "begun":
        known.refuse_unless(wanted)
        return finish(job, "quarantine")
    epochs = by_epoch(quarantine.settled_ranges(job.sql, chosen.stream))
    replay_record.begin(job.sql, job.contract, wanted, reason, who)
    reached("quarantine.after_begin")
    landed = [_land(job, chosen, owned) for owned in epochs]
    reached("quarantine.after_land")
    _stage(job, landed)
    reached("quarantine.after_stage")
    job.sql.transact(swap(job.staging, None, _touched(job)), repeatable=True)
    reached("quarantine.after_swap")
    return finish(job, "quarantine")


def _land(job: Replaying, chosen: Selection, owned: Slice) -> Manifest:
    """Step 3."""
    landing = job.landing(owned)
    manifest = landed_before(landing) or land(landing, quarantine.messages(job.sql, chosen, owned))
    job.log(
        f"Epoch {owned.topic_id}: of {manifest.read} messages {manifest.landed} pass, "
        f"{manifest.quarantined} stay"
    )
    return manifest


def _stage(job: Replaying, landed: Sequence[Manifest]) -> None:
    """Step 4."""
    job.staging.make()
    job.staging.copy_landed(landed)
    job.staging.check()


def _touched(job: Replaying) -> list[Slice]:
    """The ledger's ranges that get rows."""
    found = job.sql.execute(
        "SELECT DISTINCT l.TOPIC, l.TOPIC_ID, l.PARTITION_ID, l.START_OFFSET, l.END_OFFSET "
        f"FROM {ledger.TABLE} AS l JOIN {job.staging.rows} AS r ON r._TOPIC_ID = l.TOPIC_ID "
        "AND r._PARTITION = l.PARTITION_ID AND r._OFFSET >= l.START_OFFSET AND r._OFFSET < l.END_OFFSET "
        "WHERE l.STREAM = ? AND l.STATE = 'loaded'",
        [job.contract.stream],
    )
    return by_epoch(found)
