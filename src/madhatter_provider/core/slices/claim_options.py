"""How a DAG claims: where its first run begins, how much one run takes, what to do when the position is lost.
Checked where a DAG file is parsed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol, get_args

from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.core.slices.claims import TopicBounds

Start = str | Mapping[int, int]
OnStateLost = Literal["restore", "fail", "start"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimOptions:
    """What an author may choose.

    :param topic: topic to claim from.
    :param start: where the first run begins: ``earliest``, ``latest``, an ISO-8601 time with zone, or
        ``{partition: offset}`` (partitions that are not named begin at their log start).
    :param max_messages: most offsets that one run claims.
    :param max_bytes: about the most bytes of keys, values and headers that one run claims, estimated from the
        first messages of each partition; at least one message.
    :param on_state_lost: what to do when Airflow has lost the position, see
        :class:`madhatter_provider.core.runs.claiming.Claiming`.
    :raises ConfigurationError: one of them means nothing.
    """

    topic: str
    start: Start = "earliest"
    max_messages: int | None = None
    max_bytes: int | None = None
    on_state_lost: OnStateLost = "restore"

    def __post_init__(self) -> None:
        if isinstance(self.start, Mapping):
            object.__setattr__(self, "start", _offsets(self.start, self._place))
        elif self.start not in ("earliest", "latest"):
            _moment(self.start, self._place)
        for name in ("max_messages", "max_bytes"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise ConfigurationError(
                    f"{name}={value!r} would claim nothing",
                    where=self._place,
                    remedy="Give a whole number of at least 1, or leave it out.",
                )
        if self.on_state_lost not in get_args(OnStateLost):
            raise ConfigurationError(
                f"on_state_lost={self.on_state_lost!r} is not understood",
                where=self._place,
                remedy=f"Use one of {', '.join(get_args(OnStateLost))}.",
            )

    @property
    def _place(self) -> str:
        return f"topic {self.topic}"


class Times(Protocol):
    """Who knows which offset belongs to a time."""

    def offsets_at(self, topic: str, partitions: list[int], timestamp_ms: int) -> Mapping[int, int]:
        """First offset at or after a time, per partition; the end where there is none."""


def first_offsets(options: ClaimOptions, bounds: TopicBounds, times: Times) -> dict[int, int]:
    """The offset of each partition that ``start`` means.

    An offset below the log start stays: what retention has deleted since is lost, and said to be.

    :raises ConfigurationError: ``start`` names a partition that is not there, or an offset beyond its end.
    """
    start = options.start
    if start == "earliest":
        return dict(bounds.starts)
    if start == "latest":
        return dict(bounds.ends)
    if isinstance(start, Mapping):
        for p, offset in start.items():
            end = bounds.ends.get(p)
            if end is None or offset > end:
                raise ConfigurationError(
                    f"start={{{p}: {offset}}}, but "
                    + (f"partition {p} does not exist" if end is None else f"partition {p} ends at {end}"),
                    where=f"topic {bounds.topic}",
                    remedy=f"The topic's ends are {dict(sorted(bounds.ends.items()))}.",
                )
        return {**bounds.starts, **start}
    at = int(_moment(start, f"topic {bounds.topic}").timestamp() * 1000)
    found = times.offsets_at(bounds.topic, sorted(bounds.ends), at)
    # Beyond the last stable end there is nothing to start from yet.
    return {p: min(found.get(p, end), end) for p, end in bounds.ends.items()}


def _offsets(start: Mapping[int, int], where: str) -> dict[int, int]:
    """With whole numbers as keys, also if they came as JSON."""
    try:
        offsets = {int(p): int(offset) for p, offset in start.items()}
    except (TypeError, ValueError):
        offsets = {-1: -1}
    if any(p < 0 or offset < 0 for p, offset in offsets.items()):
        raise ConfigurationError(
            f"start={dict(start)!r} is not understood",
            where=where,
            remedy="Give partitions and offsets as whole numbers, such as {0: 1200, 1: 900}.",
        )
    return offsets


def _moment(start: str, where: str) -> datetime:
    try:
        moment = datetime.fromisoformat(start)
    except (TypeError, ValueError) as err:
        raise ConfigurationError(
            f"start={start!r} is not understood",
            where=where,
            remedy="Use earliest, latest, an ISO-8601 time with zone, or {partition: offset}.",
        ) from err
    if moment.tzinfo is None:
        raise ConfigurationError(
            f"start={start!r} has no time zone", where=where, remedy="Add Z or an offset such as +01:00."
        )
    return moment
