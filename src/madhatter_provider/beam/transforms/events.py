"""From messages to what the rest of the job works on:

valid events of customers, and amounts to add up per minute.
"""

# Beam reads annotations at run time, so their evaluation is not postponed in this module.
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import apache_beam as beam
import msgspec
from apache_beam.metrics.metric import Metrics
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.window import TimestampedValue

from madhatter_provider.core.contracts.contract import Contract
from madhatter_provider.core.decoding.row_reader import RowReader
from madhatter_provider.core.fraud.rules import event_of

CUSTOMER_EVENTS = "customer_events"
MEASURES = "measures"
# metric, dimension; number of events and their value
Measure = tuple[tuple[str, str], tuple[int, float]]


# The types choose the coders of the keys.
_Output = (
    TaggedOutput[Literal["customer_events"], tuple[str, bytes]] | TaggedOutput[Literal["measures"], Measure]
)


class ReadRows(beam.DoFn):
    """(topic, value) in, two outputs: (customer id, event) for the fraud rules and measures for the
    aggregates.

    Rows that break their contract are counted and dropped: the landing of the same topic quarantines them.
    Event times are the rows' own.
    """

    def __init__(self, contracts: Mapping[str, Contract]) -> None:
        self._contracts = dict(contracts)
        self._streams = {contract.topic: stream for stream, contract in contracts.items()}
        self._valid = {stream: Metrics.counter("rows", f"valid_{stream}") for stream in contracts}
        self._invalid = {stream: Metrics.counter("rows", f"invalid_{stream}") for stream in contracts}

    def setup(self) -> None:
        self._reader = RowReader(self._contracts)
        self._encoder = msgspec.msgpack.Encoder()

    def process(self, element: tuple[str, bytes]) -> Iterator[_Output]:
        stream = self._streams[element[0]]
        try:
            row = self._reader.read(stream, element[1])
        except ValueError:
            self._invalid[stream].inc()
            return
        self._valid[stream].inc()
        when = row.event_time.timestamp()
        found = event_of(stream, row)
        if found is not None:
            event = self._encoder.encode(found[1])
            yield _tagged(CUSTOMER_EVENTS, (found[0], event), when)
        measure = measure_of(stream, row)
        if measure is not None:
            yield _tagged(MEASURES, measure, when)


def _tagged(tag: str, value: Any, when: float) -> Any:
    return TaggedOutput(tag, TimestampedValue(value, when))


def measure_of(stream: str, row: Any) -> Measure | None:
    """What a row adds to the aggregates, if anything."""
    if stream == "transactions":
        return ("declined" if row.status == "declined" else "sales", row.country), (1, row.amount)
    if stream == "clicks":
        return ("page_views", row.country), (1, 1.0)
    if stream == "system_logs" and row.action == "login_failed":
        return ("login_failures", row.service), (1, 1.0)
    return None
