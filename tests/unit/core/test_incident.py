"""What goes wrong again and again is said once, and tried ever more slowly."""

from __future__ import annotations

import logging

import pytest

from madhatter_provider.core.incident import MAX_BACKOFF_SECONDS, Incident, backoff


def test_the_pause_doubles_with_jitter_up_to_a_limit() -> None:
    for failures, longest in {1: 1.0, 2: 2.0, 4: 8.0, 50: MAX_BACKOFF_SECONDS}.items():
        pauses = [backoff(failures) for _ in range(100)]
        assert longest / 2 <= min(pauses) < max(pauses) <= longest


def test_one_line_when_it_begins_changes_and_ends_and_one_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    incident = Incident("Cannot reach it")
    lines = []
    for now, error in ((0, "away"), (1, "away"), (2, "refused"), (30, "refused"), (63, "refused")):
        incident.complain(error, now)
        lines.append(len(caplog.messages))
    assert lines == [1, 1, 2, 2, 3]
    assert incident.pause > 4
    incident.over()
    incident.over()
    assert caplog.messages[3:] == ["Cannot reach it: over"]
    assert incident.pause == 0


def test_somebody_else_may_write_the_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    incident = Incident()
    incident.complain("away", 0)
    assert incident.unsaid
    incident.unsaid = False
    incident.complain("away", 1)
    assert not incident.unsaid
    incident.over()
    assert incident.unsaid
    assert not caplog.messages
