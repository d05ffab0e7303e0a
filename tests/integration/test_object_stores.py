"""Landing roots in object stores: gs:// on fake-gcs-server, s3:// on moto's server, with the real clients."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from madhatter_provider.core.contracts.contract import load_contract
from madhatter_provider.core.errors import ConfigurationError, MadHatterError, StorageError
from madhatter_provider.core.landing.batch import Batch
from madhatter_provider.core.landing.land import Landing, files_amiss, land, landed_before
from madhatter_provider.core.slices.offsets import OffsetRange, Slice
from madhatter_provider.hooks.landing_listing import list_landing
from madhatter_provider.hooks.object_store import explain, open_store
from madhatter_provider.local.process import free_port

from .audited_stream import edited

pytestmark = [pytest.mark.integration, pytest.mark.slow]
CONTRACT = load_contract(Path(__file__).parents[2] / "include/contracts/searches.odcs.yaml")
FAKE_GCS = "github.com/fsouza/fake-gcs-server@v1.56.1"
BUILD_SECONDS = 120


@dataclass(frozen=True)
class Server:
    """A running object store with an empty bucket ``lake``, and its Airflow connection."""

    root: str
    conn_id: str
    connection: str
    url: str
    more_than_a_part: int
    # Says "part" and waits for ever once the client has sent a first part of an upload.
    stop_after_first_part: str


@pytest.fixture(scope="session")
def fake_gcs(madhatter_cache: Path) -> Path:
    """The server's binary, built at most once."""
    binary = madhatter_cache / "fake-gcs-server-1.56.1" / "fake-gcs-server"
    if not binary.exists():
        go = shutil.which("go")
        if go is None:
            pytest.skip("no fake-gcs-server here: it is built with Go, which is not installed")
        try:
            subprocess.run(
                [go, "install", FAKE_GCS],
                env={**os.environ, "GOBIN": str(binary.parent)},
                check=True,
                capture_output=True,
                timeout=BUILD_SECONDS,
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as err:
            pytest.skip(f"no fake-gcs-server here: it was not built: {err} {(err.stderr or b'')[-300:]!r}")
    return binary


@pytest.fixture(scope="session")
def gcs(fake_gcs: Path) -> Iterator[Server]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    options = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-backend", "memory"]
    process = subprocess.Popen(
        [fake_gcs, *options, "-external-url", url, "-public-host", f"127.0.0.1:{port}"],
        stderr=subprocess.DEVNULL,
    )
    try:
        _answers(f"{url}/storage/v1/b")
        httpx.post(f"{url}/storage/v1/b?project=p", json={"name": "lake"}).raise_for_status()
        extra = {"is_anonymous": True, "project": "project", "gcs.endpoint": url}
        connection = json.dumps({"conn_type": "google_cloud_platform", "extra": extra})
        yield Server("gs://gcp_test@lake/landing", "gcp_test", connection, url, 60 << 20, _STOP_GCS)
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def s3() -> Iterator[Server]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        _answers(f"{url}/moto-api/")
        httpx.put(f"{url}/lake").raise_for_status()
        extra = {"endpoint_url": url, "region_name": "us-east-1"}
        connection = json.dumps({"conn_type": "aws", "login": "key-id", "password": "secret", "extra": extra})
        yield Server("s3://aws_test@lake/landing", "aws_test", connection, url, 110 << 20, _STOP_S3)
    finally:
        process.kill()
        process.wait()


def _answers(url: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            httpx.get(url, timeout=5)
            return
        except httpx.TransportError:
            assert time.monotonic() < deadline, f"{url} does not answer"
            time.sleep(0.05)


@pytest.fixture(params=["gcs", "s3"])
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Server:
    # The fake knows no hierarchical namespaces, which the client asks for otherwise.
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    found: Server = request.getfixturevalue(request.param)
    monkeypatch.setenv(f"AIRFLOW_CONN_{found.conn_id.upper()}", found.connection)
    return found


def job(server: Server, name: str) -> Landing:
    owned = Slice("searches", name, (OffsetRange(0, 0, 3),))
    return Landing(CONTRACT, owned, "run", open_store(server.root))


def batches(row: Callable[..., bytes]) -> list[Batch]:
    return [Batch(0, [0, 1, 2], [1] * 3, [None] * 3, [row(0), b"oops", row(2)], [None] * 3)]


def test_a_slice_is_landed_once(server: Server, search_row: Callable[..., bytes]) -> None:
    one = job(server, "epoch-one")
    assert landed_before(one) is None
    manifest = land(one, batches(search_row))
    assert landed_before(one) == manifest
    assert files_amiss(one, manifest) == []
    store = one.store
    for file in manifest.files:
        content = store.read(file.path)
        assert content is not None
        assert (len(content), content[:4]) == (file.bytes, b"PAR1")
        folder, _, name = file.path.rpartition("/")
        assert store.names(folder) == [name]
    before = {f.path: store.read(f.path) for f in manifest.files}
    land(job(server, "epoch-one"), batches(search_row))
    assert {f.path: store.read(f.path) for f in manifest.files} == before
    assert (store.size("nowhere"), store.read("nowhere"), store.names("nowhere"), store.open("nowhere")) == (
        None,
        None,
        [],
        None,
    )


def test_an_audit_lists_what_is_landed(server: Server, search_row: Callable[..., bytes]) -> None:
    one = job(server, "epoch-audit")
    manifest = land(one, batches(search_row))
    one.store.write("searches/epoch0au/0/notes.txt", b"by hand")
    seen = list_landing(server.root, "searches")
    for file in manifest.files:
        assert seen.files[file.path].bytes == file.bytes
        assert 0 <= seen.files[file.path].age < 60
    assert manifest in seen.manifests.values()
    assert seen.contents is None
    assert seen.files["searches/epoch0au/0/notes.txt"].bytes == 7
    assert seen.scratch == ()
    assert list_landing(server.root, "searches", time.time() + 60).files == {}
    with pytest.raises(ConfigurationError, match="no-such-lake"):
        list_landing(server.root.replace("lake", "no-such-lake"), "searches")


def test_an_audit_reads_what_is_landed(server: Server, search_row: Callable[..., bytes]) -> None:
    one = job(server, "epoch-contents")
    manifest = land(one, batches(search_row))
    good, _ = manifest.files
    seen = list_landing(server.root, "searches", contents=True)
    assert seen.contents is not None
    assert {f.path: f.sha256 for f in manifest.files}.items() <= seen.contents.items()
    content = one.store.read(good.path)
    assert content is not None
    one.store.write(good.path, edited(content))
    seen = list_landing(server.root, "searches", contents=True)
    assert [seen.content_agrees(f) for f in manifest.files] == [False, True]
    assert one.store.digest("nowhere") is None


def test_a_digest_is_made_of_all_of_an_object(server: Server) -> None:
    store, content = open_store(server.root), os.urandom(12 << 20)
    store.write("large/object", content)
    assert store.digest("large/object") == hashlib.sha256(content).hexdigest()


_STOP_GCS = """
import asyncio, gcsfs.core
send = gcsfs.core.upload_chunk
async def upload_chunk(*args, **kwargs):
    done = await send(*args, **kwargs)
    print("part", flush=True)
    await asyncio.sleep(600)
gcsfs.core.upload_chunk = upload_chunk
"""
_STOP_S3 = """
import asyncio, s3fs
call = s3fs.S3FileSystem._call_s3
async def _call_s3(self, method, *args, **kwargs):
    done = await call(self, method, *args, **kwargs)
    if method == "upload_part":
        print("part", flush=True)
        await asyncio.sleep(600)
    return done
s3fs.S3FileSystem._call_s3 = _call_s3
"""
_UPLOAD = """
import sys
from madhatter_provider.hooks.object_store import open_store
open_store(sys.argv[1]).publish(sys.argv[2], "cut/off.parquet")
"""


def test_a_kill_in_mid_upload_leaves_nothing_and_the_retry_publishes(server: Server, tmp_path: Path) -> None:
    size = server.more_than_a_part
    big = tmp_path / "big"
    with big.open("wb") as file:
        file.truncate(size)
    command = [sys.executable, "-c", server.stop_after_first_part + _UPLOAD, server.root, str(big)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert any(line == "part\n" for line in process.stdout)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    store = open_store(server.root)
    assert store.size("cut/off.parquet") is None
    assert store.names("cut") == []
    assert store.publish(str(big), "cut/off.parquet") == size
    assert store.size("cut/off.parquet") == size
    assert not big.exists()


def test_a_bucket_that_is_not_there(server: Server) -> None:
    with pytest.raises(ConfigurationError, match="bucket does not exist") as caught:
        open_store(server.root.replace("lake", "no-such-lake")).write("x", b"1")
    assert "no-such-lake" in caught.value.where


def test_a_connection_that_is_not_there(server: Server) -> None:
    with pytest.raises(ConfigurationError, match="no connection 'missing'"):
        open_store(server.root.replace(server.conn_id, "missing"))


def test_credentials_that_are_refused(s3: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AWS_TEST", s3.connection)
    httpx.post(f"{s3.url}/moto-api/reset-auth", content=b"0").raise_for_status()
    try:
        with pytest.raises(ConfigurationError, match="refuses access") as caught:
            open_store(s3.root).write("x", b"1")
    finally:
        httpx.post(f"{s3.url}/moto-api/reset-auth", content=b"inf").raise_for_status()
    assert "credentials" in caught.value.remedy


def test_a_store_that_does_not_answer(s3: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s3fs.core.S3FileSystem.retries", 1)
    dead = json.loads(s3.connection.replace(s3.url, "http://127.0.0.1:1"))
    dead["extra"]["config_kwargs"] = {"retries": {"max_attempts": 0}}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEAD", json.dumps(dead))
    with pytest.raises(StorageError) as caught:
        open_store(s3.root.replace("aws_test", "aws_dead")).write("x", b"1")
    assert caught.value.transient


def test_a_store_without_its_package() -> None:
    with pytest.raises(ConfigurationError, match="needs a package"):
        open_store("abfs://lake/landing")


class RefreshError(Exception):
    """As Google's library names it."""


class HttpError(Exception):
    """As gcsfs names it."""

    code = 401


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RefreshError("invalid_grant"), ConfigurationError),
        (HttpError("Unauthorized"), ConfigurationError),
        (OSError("Forbidden: https://storage\nno access"), ConfigurationError),
        (ModuleNotFoundError("No module named 'gcsfs'"), ConfigurationError),
        (TimeoutError(), StorageError),
    ],
)
def test_errors_of_the_clients_are_said_in_words(error: Exception, kind: type[MadHatterError]) -> None:
    said = explain(error, "gs://lake/landing", "x.parquet")
    assert type(said) is kind
    assert said.where == "landing root gs://lake/landing, x.parquet"
    assert said.remedy
