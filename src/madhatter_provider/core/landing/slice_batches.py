"""The messages of a slice as Arrow record batches, one after the other, for a function that reads them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Literal

from madhatter_provider.core.decoding.decoded import BadRow
from madhatter_provider.core.decoding.decoders import Decoder
from madhatter_provider.core.errors import ConservationError, GateFailed
from madhatter_provider.core.landing.batch import Batch
from madhatter_provider.core.landing.columns import coordinates
from madhatter_provider.core.slices.offsets import Slice

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

OnBad = Literal["fail", "skip"]
_SHOWN = 3


class SliceBatches:
    """An iterator of record batches. Each has rows of one partition, in offset order, with the columns of the
    contract (without one: ``value``, binary) and those of every landed row: ``_topic_id``, ``_partition``,
    ``_offset``, ``_timestamp``, ``_key``, ``_headers``.

    One batch is in memory at a time, unless the reader keeps it.

    :param batches: the messages of the slice.
    :param decoder: types the values by a contract; ``None`` leaves them as they are.
    :param on_bad: what to do with a message that is not what the contract says: ``fail``, or ``skip`` it and
        count it.
    """

    def __init__(
        self, owned: Slice, batches: Iterator[Batch], decoder: Decoder | None = None, on_bad: OnBad = "fail"
    ) -> None:
        self.owned, self.rows, self.skipped = owned, 0, Counter[str]()
        self._decoder, self._on_bad = decoder, on_bad
        self._source = self._read(batches)

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return self

    def __next__(self) -> pa.RecordBatch:
        return next(self._source)

    def finish(self) -> None:
        """Say how much was read.

        :raises ConservationError: not everything was.
        """
        left = next(self._source, None)
        if left is not None:
            raise ConservationError(
                f"The function read {self.rows - left.num_rows} rows and left the rest of its slice unread",
                where=str(self.owned),
                remedy="Read the iterator to its end (`for batch in batches: …`): what a run leaves unread "
                "no later run reads. To leave messages out on purpose, read them and do nothing.",
            )
        if self.skipped:
            counts = ", ".join(f"{rule}: {n}" for rule, n in sorted(self.skipped.items()))
            log.warning("Skipped %d messages that break the contract (%s)", self.skipped.total(), counts)
        log.info("Read %d rows of %s", self.rows, self.owned)

    def close(self) -> None:
        """Stop reading."""
        self._source.close()

    def _read(self, batches: Iterator[Batch]) -> Generator[pa.RecordBatch]:
        for batch in batches:
            if len(batch):
                rows = self._rows(batch)
                if rows.num_rows:
                    self.rows += rows.num_rows
                    yield rows

    def _rows(self, batch: Batch) -> pa.RecordBatch:
        import pyarrow as pa

        columns: dict[str, pa.Array]
        if self._decoder is None:
            columns = {"value": pa.array(batch.values, pa.binary())}
        else:
            decoded = self._decoder.decode(batch.values)
            if decoded.bad:
                self._judge(batch, decoded.bad)
            batch = batch.pick(decoded.good)
            table = decoded.table.combine_chunks()
            columns = {name: _one_chunk(table.column(name)) for name in table.schema.names}
        return pa.RecordBatch.from_pydict({**columns, **coordinates(self.owned.topic_id, batch)})

    def _judge(self, batch: Batch, bad: list[BadRow]) -> None:
        if self._on_bad == "fail":
            shown = "; ".join(
                f"{batch.partition}:{batch.offsets[b.index]} {b.rule}: {b.column or 'message'} {b.reason}"
                for b in bad[:_SHOWN]
            )
            raise GateFailed(
                f"{len(bad)} of {len(batch)} messages are not what the contract says, among them {shown}",
                where=str(self.owned),
                remedy="Mend the contract and clear this task (it reads the same messages), or set "
                'on_bad="skip" to leave such messages out.',
            )
        self.skipped.update(b.rule for b in bad)


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    import pyarrow as pa

    return column.chunk(0) if column.num_chunks else pa.array([], column.type)
