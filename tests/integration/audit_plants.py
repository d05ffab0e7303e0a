"""Divergences to plant in a stream, and what the audit says of each."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from madhatter_provider.core.slices.claims import ClaimRecord
from madhatter_provider.core.slices.state import mirror_group
from madhatter_provider.hooks.kafka import KafkaSliceHook

from .audited_stream import AuditedStream, edited


def of(stream: AuditedStream, run_id: str) -> str:
    partition, start, end = stream.row_of(run_id)
    return f"_PARTITION = {partition} AND _OFFSET >= {start} AND _OFFSET < {end}"


def ledger_of(stream: AuditedStream, run_id: str) -> str:
    return f"STREAM = '{stream.stream}' AND RUN_ID = '{run_id}'"


def forget(stream: AuditedStream, run: str, *, rows: bool, files: bool) -> None:
    where = of(stream, run)
    if rows:
        stream.execute(f"DELETE FROM {{table}} WHERE {where}")
        stream.execute(f"DELETE FROM RAW.QUARANTINE WHERE STREAM = '{{stream}}' AND {where}")
    for file in stream.files(run) if files else ():
        file.unlink()
    stream.execute(f"DELETE FROM OPS.SLICES WHERE {ledger_of(stream, run)}")


def gap(stream: AuditedStream, run: str) -> None:
    forget(stream, run, rows=True, files=True)


def strangers(stream: AuditedStream, run: str) -> None:
    forget(stream, run, rows=False, files=True)


def manifest_without_ledger(stream: AuditedStream, run: str) -> None:
    forget(stream, run, rows=False, files=False)


def overlap(stream: AuditedStream, run: str) -> None:
    stream.execute("UPDATE OPS.SLICES SET END_OFFSET = END_OFFSET + 3 WHERE " + ledger_of(stream, run))


def not_loaded(stream: AuditedStream, run: str) -> None:
    where = of(stream, run)
    stream.execute(f"DELETE FROM {{table}} WHERE {where}")
    stream.execute(
        "UPDATE OPS.SLICES SET STATE = 'claimed', ROWS_READ = NULL, ROWS_LANDED = NULL, ROWS_LOADED = NULL, "
        f"ROWS_QUARANTINED = NULL WHERE {ledger_of(stream, run)}"
    )
    stream.airflow.failed.add(run)


def not_adding_up(stream: AuditedStream, run: str) -> None:
    stream.execute(f"UPDATE OPS.SLICES SET ROWS_READ = 99 WHERE {ledger_of(stream, run)}")


def miscounted(stream: AuditedStream, run: str) -> None:
    counts = ", ".join(f"ROWS_{c} = ROWS_{c} + 1" for c in ("READ", "LANDED", "LOADED"))
    stream.execute(f"UPDATE OPS.SLICES SET {counts} WHERE {ledger_of(stream, run)}")


def rows_missing(stream: AuditedStream, run: str) -> None:
    p, start, _ = stream.row_of(run)
    stream.execute(f"DELETE FROM {{table}} WHERE _PARTITION = {p} AND _OFFSET IN ({start}, {start + 1})")


def rows_surplus(stream: AuditedStream, run: str) -> None:
    """A row under the coordinates of a message that was quarantined and is not in quarantine any more."""
    p, start, _ = stream.row_of(run)
    stream.execute(
        f"INSERT INTO {{table}} SELECT * REPLACE ({start + 3} AS _OFFSET) FROM {{table}} "
        f"WHERE _PARTITION = {p} AND _OFFSET = {start}"
    )
    place = f"_PARTITION = {p} AND _OFFSET = {start + 3}"
    stream.execute(f"DELETE FROM RAW.QUARANTINE WHERE STREAM = '{{stream}}' AND {place}")


def duplicates(stream: AuditedStream, run: str) -> None:
    where = of(stream, run)
    stream.execute(f"INSERT INTO {{table}} SELECT * FROM {{table}} WHERE {where}")
    stream.execute(
        f"INSERT INTO RAW.QUARANTINE SELECT * FROM RAW.QUARANTINE WHERE STREAM = '{{stream}}' AND {where}"
    )


def in_both(stream: AuditedStream, run: str) -> None:
    p, start, _ = stream.row_of(run)
    stream.execute(
        "INSERT INTO RAW.QUARANTINE (STREAM, TOPIC, _TOPIC_ID, _PARTITION, _OFFSET) "
        "SELECT '{stream}', '{stream}', _TOPIC_ID, _PARTITION, _OFFSET FROM {table} "
        f"WHERE _PARTITION = {p} AND _OFFSET = {start}"
    )


def quarantine_count(stream: AuditedStream, run: str) -> None:
    where = of(stream, run)
    stream.execute(f"DELETE FROM RAW.QUARANTINE WHERE STREAM = '{{stream}}' AND {where}")


def file_missing(stream: AuditedStream, run: str) -> None:
    stream.files(run)[0].unlink()


def file_edited(stream: AuditedStream, run: str) -> None:
    stream.files(run)[0].write_bytes(b"not what was landed")


def content_edited(stream: AuditedStream, run: str) -> None:
    file = stream.files(run)[0]
    file.write_bytes(edited(file.read_bytes()))


def manifest_missing(stream: AuditedStream, run: str) -> None:
    stream.files(run)[-1].unlink()


def manifest_unreadable(stream: AuditedStream, run: str) -> None:
    stream.files(run)[-1].write_text("{}")


def manifest_disagrees(stream: AuditedStream, run: str) -> None:
    file = stream.files(run)[-1]
    text = file.read_text()
    assert '"read": 14, "landed": 12' in text
    file.write_text(text.replace('"read": 14, "landed": 12', '"read": 15, "landed": 13'))


def leave_scratch(stream: AuditedStream) -> None:
    folder = stream.snowflake.landing / ".scratch" / "abandoned"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "file"
    file.write_bytes(b"half a file")
    old = time.time() - 2 * 86400
    os.utime(file, (old, old))


def position_behind(stream: AuditedStream, run: str) -> None:
    record = stream.airflow.record(stream.dag_id)
    assert record is not None
    stream.airflow.store(
        stream.dag_id, ClaimRecord(record.topic, record.topic_id, {0: 3, 1: 14}, record.claims)
    )
    set_mirror(stream, {0: 3, 1: 14})


def position_ahead(stream: AuditedStream, run: str) -> None:
    where = of(stream, run)
    stream.execute(f"DELETE FROM {{table}} WHERE {where}")
    stream.execute(f"DELETE FROM RAW.QUARANTINE WHERE STREAM = '{{stream}}' AND {where}")
    for file in stream.files(run):
        file.unlink()
    stream.execute(f"DELETE FROM OPS.SLICES WHERE {ledger_of(stream, run)}")


def set_mirror(stream: AuditedStream, position: dict[int, int], topic_id: str | None = None) -> None:
    KafkaSliceHook().mirror_position(
        mirror_group(stream.dag_id), stream.stream, topic_id or stream.topic_id, position, back=True
    )


def mirror_behind(stream: AuditedStream, run: str) -> None:
    set_mirror(stream, {0: 1, 1: 1})


def mirror_ahead(stream: AuditedStream, run: str) -> None:
    set_mirror(stream, {0: 1000, 1: 1000})


def mirror_of_old_epoch(stream: AuditedStream, run: str) -> None:
    set_mirror(stream, {0: 1000, 1: 1000}, "another-epoch")


Plant = Callable[[AuditedStream, str], None]
OF_RANGES: dict[Plant, set[str]] = {
    gap: {"ledger_gap"},
    strangers: {"stranger_rows"},
    manifest_without_ledger: {"manifest_without_ledger"},
    overlap: {"ledger_overlap"},
    not_loaded: {"not_loaded"},
    not_adding_up: {"counts_do_not_add_up"},
    miscounted: {"ledger_miscounts"},
    rows_missing: {"rows_missing"},
    rows_surplus: {"rows_surplus", "quarantine_count"},
    duplicates: {"duplicate_rows"},
    in_both: {"in_both"},
    quarantine_count: {"quarantine_count"},
    file_missing: {"file_missing"},
    file_edited: {"file_edited"},
    manifest_missing: {"file_without_manifest"},
    manifest_unreadable: {"manifest_unreadable"},
    manifest_disagrees: {"manifest_disagrees"},
}
OF_POSITIONS: dict[Plant, set[str]] = {
    position_behind: {"position_behind"},
    position_ahead: {"position_ahead"},
    mirror_behind: {"mirror_behind"},
    mirror_ahead: {"mirror_ahead"},
    mirror_of_old_epoch: {"mirror_of_old_epoch"},
}
