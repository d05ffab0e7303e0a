"""The landing step: once, again when someone changed the landing root, and what it says of itself."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from airflow.sdk.observability import stats

from madhatter_provider.core.contracts.contract import load_contract
from madhatter_provider.core.errors import ConfigurationError, LostRangeError
from madhatter_provider.core.landing.batch import Batch
from madhatter_provider.core.landing.land import Landing
from madhatter_provider.core.landing.local_store import LocalStore
from madhatter_provider.core.landing.manifest import Manifest
from madhatter_provider.core.landing.names import landing_path, manifest_path
from madhatter_provider.core.landing.progress import Progress
from madhatter_provider.core.slices.offsets import OffsetRange, Slice
from madhatter_provider.hooks.kafka import KafkaSliceHook
from madhatter_provider.hooks.landing_processes import shares
from madhatter_provider.transfers.kafka_to_object_storage import KafkaToObjectStorageOperator
from madhatter_provider.transfers.landing_step import land_slice

CONTRACT = load_contract(Path(__file__).parents[3] / "include/contracts/searches.odcs.yaml")
OWNED = Slice("searches", "topic-id", (OffsetRange(0, 0, 4),))
GOOD = landing_path("searches", "topic-id", OffsetRange(0, 0, 4))
MANIFEST = manifest_path("searches", OWNED)


class Topic:
    """Reads like the hook does; ``gone`` stands for retention."""

    gone = False
    reads = 0

    def read(self, owned: Slice) -> Iterator[Batch]:
        self.reads += 1
        if self.gone:
            raise LostRangeError("Messages of this slice are gone from the broker")
        row = {
            "event_id": "0000000000000000", "event_time": "2026-11-24T06:00:00Z", "session_id": "s1234567",
            "device_id": "d1234567", "query": "hat", "results": 1, "country": "US", "latency_ms": 1,
        }  # fmt: skip
        values: list[bytes | None] = [json.dumps(row).encode()] * 3
        yield Batch(0, [0, 1, 2, 3], [1] * 4, [None] * 4, [*values, b"oops"], [None] * 4)


@pytest.fixture
def land(tmp_path: Path) -> Callable[..., Manifest]:
    def step(topic: Topic, **options: Any) -> Manifest:
        job = Landing(CONTRACT, OWNED, "run", LocalStore(tmp_path))
        return land_slice(job, cast(KafkaSliceHook, topic), **options)

    return step


def files(root: Path) -> dict[str, bytes]:
    return {str(f.relative_to(root)): f.read_bytes() for f in root.rglob("*") if f.is_file()}


def test_a_landed_slice_is_not_read_again(land: Callable[..., Manifest]) -> None:
    topic = Topic()
    assert land(topic) == land(topic)
    assert topic.reads == 1


@pytest.mark.parametrize(
    "edit",
    [
        lambda root: (root / GOOD).unlink(),
        lambda root: (root / GOOD).write_bytes(b"short"),
        lambda root: (root / "quarantine" / GOOD).unlink(),
        lambda root: (root / MANIFEST).write_bytes(b'{"version": 1, "str'),
        lambda root: (root / MANIFEST).write_bytes(b"\xff"),
        lambda root: (root / MANIFEST).write_bytes(b"[]"),
        lambda root: (root / MANIFEST).write_bytes(
            (root / MANIFEST).read_bytes().replace(b'"end": 4', b'"end": 5')
        ),
    ],
    ids=[
        "file gone",
        "file cut",
        "quarantine gone",
        "manifest torn",
        "bytes",
        "no manifest",
        "another slice",
    ],
)
def test_what_someone_changed_is_mended_while_kafka_has_the_messages(
    tmp_path: Path,
    land: Callable[..., Manifest],
    edit: Callable[[Path], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    topic = Topic()
    manifest, whole = land(topic), files(tmp_path)
    edit(tmp_path)
    assert files(tmp_path) != whole
    with caplog.at_level(logging.WARNING):
        assert land(topic) == manifest
    assert files(tmp_path) == whole
    assert "landed again" in caplog.text


def test_a_foreign_file_under_a_final_name_is_replaced(tmp_path: Path, land: Callable[..., Manifest]) -> None:
    (tmp_path / GOOD).parent.mkdir(parents=True)
    (tmp_path / GOOD).write_bytes(b"someone else's")
    (file, _) = land(Topic()).files
    assert (tmp_path / GOOD).stat().st_size == file.bytes
    assert (tmp_path / GOOD).read_bytes().startswith(b"PAR1")


def test_files_gone_from_both_sides_are_said_with_a_remedy(
    tmp_path: Path, land: Callable[..., Manifest]
) -> None:
    topic = Topic()
    manifest = land(topic)
    (tmp_path / GOOD).unlink()
    topic.gone = True
    with pytest.raises(LostRangeError, match=f"{GOOD} is missing") as caught:
        land(topic)
    assert "backup" in caught.value.remedy
    assert land(topic, loaded_is_enough=True) == manifest


def test_a_manifest_of_a_later_version_is_left_alone(tmp_path: Path, land: Callable[..., Manifest]) -> None:
    topic = Topic()
    land(topic)
    later = (tmp_path / MANIFEST).read_bytes().replace(b'"version": 1', b'"version": 2')
    (tmp_path / MANIFEST).write_bytes(later)
    with pytest.raises(ConfigurationError, match="version 2"):
        land(topic)
    assert (tmp_path / MANIFEST).read_bytes() == later


def test_metrics_are_counted_and_never_needed(
    land: Callable[..., Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: dict[str, float] = {}
    monkeypatch.setattr(stats, "incr", counted.__setitem__)
    monkeypatch.setattr(stats, "timing", counted.__setitem__)
    manifest = land(Topic())
    seconds = counted.pop("madhatter.landing.seconds.searches")
    assert seconds > 0
    assert counted == {
        "madhatter.landing.rows.searches": 3,
        "madhatter.landing.quarantined.searches": 1,
        "madhatter.landing.bytes.searches": sum(f.bytes for f in manifest.files),
    }

    def broken(*_: object) -> None:
        raise OSError("no statsd here")

    monkeypatch.setattr(stats, "incr", broken)
    (tmp_path / MANIFEST).unlink()
    assert land(Topic()) == manifest


def test_progress_is_said_every_ten_seconds() -> None:
    now, said = [0.0], list[str]()
    progress = Progress(100_000, said.append, lambda: now[0])
    for second in range(1, 26):
        now[0] = float(second)
        progress.add(2_000, 1_000_000)
    assert said == [
        "20,000 of 100,000 messages (20%), 10 MB, 2,000 messages/s, 40 s left",
        "40,000 of 100,000 messages (40%), 20 MB, 2,000 messages/s, 30 s left",
    ]
    assert Progress(0, said.append).line(0.0).startswith("0 of 0 messages (100%)")


def test_shares_are_whole_ranges_of_nearly_equal_size() -> None:
    owned = Slice("t", "id", tuple(OffsetRange(p, 0, 10 * (p + 1)) for p in range(5)))
    parts = shares(owned, 2)
    assert sorted(r for part in parts for r in part) == list(owned.ranges)
    assert sorted(len(part) for part in parts) == [70, 80]
    assert [len(part) for part in shares(owned, 99)] == [50, 40, 30, 20, 10]


@pytest.mark.parametrize("options", [{"processes": 0}, {"file_format": "csv"}, {"tombstones": "drop"}])
def test_an_option_that_cannot_be_is_refused_when_the_dag_is_parsed(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        KafkaToObjectStorageOperator(
            task_id="land", owned={}, contract="c", landing_root="file:///r", **options
        )
