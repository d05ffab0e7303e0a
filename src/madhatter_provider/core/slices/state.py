"""Where positions live in an asset's state store: one record per DAG, and a list of the DAGs that have one.

Each record has one writer, the DAG's claiming task. The list may be written by several; a write that is lost
to a race is repeated at the next claim.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

DAGS_KEY = "slices"


def record_key(dag_id: str) -> str:
    """Key of a DAG's claim record."""
    return f"{DAGS_KEY}:{dag_id}"


def mirror_group(dag_id: str) -> str:
    """Consumer group that mirrors a DAG's position for lag tools, and restores it when Airflow's state is
    gone.
    """
    return f"madhatter.{dag_id}"


@dataclass(frozen=True, slots=True)
class Mirror:
    """What a mirror group holds of a topic: by partition the topic id and the offset. Offsets that somebody
    else has committed there have no topic id.
    """

    committed: Mapping[int, tuple[str, int]]

    def position(self, topic_id: str) -> dict[int, int]:
        """The position in this epoch of the topic; empty if there is none."""
        return {p: offset for p, (epoch, offset) in self.committed.items() if epoch == topic_id}

    def forward(self, topic_id: str, position: Mapping[int, int]) -> dict[int, int]:
        """A position, moved backwards nowhere. It has every partition: Kafka forgets offsets that were not
        committed again for a week (``offsets.retention.minutes``), and must forget all of them or none.
        """
        mirrored = self.position(topic_id)
        return {p: max(mirrored.get(p, 0), position.get(p, 0)) for p in {*mirrored, *position}}

    @property
    def of_other_epochs(self) -> bool:
        """Does it know a topic of this name? Asked when it does not know this epoch."""
        return any(epoch for epoch, _ in self.committed.values())

    @property
    def by_others(self) -> bool:
        """Has somebody else committed there?"""
        return any(not epoch for epoch, _ in self.committed.values())
