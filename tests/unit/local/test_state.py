"""The record of processes and ports."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.local.home import LocalHome
from madhatter_provider.local.state import Record, State, only_one, read_state, write_state


def _me(shift: float = 0.0) -> Record:
    born = psutil.Process().create_time() + shift
    return Record(os.getpid(), born, "x.log", "real", "1", born, 2.5)


def test_round_trip(tmp_path: Path) -> None:
    state = State({"kafka": 20001}, {"kafka": _me()}, ["topics"])
    write_state(tmp_path / "state.json", state)
    assert read_state(tmp_path / "state.json") == state


def test_nothing_recorded_is_an_empty_state(tmp_path: Path) -> None:
    assert read_state(tmp_path / "state.json") == State()


@pytest.mark.parametrize("text", ["", "{}", '{"version": 99}', "[1]"])
def test_strange_record_is_not_overlooked(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        read_state(tmp_path / "state.json")
    assert "state.json" in caught.value.where


def test_a_process_is_its_number_and_its_birth() -> None:
    state = State(services={"mine": _me(), "before the reboot": _me(-3600)})
    assert state.alive == {"mine"}


def test_one_command_at_a_time(tmp_path: Path) -> None:
    home = LocalHome(tmp_path, tmp_path)
    with only_one(home), pytest.raises(ConfigurationError, match="Another command"), only_one(home):
        pass
    with only_one(home):
        pass
