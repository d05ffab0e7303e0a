"""Dataflow's REST interface (v1b3) on this machine:

launches pipelines as processes and keeps their jobs over restarts.
"""

from __future__ import annotations

from madhatter_provider.local.dataflow.app import dataflow_app
from madhatter_provider.local.dataflow.launcher import Launcher
from madhatter_provider.local.dataflow.templates import Template, load_templates

__all__ = ["Launcher", "Template", "dataflow_app", "load_templates"]
