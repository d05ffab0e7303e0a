"""One-minute aggregates of measures, as rows of contract ``stream_metrics``."""

# Beam reads annotations at run time, so their evaluation is not postponed in this module.
import time
from collections.abc import Iterable
from typing import Any

import apache_beam as beam
import msgspec
from apache_beam.pvalue import PCollection
from apache_beam.transforms.ptransform import PTransform
from apache_beam.transforms.trigger import AccumulationMode, AfterCount, AfterWatermark
from apache_beam.transforms.window import FixedWindows
from apache_beam.utils.timestamp import Duration

from madhatter_provider.beam.transforms.events import Measure
from madhatter_provider.core.timestamps import format_timestamp

_WINDOW_SECONDS = 60
_LATE_SECONDS = 600

_Sum = tuple[int, float]


class AddUp(beam.CombineFn):
    """Sums of (events, value)."""

    def create_accumulator(self) -> _Sum:
        return 0, 0.0

    def add_input(self, accumulator: _Sum, element: _Sum) -> _Sum:
        return accumulator[0] + element[0], accumulator[1] + element[1]

    def merge_accumulators(self, accumulators: Iterable[_Sum]) -> _Sum:
        events, value = 0, 0.0
        for more in accumulators:
            events, value = events + more[0], value + more[1]
        return events, value

    def extract_output(self, accumulator: _Sum) -> _Sum:
        return accumulator


class AggregateMinutes(PTransform[PCollection[Measure], PCollection[bytes]]):
    """Measures to JSON rows, one per minute, metric and dimension.

    A row comes when the watermark passes the minute, and again, complete, for events up to ten minutes late.
    """

    def expand(self, measures: PCollection[Measure]) -> PCollection[bytes]:
        rows: PCollection[bytes] = (
            measures
            | "Minute"
            >> beam.WindowInto(
                FixedWindows(_WINDOW_SECONDS),
                trigger=AfterWatermark(late=AfterCount(1)),
                accumulation_mode=AccumulationMode.ACCUMULATING,
                allowed_lateness=Duration(_LATE_SECONDS),
            )
            | "Add up" >> beam.CombinePerKey(AddUp())
            | "Row" >> beam.Map(metric_row)
        )
        return rows


def metric_row(element: tuple[tuple[str, str], _Sum], window: Any = beam.DoFn.WindowParam) -> bytes:
    """The JSON row of one aggregate."""
    (metric, dimension), (events, value) = element
    start = format_timestamp(float(window.start))
    row = {
        "metric_id": f"{metric}|{start}|{dimension}",
        "emitted_time": format_timestamp(time.time()),
        "window_start": start,
        "window_end": format_timestamp(float(window.end)),
        "metric": metric,
        "dimension": dimension,
        "events": events,
        "value": round(value, 2),
    }
    return msgspec.json.encode(row)
