"""What landed files hold: row groups, file boundaries, formats, keys, headers, tombstones."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from madhatter_provider.core.contracts.contract import load_contract
from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.core.landing import batch as batch_module
from madhatter_provider.core.landing import range_writer
from madhatter_provider.core.landing.batch import Batch, RowGroups
from madhatter_provider.core.landing.columns import original, readable
from madhatter_provider.core.landing.files import FileOptions
from madhatter_provider.core.landing.land import Landing, land
from madhatter_provider.core.landing.local_store import LocalStore
from madhatter_provider.core.landing.manifest import Manifest
from madhatter_provider.core.slices.offsets import OffsetRange, Slice

CONTRACT = load_contract(Path(__file__).parents[4] / "include/contracts/searches.odcs.yaml")
SENT = 1_700_000_000_123


def value(i: int, **changes: Any) -> bytes:
    row = {
        "event_id": f"{i:016d}", "event_time": "2026-11-24T06:00:00.5Z", "session_id": "s1234567",
        "device_id": "d1234567", "query": 'ha"t', "results": i, "country": "US", "latency_ms": 1,
    }  # fmt: skip
    return json.dumps(row | changes).encode()


def batch(
    values: Sequence[bytes | None], *, keys: Sequence[bytes | None] = (), headers: Sequence[Any] = ()
) -> Batch:
    n = len(values)
    return Batch(
        0, list(range(n)), [SENT] * n, list(keys or [None] * n), list(values), list(headers or [None] * n)
    )


def landed(root: Path, batches: list[Batch], options: FileOptions | None = None) -> Manifest:
    owned = Slice("searches", "topic-id", (OffsetRange(0, 0, batches[-1].offsets[-1] + 1),))
    return land(Landing(CONTRACT, owned, "run", LocalStore(root), options or FileOptions()), batches)


def lines(root: Path, manifest: Manifest) -> list[dict[str, Any]]:
    (file,) = [f for f in manifest.files if not f.quarantine]
    raw = (root / file.path).read_bytes()
    if file.path.endswith(".gz"):
        raw = gzip.decompress(raw)
    elif file.path.endswith(".zst"):
        raw = pa.CompressedInputStream(pa.BufferReader(raw), "zstd").read()
    assert raw.endswith(b"\n")
    return [json.loads(line) for line in raw.splitlines()]


@given(st.lists(st.integers(0, 9), max_size=30), st.lists(st.integers(1, 9), max_size=12))
def test_row_groups_are_cut_at_the_same_places_however_messages_arrive(
    sizes: list[int], arrivals: list[int]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch_module, "ROW_GROUP", 4)
        patch.setattr(batch_module, "ROW_GROUP_BYTES", 12)
        values = [b"x" * size for size in sizes]

        def cut(batches: Iterator[Batch]) -> list[list[int]]:
            groups = RowGroups(0)
            complete = [group.offsets for b in batches for group in groups.add(b)]
            return [*complete, groups.rest().offsets]

        def arriving() -> Iterator[Batch]:
            left = batch(values)
            for n in arrivals:
                yield left.cut(n)
            yield left

        found = cut(iter([batch(values)]))
        assert cut(arriving()) == found
        assert [o for group in found for o in group] == list(range(len(sizes)))
        for group in found[:-1]:  # full, and was not full before its last message
            size = sum(sizes[o] for o in group)
            assert len(group) == 4 or size >= 12
            assert len(group) <= 4
            assert size - sizes[group[-1]] < 12


def test_a_big_range_goes_on_in_other_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_module, "ROW_GROUP", 2)
    monkeypatch.setattr(range_writer, "FILE_BYTES", 3 * len(value(0)))
    values = [b"oops" if i == 1 else value(i) for i in range(9)]
    manifest = landed(tmp_path, [batch(values)])
    good = [(f.start, f.end, f.rows) for f in manifest.files if not f.quarantine]
    assert good == [(0, 4, 3), (4, 8, 4), (8, 9, 1)]
    assert [(f.start, f.end) for f in manifest.files if f.quarantine] == [(0, 4)]
    assert [(r.start, r.end, r.landed, r.quarantined) for r in manifest.ranges] == [(0, 9, 8, 1)]
    offsets = [o for f in manifest.files for o in pq.read_table(tmp_path / f.path)["_offset"].to_pylist()]
    assert sorted(offsets) == list(range(9))
    again = landed(tmp_path / "again", [batch(values[:5]), _after(batch(values), 5)])
    assert again.files == manifest.files


def _after(whole: Batch, n: int) -> Batch:
    whole.cut(n)
    return whole


@pytest.mark.parametrize("compression", ["zstd", "snappy", "gzip", "none"])
def test_parquet_is_compressed_as_asked(tmp_path: Path, compression: str) -> None:
    manifest = landed(tmp_path, [batch([value(1)])], FileOptions(compression=compression))
    column = pq.ParquetFile(tmp_path / manifest.files[0].path).metadata.row_group(0).column(0)
    assert column.compression == {"none": "UNCOMPRESSED"}.get(compression, compression.upper())


@pytest.mark.parametrize(
    ("compression", "suffix"), [("zstd", ".ndjson.zst"), ("gzip", ".ndjson.gz"), ("none", ".ndjson")]
)
@pytest.mark.parametrize("validate", [True, False])
def test_ndjson(tmp_path: Path, compression: str, suffix: str, validate: bool) -> None:
    options = FileOptions("ndjson", compression, validate)
    values = [value(7), b"oops", b'{"pretty":\n [1,\r\n 2]}']
    keys, headers = [b'k"1', None, b"\xff"], [[("h", b"v"), ("h", None)], None, None]
    manifest = landed(tmp_path, [batch(values, keys=keys, headers=headers)], options)
    assert manifest.files[0].path.endswith(suffix)
    found = lines(tmp_path, manifest)
    first = found[0]
    assert (first["_topic_id"], first["_partition"], first["_offset"]) == ("topic-id", 0, 0)
    assert first["_timestamp"] == "2023-11-14T22:13:20.123000Z"
    assert first["_key"] == 'k"1'
    if validate:
        assert (first["event_time"], first["query"]) == ("2026-11-24T06:00:00.500000Z", 'ha"t')
        assert json.loads(first["_headers"]) == [["h", "v"], ["h", None]]
        assert len(found) == 1
    else:
        assert first["value"] == json.loads(value(7))
        assert first["_headers"] == [["h", "v"], ["h", None]]
        assert found[1] == {
            "_topic_id": "topic-id", "_partition": 0, "_offset": 2, "_timestamp": first["_timestamp"],
            "_key": "base64:/w==", "_headers": None, "value": {"pretty": [1, 2]},
        }  # fmt: skip
    (bad,) = [f for f in manifest.files if f.quarantine]
    assert bad.path.endswith(".parquet")
    assert b"oops" in pq.read_table(tmp_path / bad.path)["raw"].to_pylist()


@pytest.mark.parametrize(
    ("bad", "rule"),
    [
        (b"", "empty"),
        (b"{", "malformed_json"),
        (b'{"a":"\xff"}', "malformed_json"),
        (b"NaN", "malformed_json"),
    ],
)
def test_lines_that_would_break_the_file_are_quarantined(tmp_path: Path, bad: bytes, rule: str) -> None:
    manifest = landed(tmp_path, [batch([b"1", bad, b"null"])], FileOptions("ndjson", "none", validate=False))
    assert [line["value"] for line in lines(tmp_path, manifest)] == [1, None]
    (held,) = [f for f in manifest.files if f.quarantine]
    row = pq.read_table(tmp_path / held.path).to_pylist()[0]
    assert (row["raw"], row["rule"], row["_offset"]) == (bad, rule, 1)


@pytest.mark.parametrize(
    "options",
    [
        FileOptions(tombstones="keep"),
        FileOptions("ndjson", "none", tombstones="keep"),
        FileOptions("ndjson", "none", validate=False, tombstones="keep"),
    ],
)
def test_tombstones_can_be_kept_in_their_place(tmp_path: Path, options: FileOptions) -> None:
    values = [None, value(1), b"oops", None, value(4)]
    keys = [b"%d" % i for i in range(5)]
    manifest = landed(tmp_path, [batch(values, keys=keys)], options)
    assert (manifest.landed, manifest.quarantined) == (4, 1)
    (file,) = [f for f in manifest.files if not f.quarantine]
    if options.file_format == "parquet":
        rows = pq.read_table(tmp_path / file.path).to_pylist()
    else:
        rows = lines(tmp_path, manifest)
    assert [(r["_offset"], r["_key"]) for r in rows] == [(0, "0"), (1, "1"), (3, "3"), (4, "4")]
    if options.validate:
        assert [r["event_id"] for r in rows] == [None, f"{1:016d}", None, f"{4:016d}"]
    else:
        assert ["value" in r for r in rows] == [False, True, False, True]


def test_tombstones_are_quarantined_with_their_key_by_default(tmp_path: Path) -> None:
    manifest = landed(tmp_path, [batch([None, value(1)], keys=[b"dead", b"k"])])
    (held,) = [f for f in manifest.files if f.quarantine]
    row = pq.read_table(tmp_path / held.path).to_pylist()[0]
    assert (row["_key"], row["rule"], row["raw"]) == ("dead", "empty", None)


@given(st.binary(max_size=12) | st.text(max_size=12).map(str.encode) | st.just(b"base64:YQ==") | st.none())
def test_bytes_as_text_lose_nothing(raw: bytes | None) -> None:
    assert original(readable(raw)) == raw
    if raw is not None and not raw.startswith(b"base64:"):
        try:
            assert readable(raw) == raw.decode()
        except UnicodeDecodeError:
            assert str(readable(raw)).startswith("base64:")


@given(st.lists(st.binary(max_size=4) | st.just(b"base64:") | st.none(), min_size=1, max_size=5))
def test_keys_come_back_from_the_file(tmp_path_factory: Any, keys: list[bytes | None]) -> None:
    root = tmp_path_factory.mktemp("keys")
    options = FileOptions("ndjson", "none", validate=False)
    manifest = landed(root, [batch([b"1"] * len(keys), keys=keys)], options)
    assert [original(line["_key"]) for line in lines(root, manifest)] == keys


@pytest.mark.parametrize("time", [-1, 1_764_000_000_000_000_000])
def test_a_time_that_no_calendar_has_is_null_and_costs_no_row(tmp_path: Path, time: int) -> None:
    odd = batch([value(0), value(1)])
    odd.timestamps[1] = time
    manifest = landed(tmp_path, [odd])
    times = pq.read_table(tmp_path / manifest.files[0].path)["_timestamp"].to_pylist()
    assert (times[0] is not None, times[1]) == (True, None)


@pytest.mark.parametrize(
    "make",
    [
        lambda: FileOptions("csv"),
        lambda: FileOptions(compression="lz5"),
        lambda: FileOptions("ndjson", "snappy"),
        lambda: FileOptions(validate=False),
        lambda: FileOptions(tombstones="drop"),
    ],
)
def test_options_that_cannot_be_say_what_can(make: Callable[[], FileOptions]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert caught.value.remedy
