"""What holds of every decoder of messages."""

from __future__ import annotations

from collections.abc import Sequence

from madhatter_provider.core.decoding.decoders import Decoder

Bad = tuple[bytes | None, str, str | None]
"""A message that is not taken, the rule that says so, and its column."""


def assert_says_why(decoder: Decoder, bad: Bad, *, between: tuple[bytes, bytes]) -> None:
    """A bad message is told with rule and reason; the good ones around it are taken."""
    value, rule, column = bad
    decoded = decoder.decode([between[0], value, between[1]])
    assert decoded.good == [0, 2]
    assert [(b.index, b.rule, b.column) for b in decoded.bad] == [(1, rule, column)]
    assert decoded.bad[0].reason


def assert_each_judged_alone(decoder: Decoder, values: Sequence[bytes | None]) -> None:
    """What becomes of a message does not depend on those beside it."""
    together = decoder.decode(values)
    for i, value in enumerate(values):
        alone = decoder.decode([value])
        assert [b.rule for b in together.bad if b.index == i] == [b.rule for b in alone.bad]
        assert (i in together.good) == bool(alone.good)
        if alone.good:
            assert together.table.slice(together.good.index(i), 1).to_pylist() == alone.table.to_pylist()
