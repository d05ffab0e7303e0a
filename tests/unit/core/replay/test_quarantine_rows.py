"""What is written to quarantine files can be read as the messages that it was."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from madhatter_provider.core.contracts.contract import load_contract
from madhatter_provider.core.decoding.json_messages import BadRow
from madhatter_provider.core.landing.batch import Batch
from madhatter_provider.core.landing.columns import quarantine_table
from madhatter_provider.core.landing.writing import Writing
from madhatter_provider.core.replay.quarantine_rows import from_files
from madhatter_provider.core.slices.offsets import OffsetRange, Slice

CONTRACT = load_contract(Path(__file__).parents[4] / "include/contracts/searches.odcs.yaml")
OWNED = Slice("searches", "T1", (OffsetRange(0, 0, 100),))
anything = st.one_of(st.none(), st.binary(max_size=20))
messages = st.tuples(
    st.integers(-1, 4_000_000_000_000),
    anything,
    anything,
    st.one_of(st.none(), st.lists(st.tuples(st.text(max_size=5), anything), min_size=1, max_size=3)),
)


class Files:
    """A store that holds one file."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def open(self, path: str) -> BytesIO:
        return BytesIO(self._content)


@given(st.lists(messages, min_size=1, max_size=5))
def test_nothing_is_lost_on_the_way(sent: list[tuple[int, bytes | None, bytes | None, Any]]) -> None:
    times, keys, values, headers = (list(column) for column in zip(*sent, strict=True))
    batch = Batch(0, list(range(len(sent))), times, keys, values, headers)
    bad = [BadRow(i, "rule", "reason") for i in range(len(sent))]
    file = BytesIO()
    pq.write_table(quarantine_table(Writing(CONTRACT, OWNED, "r1"), batch, bad), file)
    store: Any = Files(file.getvalue())
    (read,) = from_files(store, [(OffsetRange(0, 0, 100), ["a file"])])
    assert read == batch
    (rest,) = from_files(store, [(OffsetRange(0, len(sent) - 1, 100), ["a file"])])
    assert rest.values == values[-1:]
