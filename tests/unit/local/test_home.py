"""Folders of the local platform, and files that are never half written."""

from __future__ import annotations

from pathlib import Path

import pytest

from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.local.home import find_project, local_home, write_atomic


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "include" / "contracts").mkdir(parents=True)
    return tmp_path


def test_project_is_found_from_below(project: Path) -> None:
    deep = project / "dags" / "x"
    deep.mkdir(parents=True)
    assert find_project(deep) == project


def test_no_project_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        find_project(tmp_path)
    assert str(tmp_path) in caught.value.where
    assert caught.value.remedy


def test_home_may_be_elsewhere_and_the_cache_elsewhere_again(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MADHATTER_HOME", raising=False)
    monkeypatch.delenv("MADHATTER_CACHE", raising=False)
    assert local_home(project).root == project / ".madhatter"
    assert local_home(project).cache == project / ".madhatter" / "cache"
    monkeypatch.setenv("MADHATTER_HOME", str(project / "elsewhere"))
    monkeypatch.setenv("MADHATTER_CACHE", str(project / "shared"))
    home = local_home(project)
    assert (home.root, home.cache) == (project / "elsewhere", project / "shared")


def test_failed_write_leaves_the_old_text_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "state.json"
    write_atomic(file, "old")

    def refuse(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("madhatter_provider.local.home.os.replace", refuse)
    with pytest.raises(OSError, match="no space"):
        write_atomic(file, "new")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_secret_files_are_for_their_owner_only(tmp_path: Path) -> None:
    write_atomic(tmp_path / "key", "secret", mode=0o600)
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
