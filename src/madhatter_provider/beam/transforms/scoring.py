"""Judge each customer's events with the fraud rules:

event by event in streaming, customer by customer in batch.
"""

# Beam reads annotations at run time, so their evaluation is not postponed in this module.
import time
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import msgspec
from apache_beam.coders import BytesCoder
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics.metric import Metrics
from apache_beam.pvalue import PCollection
from apache_beam.transforms.ptransform import PTransform
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.utils.shared import Shared
from apache_beam.utils.timestamp import Duration, Timestamp

from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.core.fraud.alerts import Alert, alert_of
from madhatter_provider.core.fraud.rules import RULE_VERSION, CustomerState, Event, Profile, observe

CustomerEvent = tuple[str, bytes]
_FORGET_SECONDS = 3600


class Profiles(dict[str, Profile]):
    """Profiles by customer id; a class of its own, as plain dicts cannot be shared between workers'
    threads.
    """


def read_profiles(path: str) -> Profiles:
    """Read an NDJSON file of profiles through Beam's file systems.

    :raises ConfigurationError: it cannot be read, or is not a profiles file.
    """
    decoder = msgspec.json.Decoder(Profile)
    try:
        with FileSystems.open(path) as file:
            return Profiles((p.customer_id, p) for p in map(decoder.decode, file.read().splitlines()))
    except (OSError, msgspec.DecodeError) as err:
        raise ConfigurationError(
            f"Cannot read the customers' profiles: {err}",
            where=path,
            remedy="Write them with `madhatter traffic profiles --out FILE`.",
        ) from err


class _Judge(beam.DoFn):
    """Holds what both modes need.

    Profiles are loaded once a process, not once a bundle as a side input would be.
    """

    def __init__(self, profiles: str) -> None:
        self._path = profiles
        self._shared = Shared()
        self._alerts = Metrics.counter("fraud", "alerts")
        self._repeated = Metrics.counter("fraud", "duplicate_events")
        self._unknown = Metrics.counter("fraud", "events_without_profile")

    def setup(self) -> None:
        self._profiles: Profiles = self._shared.acquire(lambda: read_profiles(self._path), tag=self._path)
        self._events = msgspec.msgpack.Decoder(Event)

    def judge(self, customer: str, state: CustomerState, data: bytes) -> Iterator[Alert]:
        event = self._events.decode(data)
        if event.event_id in state.seen:
            self._repeated.inc()
            return
        profile = self._profiles.get(customer)
        if profile is None:
            self._unknown.inc()
        for finding in observe(state, profile, event):
            self._alerts.inc()
            yield alert_of(customer, finding, rule_version=RULE_VERSION, now=time.time())


class ScoreStream(_Judge):
    """(customer id, event) in, alerts out; the customer's state is kept until an hour of silence."""

    STATE = ReadModifyWriteStateSpec("customer", BytesCoder())
    FORGET = TimerSpec("forget", TimeDomain.WATERMARK)
    STATE_CELL = beam.DoFn.StateParam(STATE)
    FORGET_TIMER = beam.DoFn.TimerParam(FORGET)

    def setup(self) -> None:
        super().setup()
        self._states = msgspec.msgpack.Decoder(CustomerState)
        self._encoder = msgspec.msgpack.Encoder()

    def process(
        self,
        element: CustomerEvent,
        when: Any = beam.DoFn.TimestampParam,
        stored: Any = STATE_CELL,
        forget: Any = FORGET_TIMER,
    ) -> Iterator[Alert]:
        customer, event = element
        data = stored.read()
        if data is None:
            state = CustomerState()
            forget.set(when + Duration(_FORGET_SECONDS))
        else:
            state = self._states.decode(data)
        yield from self.judge(customer, state, event)
        stored.write(self._encoder.encode(state))

    @on_timer(FORGET)
    def forget_customer(
        self,
        at: Any = beam.DoFn.TimestampParam,
        stored: Any = STATE_CELL,
        forget: Any = FORGET_TIMER,
    ) -> None:
        """Clear the state of a customer who was silent for an hour; else look again later."""
        data = stored.read()
        if data is None:
            return
        state = self._states.decode(data)
        last = max(
            (e.time for events in (state.payments, state.logins, state.views) for e in events), default=0.0
        )
        if at < Timestamp.of(last + _FORGET_SECONDS):
            forget.set(Timestamp.of(last + _FORGET_SECONDS))
        else:
            stored.clear()


class ScoreBatch(_Judge):
    """(customer id, all events) in, alerts out: the events are judged in event-time order."""

    def process(self, element: tuple[str, Iterable[bytes]]) -> Iterator[Alert]:
        customer, events = element
        decoded = [(self._events.decode(data), data) for data in events]
        decoded.sort(key=lambda pair: (pair[0].time, pair[0].event_id))
        state = CustomerState()
        for _, data in decoded:
            yield from self.judge(customer, state, data)


class ScoreFraud(PTransform[PCollection[CustomerEvent], PCollection[Alert]]):
    """Customer events to alerts.

    :param profiles: path of the profiles file.
    :param streaming: judge each event as it comes.
    """

    def __init__(self, profiles: str, *, streaming: bool) -> None:
        super().__init__()
        self._profiles, self._streaming = profiles, streaming

    def expand(self, events: PCollection[CustomerEvent]) -> PCollection[Alert]:
        judge = beam.ParDo(ScoreStream(self._profiles) if self._streaming else ScoreBatch(self._profiles))
        keyed = events if self._streaming else events | "Customer" >> beam.GroupByKey()
        alerts: PCollection[Alert] = keyed | "Judge" >> judge
        return alerts
