"""MadHatter: Airflow operators, sensors and triggers for real-time data.

The one idea: a DAG run owns a *slice*, a half-open offset range per partition of a Kafka topic. See
``docs/slice-protocol.md``.
"""

from __future__ import annotations

__version__ = "0.1.0"
