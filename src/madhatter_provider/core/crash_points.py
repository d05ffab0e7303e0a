"""Names for the boundaries between steps, so that a test can end a process at exactly one of them.

Outside of tests a boundary does nothing. A step that is safe to repeat must be so at each of its boundaries:
``tests/integration/test_crash_points.py`` kills a process at every one; the audit's have tests of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

POINTS: Final = (
    "claim.before_store",
    "claim.after_store",
    "claim.after_remember",
    "claim.after_mirror",
    "claim.after_ledger",
    "land.after_row_group",
    "land.before_rename",
    "land.after_rename",
    "land.before_manifest",
    "land.after_manifest",
    "ingest.before_insert",
    "ingest.after_insert",
    "ingest.loaded",
    "ledger.before_loaded",
    "ledger.after_loaded",
    "replay.after_begin",
    "replay.after_kafka",
    "replay.after_files",
    "replay.after_stage",
    "replay.after_swap",
    "replay.after_judge",
    "replay.after_finish",
    "quarantine.after_begin",
    "quarantine.after_land",
    "quarantine.after_stage",
    "quarantine.after_swap",
    "quarantine.after_judge",
    "quarantine.after_finish",
    "audit.after_claim",
    "audit.after_lose",
    "audit.after_copy",
    "audit.after_swap",
)

_on_reached: Callable[[str], None] | None = None


def reached(point: str) -> None:
    """Say that a boundary is reached."""
    if _on_reached is not None:
        _on_reached(point)


def listen(on_reached: Callable[[str], None] | None) -> None:
    """Call a function at every boundary in this process from now on; ``None`` ends that."""
    global _on_reached
    _on_reached = on_reached
