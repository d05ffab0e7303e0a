"""Every error this package raises on purpose.

::

    MadHatterError
    ├── TransientError            a retry can help
    │   ├── BrokerError           Kafka did not answer, or not in time
    │   ├── RegistryUnavailable   the schema registry did not answer
    │   ├── SnowflakeUnavailable  Snowflake did not answer, or asked to slow down
    │   ├── WorkerDied            a process of a landing ended without a word
    │   ├── StorageError          the landing root cannot be written or read: disk full, no right, no answer
    │   └── LoadTimeout           files were handed over but did not become rows in time
    └── TerminalError             a retry sees the same thing
        ├── ConfigurationError    a connection, an option or a missing package  (also ValueError)
        ├── ContractError         the contract itself is wrong                  (also ValueError)
        ├── TopicError            the topic does not exist or may not be read
        ├── LostRangeError        retention overran the position
        ├── StateLostError        the position is gone and must not be guessed
        ├── ConservationError     read ≠ landed + quarantined, or landed ≠ loaded
        ├── LoadError             Snowflake refused a file
        ├── SqlError              Snowflake refused a statement
        ├── GateFailed            a critical quality rule failed
        ├── JobError              a Dataflow job ended in the wrong state
        ├── ServiceError          a service of the local platform did not start, or did not end
        └── AlertError            a fraud alert breaks its contract             (also ValueError)

Each says what happened, where, and the remedy. ``transient`` drives the retry policy of tasks.
"""

from __future__ import annotations


class MadHatterError(Exception):
    """Base of the tree.

    :param what: what happened, one sentence.
    :param where: the stream, topic, file, connection or statement concerned.
    :param remedy: what a person can do about it.
    """

    transient: bool = False

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        self.what, self.where, self.remedy = what, where, remedy
        super().__init__(what, where, remedy)

    def __str__(self) -> str:
        parts = [self.what]
        if self.where:
            parts.append(f"Where: {self.where}")
        if self.remedy:
            parts.append(f"Remedy: {self.remedy}")
        return "\n".join(parts)

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.what, self.where, self.remedy))


def _rebuild(cls: type[MadHatterError], what: str, where: str, remedy: str) -> MadHatterError:
    return cls(what, where=where, remedy=remedy)


class TransientError(MadHatterError):
    """A retry can help."""

    transient = True


class BrokerError(TransientError):
    """Kafka did not answer, or not in time."""


class RegistryUnavailable(TransientError):
    """The schema registry did not answer, or asked to slow down."""


class SnowflakeUnavailable(TransientError):
    """Snowflake did not answer, or asked to slow down."""


class WorkerDied(TransientError):
    """A process of a landing ended without a word, killed for its memory, say."""


class StorageError(TransientError):
    """Files of the landing root, or others, cannot be written or read. A retry helps once there is room."""


class LoadTimeout(TransientError):
    """Files were handed over but did not become rows in time."""


class TerminalError(MadHatterError):
    """A retry sees the same thing."""


class ConfigurationError(TerminalError, ValueError):
    """A connection, an option or a missing package."""


class ContractError(TerminalError, ValueError):
    """The contract itself is wrong."""


class TopicError(TerminalError):
    """The topic does not exist or may not be read."""


class LostRangeError(TerminalError):
    """Retention overran the position: messages are gone."""


class StateLostError(TerminalError):
    """The position is gone and must not be guessed."""


class ConservationError(TerminalError):
    """Counts do not add up: read ≠ landed + quarantined, or landed ≠ loaded."""


class LoadError(TerminalError):
    """Snowflake refused a file."""


class SqlError(TerminalError):
    """Snowflake refused a statement."""


class GateFailed(TerminalError):
    """A critical quality rule failed."""


class JobError(TerminalError):
    """A Dataflow job ended in the wrong state."""


class ServiceError(TerminalError):
    """A service of the local platform did not start, or did not end."""


class AlertError(TerminalError, ValueError):
    """A fraud alert breaks its contract."""
