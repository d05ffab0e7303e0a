"""What all requests share: settings, Snowflake's answers, the brokers' ends, the dashboards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from madhatter_provider.control_room.answers import Answers
from madhatter_provider.control_room.broker import BrokerEnds
from madhatter_provider.control_room.dashboards import Dashboards
from madhatter_provider.control_room.settings import Settings


@dataclass(frozen=True, slots=True)
class Room:
    """One control room."""

    settings: Settings
    answers: Answers
    broker: BrokerEnds
    dashboards: Dashboards


def room(request: Request) -> Room:
    """The room of the app that serves this request."""
    found: Room = request.app.state.room
    return found


RoomDep = Annotated[Room, Depends(room)]
