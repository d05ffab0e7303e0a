"""For Airflow installations that copy a plugins folder: the control room, unless the installed package brings
it.
"""

from __future__ import annotations

from importlib.metadata import entry_points

if not any(point.name == "madhatter" for point in entry_points(group="airflow.plugins")):
    from madhatter_provider.control_room.plugin import MadHatterPlugin  # noqa: F401
