"""One local platform's addresses and environment: what every process of it is told."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from madhatter_provider.local.credentials import snowflake_key, tls_files
from madhatter_provider.local.home import LocalHome

PUBSUB_PROJECT = "madhatter-local"
SNOWFLAKE_ACCOUNT = "MADHATTER_LOCAL"
SNOWFLAKE_USER = "MADHATTER"
SNOWFLAKE_DATABASE = "MADHATTER"
SNOWFLAKE_WAREHOUSE = "MADHATTER"
SNOWFLAKE_ROLE = "MADHATTER"


@dataclass(slots=True)
class Site:
    """Folders and ports of one platform; a port may change until its service has started.

    ``alerts`` tells whether the alert leg (Pub/Sub and the function) runs here.
    """

    home: LocalHome
    ports: dict[str, int] = field(default_factory=dict)
    alerts: bool = True

    def url(self, port: str, *, scheme: str = "http") -> str:
        """Address of the service that listens on this port."""
        return f"{scheme}://127.0.0.1:{self.ports[port]}"

    @property
    def kafka(self) -> str:
        """Bootstrap servers."""
        return f"127.0.0.1:{self.ports['kafka']}"

    def env(self) -> dict[str, str]:
        """Environment of every process: the caller's own, then the platform's addresses and connections."""
        tls, (private_key, _) = tls_files(self.home), snowflake_key(self.home)
        return {
            **_inherited(os.environ),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "PYTHONUNBUFFERED": "1",
            "SPT_NOENV": "1",  # setproctitle must not overwrite the mark in the environment
            "MADHATTER_HOME": str(self.home.root),
            "MADHATTER_CACHE": str(self.home.cache),
            "MADHATTER_LANDING_ROOT": self.home.landing.as_uri(),
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka,
            "PUBSUB_EMULATOR_HOST": f"127.0.0.1:{self.ports['pubsub']}",
            "PUBSUB_PROJECT_ID": PUBSUB_PROJECT,
            "SNOWFLAKE_HOST": "127.0.0.1",
            "SNOWFLAKE_PORT": str(self.ports["snowflake"]),
            "SNOWFLAKE_ACCOUNT": SNOWFLAKE_ACCOUNT,
            "SNOWFLAKE_USER": SNOWFLAKE_USER,
            "SNOWFLAKE_PRIVATE_KEY_FILE": str(private_key),
            "SSL_CERT_FILE": str(tls.bundle),
            "REQUESTS_CA_BUNDLE": str(tls.bundle),
            "SCHEMA_REGISTRY_URL": self.url("schema_registry"),
            "WEBHOOK_URL": self.url("webhook"),
            "INCIDENT_WEBHOOK_URL": f"{self.url('webhook')}/incident",
            "SMTP_HOST": "127.0.0.1",
            "SMTP_PORT": str(self.ports["smtp"]),
            "ALERT_EMAIL_FROM": "alerts@madhatter.example",
            "ALERT_EMAIL_TO": "security@madhatter.example",
            "CASE_URL": f"{self.url('airflow')}/plugin/madhatter/madhatter/fraud?case={{case_id}}",
            "MADHATTER_PROFILES": str(self.home.profiles),
            "MADHATTER_ALERT_TOPIC": f"projects/{PUBSUB_PROJECT}/topics/fraud-alerts" if self.alerts else "",
            "ALERT_STORE": str(self.home.data / "alerts.db"),
            "FUNCTION_URL": self.url("function"),
            "MADHATTER_SECURITY_USERS": "security",
            "MADHATTER_MOST_QUESTIONS": "5",
            "GX_ANALYTICS_ENABLED": "false",
            **{f"AIRFLOW_CONN_{name.upper()}": json.dumps(c) for name, c in self.connections().items()},
        }

    def connections(self) -> dict[str, dict[str, object]]:
        """Airflow connections by id. Only these differ between this platform and the cloud."""
        private_key, _ = snowflake_key(self.home)
        snowflake = {
            "account": SNOWFLAKE_ACCOUNT,
            "database": SNOWFLAKE_DATABASE,
            "warehouse": SNOWFLAKE_WAREHOUSE,
            "role": SNOWFLAKE_ROLE,
            "region": "",
            "host": "127.0.0.1",
            "port": self.ports["snowflake"],
            "private_key_file": str(private_key),
            "insecure_mode": True,  # no OCSP responder answers for a local CA
        }
        google = {
            "project": PUBSUB_PROJECT,
            "is_anonymous": True,
            "api_endpoint": self.url("dataflow"),
        }
        return {
            "kafka_default": {"conn_type": "kafka", "extra": {"bootstrap.servers": self.kafka}},
            "snowflake_default": {"conn_type": "snowflake", "login": SNOWFLAKE_USER, "extra": snowflake},
            "google_cloud_default": {"conn_type": "google_cloud_platform", "extra": google},
            "schema_registry_default": {"conn_type": "http", "host": self.url("schema_registry")},
            "madhatter_notifications": {"conn_type": "http", "host": f"{self.url('webhook')}/operations"},
        }


# Compiled files save seconds at every start, and settings of another Airflow must not leak in.
_NOT_INHERITED = ("PYTHONDONTWRITEBYTECODE", "AIRFLOW_", "AIRFLOW__")


def _inherited(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if not name.startswith(_NOT_INHERITED)}
