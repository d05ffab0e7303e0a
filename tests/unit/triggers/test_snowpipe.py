"""The trigger of a Snowpipe load: how it is stored, and how it reports."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk._shared.module_loading import import_string

from madhatter_provider.core.errors import ConfigurationError, LoadError, SnowflakeUnavailable
from madhatter_provider.core.landing.manifest import LandedFile
from madhatter_provider.core.warehouse.ingest import Ingest
from madhatter_provider.hooks import snowflake_rest
from madhatter_provider.triggers.snowpipe import SnowpipeIngestTrigger, raise_for_event

WANTED = Ingest("RAW.P", "RAW.T", "T", (LandedFile("f", 0, 0, 1, 1, 1),)).to_json()


def test_it_is_stored_and_made_again() -> None:
    path, arguments = SnowpipeIngestTrigger([WANTED], "sf", poll_seconds=3.0, timeout=7.0).serialize()
    assert import_string(path)(**arguments).serialize() == (path, arguments)


@pytest.mark.asyncio
async def test_an_error_is_reported_with_its_class(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(conn_id: str) -> Any:
        raise ConfigurationError("no key pair", where=conn_id, remedy="add one")

    monkeypatch.setattr(snowflake_rest, "connection_profile", refuse)
    events = [e async for e in SnowpipeIngestTrigger([WANTED], "sf").run()]
    assert len(events) == 1
    with pytest.raises(ConfigurationError, match="no key pair") as caught:
        raise_for_event(events[0].payload)
    assert (caught.value.where, caught.value.remedy) == ("sf", "add one")


@pytest.mark.parametrize(("name", "kind"), [("LoadError", LoadError), ("Unheard", SnowflakeUnavailable)])
def test_an_event_raises_what_it_names(name: str, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        raise_for_event({"error": name, "what": "a", "where": "b", "remedy": "c"})


def test_a_success_raises_nothing() -> None:
    raise_for_event({"wanted": [WANTED]})
