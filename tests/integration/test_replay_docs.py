"""What docs/how-to/replay.md and quarantine.md show is run as it stands there, for a test's own stream."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from madhatter_provider.cli.main import app
from madhatter_provider.core.errors import ConfigurationError, GateFailed

from .replays import Stream, stream_fixture  # noqa: F401

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]


def blocks(page: str, language: str) -> list[str]:
    """Code of a page."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "docs/how-to" / page).read_text(), re.DOTALL)


@pytest.fixture
def folder(stream: Stream, tmp_path: Path) -> Path:
    """A folder with the contract of the stream."""
    doc = yaml.safe_load((ROOT / "include/contracts/searches.odcs.yaml").read_text())
    doc["schema"][0]["name"] = stream.contract.stream
    changes = {"topic": stream.topic, "maxQuarantinePercent": 100}
    doc["customProperties"] = [
        {**p, "value": changes.get(p["property"], p["value"])} for p in doc["customProperties"]
    ]
    (tmp_path / f"{stream.contract.stream}.odcs.yaml").write_text(yaml.safe_dump(doc))
    return tmp_path


@pytest.fixture
def madhatter(stream: Stream, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Runs a command line of the docs."""
    for name, value in {
        **stream.snowflake.env,
        "MADHATTER_CONTRACTS": str(folder),
        "KAFKA_BOOTSTRAP_SERVERS": stream.broker,
    }.items():
        monkeypatch.setenv(name, value)

    def run(line: str) -> str:
        words = shlex.split(line.replace("searches", stream.contract.stream))
        done = CliRunner(env={"COLUMNS": "200"}).invoke(app, words[1:])
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.output

    return run


def mend(folder: Path) -> None:
    """More results are allowed."""
    (file,) = folder.glob("*.yaml")
    file.write_text(file.read_text().replace("maximum: 100000", "maximum: 1000000"))


def test_replay_commands(stream: Stream, madhatter: Callable[[str], str]) -> None:
    stream.send(60)
    stream.land("r1")
    before = stream.rows()
    stream.delete([12, 13])
    dry, ranged, whole = (block.strip() for block in blocks("replay.md", "bash"))
    said = madhatter(dry)
    assert "0:[10, 20) 10 offsets: kafka" in said
    assert "20 offsets from Kafka, 0 from 0 files" in said
    assert "now: 14 rows in RAW.SEARCHES, 2 in RAW.QUARANTINE" in said
    assert len(stream.rows()) == len(before) - 4
    assert "rows 14 -> 18, quarantined 2 -> 2; gate: pass" in madhatter(ranged)
    assert stream.rows() == before
    assert "rows 54 -> 54" in madhatter(whole)
    with pytest.raises(ConfigurationError, match="Negative offset"):
        madhatter("madhatter replay searches --from -1 --to 5 --reason x")


def test_quarantine_commands(stream: Stream, madhatter: Callable[[str], str], folder: Path) -> None:
    listing, show, dry, replay = (block.strip() for block in blocks("quarantine.md", "bash"))
    assert "No message of" in madhatter(listing)
    stream.send(20, bad_every=10, bad=stream.row(3, results=200_000))
    stream.land("r1")
    assert re.search(r"maximum .* results .* 2 .* results: is above 100000", madhatter(listing))
    assert '"results": 200000' in madhatter(show)
    assert "0 pass and move to RAW\n  2 stay: maximum" in madhatter(dry)
    mend(folder)
    assert "2 pass and move to RAW" in madhatter(dry)
    assert stream.verdict().quarantined == 2
    # The two messages that moved have one event id, which the contract warns of.
    assert "rows 0 -> 2, quarantined 2 -> 0; gate: warn" in madhatter(replay)
    assert stream.verdict().ok
    assert stream.verdict().quarantined == 0


def test_a_config_file_reaches_kafka(
    stream: Stream, madhatter: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream.send(20)
    stream.land("r1")
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS")
    file = tmp_path / "client.properties"
    file.write_text(f"# secured\nbootstrap.servers={stream.broker}\nclient.id = replay\n")
    command = f"madhatter replay searches --from 0 --to 10 --dry-run --config-file {file}"
    assert "20 offsets from Kafka" in madhatter(command)
    for text, words in (
        ("client.id=x", "address is not known"),
        ("nonsense", "is no setting"),
        ("{", "JSON"),
    ):
        file.write_text(text)
        with pytest.raises(ConfigurationError, match=words):
            madhatter(command)


class TestOperators:
    """The Python blocks define DAGs whose task is run."""

    def execute(self, stream: Stream, folder: Path, page: str, **changes: Any) -> tuple[Any, list[Any]]:
        (code,) = blocks(page, "python")
        code = (
            code.replace("include/contracts/searches", f"{folder}/{stream.contract.stream}")
            .replace('"searches"', f'"{stream.contract.stream}"')
            .replace("gs://bucket/landing", stream.snowflake.landing_root)
        )
        names: dict[str, Any] = {}
        exec(code, names)
        task = names["dag"].task_dict["replay"]
        for name, value in changes.items():
            setattr(task, name, value)
        events: list[Any] = []

        class Events(dict[Any, Any]):
            def __missing__(self, alias: Any) -> Any:
                return self

            def add(self, asset: Any, extra: Any) -> None:
                events.append((asset.name, extra["decision"]))

        class Ti:
            task_id, map_index = "replay", -1

        context: Any = {
            "dag": names["dag"], "run_id": f"manual_{stream.topic}", "ti": Ti, "outlet_events": Events()
        }  # fmt: skip
        done = task.execute(context)
        return done, events

    def test_replay(self, stream: Stream, folder: Path) -> None:
        stream.send(60)
        stream.land("r1")
        stream.delete([12])
        plan, events = self.execute(stream, folder, "replay.md", plan_only="True")
        assert "now: 16 rows" in plan["plan"][-1]
        assert events == []
        for _ in range(2):  # a retry finds it done
            done, events = self.execute(stream, folder, "replay.md")
            assert (done["rows_before"], done["rows_after"], done["decision"]) == (16, 18, "pass")
            assert stream.verdict().ok

    def test_quarantine(self, stream: Stream, folder: Path) -> None:
        stream.send(20, bad_every=10, bad=stream.row(3, results=200_000))
        stream.land("r1")
        mend(folder)
        plan, _ = self.execute(stream, folder, "quarantine.md", plan_only=True)
        assert "2 pass and move to RAW" in plan["plan"][1]
        done, events = self.execute(stream, folder, "quarantine.md", rules="maximum, required")
        assert done["rows_after"] == 2
        assert events == [("raw_searches", "warn")]
        assert stream.verdict().ok

    def test_a_gate_that_fails_publishes_nothing(self, stream: Stream, folder: Path) -> None:
        stream.send(60)
        stream.land("r1")
        (file,) = folder.glob("*.yaml")
        file.write_text(re.sub(r"(property: maxQuarantinePercent\s+value:) 100", r"\1 1", file.read_text()))
        with pytest.raises(GateFailed, match=r"quarantined: 10%, must be <= 1"):
            self.execute(stream, folder, "replay.md")
        assert stream.verdict().ok
