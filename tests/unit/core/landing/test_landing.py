"""Landing: conservation, deterministic files, the manifest as commit mark, crashes between steps."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from madhatter_provider.core.contracts.contract import load_contract
from madhatter_provider.core.errors import ConfigurationError, ConservationError, StorageError
from madhatter_provider.core.landing import batch as batch_module
from madhatter_provider.core.landing.land import Batch, Landing, land, landed_before
from madhatter_provider.core.landing.local_store import LocalStore
from madhatter_provider.core.landing.manifest import LandedRange, Manifest
from madhatter_provider.core.landing.scratch import Scratch
from madhatter_provider.core.slices.offsets import OffsetRange, Slice

CONTRACT = load_contract(Path(__file__).parents[4] / "include/contracts/searches.odcs.yaml")
OWNED = Slice("searches", "ABCDEFGH-x", (OffsetRange(0, 10, 40), OffsetRange(1, 0, 5), OffsetRange(2, 7, 9)))


def value(i: int) -> bytes:
    row: dict[str, Any] = {
        "event_id": f"{i:016d}", "event_time": f"2026-11-24T06:00:{i % 60:02d}Z", "session_id": "s1234567",
        "device_id": "d1234567", "query": "hat", "results": i, "country": "US", "latency_ms": 1,
    }  # fmt: skip
    return json.dumps(row).encode()


def messages() -> list[tuple[int, int]]:
    """All (partition, offset) of the slice but one, a hole such as a transaction marker."""
    return [(r.partition, o) for r in OWNED for o in range(r.start, r.end) if (r.partition, o) != (0, 39)]


def batch(places: list[tuple[int, int]]) -> Iterator[Batch]:
    for partition in dict.fromkeys(p for p, _ in places):
        offsets = [o for p, o in places if p == partition]
        values = [b"oops" if o % 7 == 0 else value(o) for o in offsets]
        times = [1_700_000_000_000 + o for o in offsets]
        n = len(offsets)
        yield Batch(partition, offsets, times, [b"k"] * n, list(values), [[("h", b"v")]] * n)


def batches(sizes: list[int]) -> Iterator[Batch]:
    left = messages()
    for n in sizes:
        yield from batch(left[:n])
        left = left[n:]
    yield from batch(left)


def digests(root: Path) -> dict[str, str]:
    return {
        str(f.relative_to(root)): hashlib.sha256(f.read_bytes()).hexdigest()
        for f in root.rglob("*")
        if f.is_file() and ".scratch" not in f.parts
    }


def job(root: Path, run_id: str = "run") -> Landing:
    return Landing(CONTRACT, OWNED, run_id, LocalStore(root))


def test_every_message_is_in_exactly_one_file(tmp_path: Path) -> None:
    manifest = land(job(tmp_path), batches([9]))
    assert (manifest.read, manifest.landed + manifest.quarantined) == (36, 36)
    found = []
    for file in manifest.files:
        table = pq.read_table(tmp_path / file.path)
        assert table.num_rows == file.rows
        found += list(zip(table["_partition"].to_pylist(), table["_offset"].to_pylist(), strict=True))
    assert sorted(found) == sorted(messages())
    assert not list((tmp_path / ".scratch").iterdir())


def test_names_and_columns(tmp_path: Path) -> None:
    manifest = land(job(tmp_path), batches([]))
    good = next(f for f in manifest.files if f.partition == 0 and not f.quarantine)
    assert good.path == f"searches/ABCDEFGH/0/{10:020d}-{40:020d}.parquet"
    row = pq.read_table(tmp_path / good.path).to_pylist()[0]
    assert (row["_topic_id"], row["_offset"], row["_key"], row["_headers"]) == (
        "ABCDEFGH-x",
        10,
        "k",
        '[["h", "v"]]',
    )
    bad = next(f for f in manifest.files if f.partition == 0 and f.quarantine)
    assert bad.path == f"quarantine/{good.path}"
    row = pq.read_table(tmp_path / bad.path).to_pylist()[0]
    assert (row["raw"], row["rule"], row["run_id"]) == (b"oops", "malformed_json", "run")
    first = next(r for r in manifest.ranges if r.partition == 0)
    assert first.min_event_time == "2026-11-24T06:00:10+00:00"


@settings(max_examples=settings().max_examples // 5)  # each example lands two slices
@given(st.lists(st.integers(0, 12), max_size=6))
def test_the_same_offsets_give_the_same_bytes_however_they_arrive(
    tmp_path_factory: Any, sizes: list[int]
) -> None:
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch_module, "ROW_GROUP", 5)
        patch.setattr(os, "fsync", lambda _: None)  # hundreds of files that need not outlive a power cut
        land(job(one), batches([]))
        land(job(two), batches(sizes))
    assert digests(one) == digests(two)


def test_a_landed_slice_is_not_landed_again(tmp_path: Path) -> None:
    assert landed_before(job(tmp_path)) is None
    manifest = land(job(tmp_path), batches([]))
    assert landed_before(job(tmp_path)) == manifest
    assert Manifest.from_json(json.loads(json.dumps(manifest.to_json()))) == manifest
    assert manifest.slice == OWNED


def test_the_manifest_keeps_the_digest_of_each_file(tmp_path: Path) -> None:
    manifest = land(job(tmp_path), batches([]))
    store = job(tmp_path).store
    for file in manifest.files:
        assert file.sha256 == hashlib.sha256((tmp_path / file.path).read_bytes()).hexdigest()
        assert store.digest(file.path) == file.sha256
    assert store.digest("nowhere") is None


def test_manifests_of_earlier_and_of_later_versions_are_read(tmp_path: Path) -> None:
    manifest = land(job(tmp_path), batches([]))
    earlier = replace(manifest, files=tuple(replace(f, sha256=None) for f in manifest.files))
    value = earlier.to_json()
    assert "sha256" not in json.dumps(value)
    assert Manifest.from_json(value) == earlier
    value["files"][0]["colour"] = value["ranges"][0]["colour"] = value["colour"] = "red"
    assert Manifest.from_json(value) == earlier
    del value["files"][0]["path"]
    with pytest.raises(ConfigurationError, match="Not a manifest"):
        Manifest.from_json(value)


@pytest.mark.parametrize("step", range(8))
def test_a_crash_at_any_publication_is_healed_by_the_retry(tmp_path: Path, step: int) -> None:
    whole = tmp_path / "whole"
    land(job(whole), batches([]))

    class Crashing(LocalStore):
        left = step

        def publish(self, scratch: str, path: str) -> int:
            if self.left == 0:
                raise KeyboardInterrupt
            self.left -= 1
            return super().publish(scratch, path)

    torn = tmp_path / "torn"
    try:
        land(Landing(CONTRACT, OWNED, "run", Crashing(torn)), batches([3]))
    except KeyboardInterrupt:
        assert landed_before(job(torn)) is None
    if landed_before(job(torn)) is None:
        land(job(torn), batches([4]))
    assert digests(torn) == digests(whole)


def test_counts_that_do_not_add_up_stop_the_run() -> None:
    with pytest.raises(ConservationError, match="10 messages read, but 8 landed"):
        LandedRange(0, 0, 10, read=10, landed=8, quarantined=1)


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """``full_disk(n)``: the disk is full from the ``n``-th scratch file on; the kernel says so."""
    make = Scratch.file

    def fill(room: int) -> None:
        left = itertools.count(room, -1)

        def file(scratch: Scratch) -> str:
            path = make(scratch)
            if next(left) <= 0:
                Path(path).symlink_to("/dev/full")
            return path

        monkeypatch.setattr(Scratch, "file", file)

    return fill


# macOS has no device that is always full.
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
@pytest.mark.parametrize("room", range(7))
def test_a_full_disk_is_said_and_leaves_no_half_file(
    tmp_path: Path, room: int, full_disk: Callable[[int], None]
) -> None:
    full_disk(room)
    with pytest.raises(StorageError, match="No space left on device") as caught:
        land(job(tmp_path), batches([]))
    full_disk(1_000_000)
    assert str(tmp_path) in caught.value.where
    assert "Free space" in caught.value.remedy
    assert caught.value.transient
    assert list((tmp_path / ".scratch").iterdir()) == []
    again = Landing(CONTRACT, OWNED, "run", LocalStore(tmp_path))
    assert landed_before(again) is None
    for file in tmp_path.rglob("*.parquet"):
        pq.read_table(file)  # what has a final name is whole
    whole = land(again, batches([]))
    assert whole.landed + whole.quarantined == len(messages())


def test_a_landing_root_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for root in (tmp_path / "file", tmp_path / "file" / "landing"):
        with pytest.raises(StorageError) as caught:
            LocalStore(root)
        assert str(root) in caught.value.where
        assert "choose another landing root" in caught.value.remedy
