"""Step 3 of the protocol as the transfers do it: land once, say how it goes, count it."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator
from typing import TYPE_CHECKING

from madhatter_provider.core.errors import ConfigurationError, LostRangeError
from madhatter_provider.core.landing.land import Landing, files_amiss, land_written, landed_before
from madhatter_provider.core.landing.progress import Progress
from madhatter_provider.core.landing.range_writer import Written, write_slice

if TYPE_CHECKING:
    from madhatter_provider.core.landing.manifest import Manifest
    from madhatter_provider.core.landing.scratch import Scratch
    from madhatter_provider.hooks.kafka import KafkaSliceHook

log = logging.getLogger(__name__)


def checked_processes(processes: int) -> int:
    """The number given.

    :raises ConfigurationError: it is less than one.
    """
    if processes < 1:
        raise ConfigurationError(f"processes={processes}", remedy="Give a number of at least 1.")
    return processes


def land_slice(
    job: Landing, kafka: KafkaSliceHook, *, processes: int = 1, loaded_is_enough: bool = False
) -> Manifest:
    """Land a slice, if it is not landed already.

    :param processes: processes that read and write side by side.
    :param loaded_is_enough: if files of an earlier landing are gone and Kafka no longer has the messages, go
        on with the manifest: a later step proves that the rows were loaded before.
    :raises LostRangeError: they are gone from both, and that is not enough.
    """
    done = landed_before(job)
    amiss = files_amiss(job, done) if done else []
    if done and not amiss:
        log.info("Landed before: %d rows, %d quarantined of %s", done.landed, done.quarantined, done.slice)
        return done
    if amiss:
        log.warning("Someone changed the landing root, so the slice is landed again: %s", "; ".join(amiss))
    try:
        return _land(job, kafka, processes)
    except LostRangeError as err:
        if not (done and amiss):
            raise
        if loaded_is_enough:
            log.warning("Kafka no longer has the slice either; if it was loaded before, that is no loss")
            return done
        raise LostRangeError(
            f"Landing files are gone or changed, and so are their messages in Kafka: {'; '.join(amiss)}",
            where=f"{job.store}, slice {job.owned}",
            remedy="Restore the files from a backup; if their rows are loaded, go on with the next task.",
        ) from err


def _land(job: Landing, kafka: KafkaSliceHook, processes: int) -> Manifest:
    began, progress = time.monotonic(), Progress(len(job.owned), log.info)
    batches = kafka.read(job.owned)  # refuses a slice of another epoch before anything is read

    def write(scratch: Scratch) -> Generator[Written]:
        if processes == 1 or len(job.owned.ranges) < 2:
            return write_slice(job.writing, progress.watch(batches), scratch)
        from madhatter_provider.hooks.landing_processes import write_in_processes

        return write_in_processes(
            job.writing, kafka.config, processes, scratch, where=kafka.kafka_config_id, on_read=progress.add
        )

    manifest = land_written(job, write)
    seconds = time.monotonic() - began
    log.info("Landed %d rows, quarantined %d of %s", manifest.landed, manifest.quarantined, manifest.slice)
    log.info("%s", progress.line(seconds))
    _count(manifest, seconds)
    return manifest


def _count(manifest: Manifest, seconds: float) -> None:
    """Metrics, if the deployment collects any. They are no reason to fail: the slice is landed."""
    from airflow.sdk.observability import stats

    stream = manifest.stream
    try:
        stats.incr(f"madhatter.landing.rows.{stream}", manifest.landed)
        stats.incr(f"madhatter.landing.quarantined.{stream}", manifest.quarantined)
        stats.incr(f"madhatter.landing.bytes.{stream}", sum(f.bytes for f in manifest.files))
        stats.timing(f"madhatter.landing.seconds.{stream}", seconds * 1000)
    except Exception as err:
        log.warning("Metrics of the landing were not taken: %s", err)
