"""Event-time watermark of a topic: the time up to which its partitions have brought their events. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from madhatter_provider.core.warehouse.ledger import TABLE, Statement

# Loaded ranges up to the first that is not: beyond it, nobody knows yet what there is. An event cannot be
# later than the claim of its range: one that says so comes from a wrong clock, and counts as of the claim.
_LOADED: Final = f"""WITH RANGES AS (
  SELECT PARTITION_ID, START_OFFSET, END_OFFSET, STATE,
    IFF(MAX_EVENT_TIME > CLAIMED_AT, CLAIMED_AT, MAX_EVENT_TIME) AS NEWEST
  FROM {TABLE}
  WHERE STREAM = ? AND TOPIC_ID = ? AND STATE <> 'lost'
), UNFINISHED AS (
  SELECT PARTITION_ID, MIN(START_OFFSET) AS AT_OFFSET FROM RANGES WHERE STATE <> 'loaded'
  GROUP BY PARTITION_ID
)
SELECT R.PARTITION_ID, MAX(R.END_OFFSET) AS LOADED_END, MAX(R.NEWEST) AS NEWEST
FROM RANGES AS R LEFT JOIN UNFINISHED AS U ON U.PARTITION_ID = R.PARTITION_ID
WHERE R.STATE = 'loaded' AND (U.AT_OFFSET IS NULL OR R.END_OFFSET <= U.AT_OFFSET)
GROUP BY R.PARTITION_ID"""


def loaded_progress(stream: str, topic_id: str) -> Statement:
    """Query of the ledger: by ``PARTITION_ID`` how far it is loaded without a hole (``LOADED_END``), and the
    newest event time up to there (``NEWEST``), which is never later than the claim that brought it.
    """
    return _LOADED, [stream, topic_id]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one partition has come.

    :param end: its last stable end.
    :param newest: newest event time, Unix seconds; ``None`` where there is none.
    :param behind: are there messages whose event time is not known yet?
    """

    end: int
    newest: float | None
    behind: bool = False


class Watermark:
    """Follows the partitions of one topic.

    :param idle_after: seconds after which a partition without a new message holds nothing back any more;
        ``None``: each is waited for, however long that takes.
    """

    def __init__(self, idle_after: float | None) -> None:
        self.idle_after = idle_after
        self._ends: dict[int, int] = {}
        self._moved_at: dict[int, float] = {}

    def observe(self, partitions: Mapping[int, Progress], now: float) -> float | None:
        """The watermark in Unix seconds; ``None`` while it is not known.

        It is the least of the partitions' newest event times, idle ones left out; where all are idle, the
        time ``idle_after`` ago. A partition is idle if its end was not seen to move for that long. An event
        of the future counts as of ``now``: the watermark never passes it.

        :param now: Unix seconds.
        """
        held = [at for p, at in partitions.items() if not self._idle(p, at, now)]
        if not held:
            return now - (self.idle_after or 0.0)
        known = [min(at.newest, now) for at in held if at.newest is not None]
        return min(known) if len(known) == len(held) else None

    def _idle(self, partition: int, at: Progress, now: float) -> bool:
        if at.behind or self._ends.get(partition) != at.end:
            self._ends[partition], self._moved_at[partition] = at.end, now
        return self.idle_after is not None and now - self._moved_at[partition] >= self.idle_after
