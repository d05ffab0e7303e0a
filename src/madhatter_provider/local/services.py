"""The catalog of the local platform: what runs, in which order, and what this machine cannot run."""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

from madhatter_provider import __version__
from madhatter_provider.core.contracts.contract import REGISTRY_FORMATS
from madhatter_provider.core.errors import ConfigurationError, ServiceError
from madhatter_provider.local.airflow_services import airflow_env, airflow_services, database_step
from madhatter_provider.local.credentials import snowflake_key, tls_files
from madhatter_provider.local.home import write_atomic
from madhatter_provider.local.java import find_java
from madhatter_provider.local.kafka import KAFKA_VERSION, KafkaNode, find_maven, has_kafka_jars, kafka_jars
from madhatter_provider.local.prism import ensure_prism, prism_path
from madhatter_provider.local.process import tail
from madhatter_provider.local.project_contracts import readable_contracts
from madhatter_provider.local.pubsub import REMEDY, emulator_command, emulator_version, find_emulator_jar
from madhatter_provider.local.service import Absent, Catalog, Service, Step, http_answers
from madhatter_provider.local.site import PUBSUB_PROJECT, SNOWFLAKE_ACCOUNT, SNOWFLAKE_USER, Site
from madhatter_provider.local.topics import ask_for_topics, create_topics

PORTS = (
    "kafka", "kafka_controller", "snowflake", "pubsub", "webhook", "smtp", "function", "dataflow",
    "airflow", "worker_logs", "trigger_logs", "schema_registry",
)  # fmt: skip
_STEP_SECONDS = 300
# What a project may have beside contracts and DAGs.
_FUNCTION = Path("include/functions/fraud_alert/main.py")
_PIPELINE = Path("include/beam/streaming_fraud.py")


def platform_env(site: Site) -> dict[str, str]:
    """Environment of every process of the platform."""
    return {**site.env(), **airflow_env(site)}


def build_catalog(site: Site) -> Catalog:
    """Everything that this machine can run of the platform, and what it cannot and why."""
    catalog = Catalog()
    contracts = site.home.project / "include" / "contracts"
    broker, make_topics = _kafka(site, catalog)
    catalog.add(broker, Step("topics", partial(make_topics, contracts), needs=("kafka",)))
    catalog.add(_snowflake(site), Step("sql", lambda: _apply_sql(site), needs=("snowflake",)))
    if (site.home.project / _FUNCTION).is_file():
        catalog.add(_pubsub(site), _webhook(site), _function(site))
        catalog.add(Step("pubsub-setup", lambda: _set_up_pubsub(site), needs=("pubsub", "function")))
    site.alerts = "function" in catalog.nodes
    if (site.home.project / _PIPELINE).is_file():
        _streaming(site, catalog)
    if any(c.format in REGISTRY_FORMATS for c in readable_contracts(site.home.project)):
        catalog.add(_schema_registry(site))
    catalog.add(database_step(site, lambda: platform_env(site)))
    ready = ("topics", "sql", *(n for n in ("schema-registry",) if n in catalog.nodes))
    catalog.add(*airflow_services(site, needs=ready))
    return catalog


def _streaming(site: Site, catalog: Catalog) -> None:
    catalog.add(
        Step("prism", lambda: ensure_prism(site.home.cache, version("apache-beam"), platform_env(site)))
    )
    catalog.add(Step("profiles", lambda: _write_profiles(site)))
    after = [n for n in ("topics", "prism", "profiles", "pubsub-setup") if n in catalog.nodes]
    catalog.add(_dataflow(site, needs=tuple(after)))


def _kafka(site: Site, catalog: Catalog) -> tuple[Service, Callable[[Path], str]]:
    """Kafka itself; where Java or Maven is missing, librdkafka's mock broker, which is said."""
    folder = site.home.data / "kafka"
    try:
        java = find_java()
        if not has_kafka_jars(site.home.cache):
            find_maven()
    except ConfigurationError as err:
        catalog.add(Absent("apache-kafka", f"{err.what}; librdkafka's mock broker stands in", err.remedy))
        return _mock_broker(site), lambda contracts: ask_for_topics(site.kafka, contracts)

    def node() -> KafkaNode:
        jars = kafka_jars(site.home.cache)
        return KafkaNode(java.path, jars, folder, site.ports["kafka"], site.ports["kafka_controller"])

    service = Service(
        name="kafka", kind="real", version=KAFKA_VERSION, ports=("kafka", "kafka_controller"),
        command=lambda: node().command, prepare=lambda: node().prepare(), ready=lambda _: node().ready(),
        grace=15,
    )  # fmt: skip
    return service, lambda contracts: create_topics(site.kafka, contracts)


def _mock_broker(site: Site) -> Service:
    def command() -> list[str]:
        return [
            sys.executable, "-m", "madhatter_provider.local.mock_broker", "--port", str(site.ports["kafka"])
        ]  # fmt: skip

    def ready(_: float) -> bool:
        return KafkaNode("", Path(), Path(), site.ports["kafka"], 0).ready()

    return Service(
        name="kafka", kind="emulator", version=f"librdkafka mock {version('confluent-kafka')}",
        ports=("kafka",), command=command, ready=ready,
    )  # fmt: skip


def _snowflake(site: Site) -> Service:
    def command() -> list[str]:
        tls, (_, public_key) = tls_files(site.home), snowflake_key(site.home)
        return [
            sys.executable, "-m", "madhatter_provider.local.snowflake",
            "--port", str(site.ports["snowflake"]), "--data-dir", str(site.home.data / "snowflake"),
            "--certfile", str(tls.certificate), "--keyfile", str(tls.key),
            "--public-key", f"{SNOWFLAKE_USER}={public_key}", "--account", SNOWFLAKE_ACCOUNT,
        ]  # fmt: skip

    def ready(_: float) -> bool:
        trusted = ssl.create_default_context(cafile=str(tls_files(site.home).ca))
        return http_answers(site.url("snowflake", scheme="https"), context=trusted)

    return Service(
        name="snowflake", kind="local", version=f"fakesnow {version('fakesnow')}", ports=("snowflake",),
        command=command, ready=ready,
    )  # fmt: skip


def _apply_sql(site: Site) -> str:
    return run_step(site, "sql", ["madhatter", "sql", "apply"])


def run_step(site: Site, name: str, command: Sequence[str]) -> str:
    """Run a command with the platform's environment; returns the last line that it printed.

    :raises ServiceError: it failed; its output is in the log named.
    """
    log = site.home.logs / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    start = log.stat().st_size if log.exists() else 0
    env = platform_env(site)
    program = shutil.which(command[0], path=env["PATH"]) or command[0]
    with log.open("ab") as out:
        code = subprocess.run(
            [program, *command[1:]], env=env, cwd=site.home.project, stdin=subprocess.DEVNULL,
            stdout=out, stderr=subprocess.STDOUT, timeout=_STEP_SECONDS, check=False,
        ).returncode  # fmt: skip
    said = tail(log, start=start)
    if code:
        raise ServiceError(
            f"{' '.join(command)} ended with code {code}\n{said}", where=str(log),
            remedy=f"Read its log: madhatter local logs {name}.",
        )  # fmt: skip
    return (said.splitlines() or [""])[-1]


def _pubsub(site: Site) -> Service | Absent:
    try:
        java, jar = find_java(), find_emulator_jar()
    except ConfigurationError as err:
        return Absent("pubsub", f"{err.what}; the alert leg is not run", err.remedy)
    return Service(
        name="pubsub", kind="emulator", version=emulator_version(jar), ports=("pubsub",),
        command=lambda: emulator_command(java.path, jar, site.ports["pubsub"]),
        ready=lambda _: http_answers(site.url("pubsub")), remedy=REMEDY,
    )  # fmt: skip


def _webhook(site: Site) -> Service:
    """What tells the security team: a chat, an incident tool and a mailbox in one process."""

    def command() -> list[str]:
        return [
            sys.executable, "-m", "madhatter_provider.local.webhook",
            "--port", str(site.ports["webhook"]), "--out", str(site.home.data / "webhook.ndjson"),
            "--smtp-port", str(site.ports["smtp"]), "--mail-out", str(site.home.data / "mail.ndjson"),
        ]  # fmt: skip

    return Service(
        name="webhook", kind="local", version=__version__, ports=("webhook", "smtp"), command=command,
        ready=lambda _: http_answers(f"{site.url('webhook')}/health"),
    )  # fmt: skip


def _function(site: Site) -> Service:
    """The Cloud Function under Google's own framework. It needs Pub/Sub: nobody else calls it."""
    source = site.home.project / _FUNCTION

    def command() -> list[str]:
        return [
            sys.executable, "-m", "functions_framework", "--source", str(source), "--target", "fraud_alert",
            "--signature-type", "cloudevent", "--host", "127.0.0.1", "--port", str(site.ports["function"]),
        ]  # fmt: skip

    return Service(
        name="function", kind="real", version=f"functions-framework {version('functions-framework')}",
        ports=("function",), command=command, needs=("pubsub", "webhook"),
        # The framework answers this path itself; any other would call the function.
        ready=lambda _: http_answers(f"{site.url('function')}/robots.txt"),
    )  # fmt: skip


def _schema_registry(site: Site) -> Service:
    """For projects with a stream whose format needs one. Its schemas come from whoever produces."""

    def command() -> list[str]:
        return [
            sys.executable, "-m", "madhatter_provider.local.schema_registry",
            "--port", str(site.ports["schema_registry"]),
            "--data", str(site.home.data / "schema-registry" / "schemas.json"),
        ]  # fmt: skip

    return Service(
        name="schema-registry", kind="local", version=__version__, ports=("schema_registry",),
        command=command, ready=lambda _: http_answers(f"{site.url('schema_registry')}/subjects"),
    )  # fmt: skip


def _write_profiles(site: Site) -> str:
    """Profiles for the default seed, unless somebody has put others there."""
    if site.home.profiles.exists():
        return "kept"
    return run_step(site, "profiles", ["madhatter", "traffic", "profiles", "--out", str(site.home.profiles)])


def _set_up_pubsub(site: Site) -> str:
    """In a process of its own: the client reads the emulator's address from the environment."""
    module = "madhatter_provider.local.pubsub_setup"
    call = f"from {module} import ensure_pubsub; ensure_pubsub({PUBSUB_PROJECT!r}, {site.url('function')!r})"
    run_step(site, "pubsub-setup", [sys.executable, "-c", call])
    return "topics and subscriptions of the alerts"


def _dataflow(site: Site, needs: tuple[str, ...]) -> Service:
    """The local Dataflow service. Its jobs are processes of their own, drained when it ends."""
    folder = site.home.data / "dataflow"
    templates = folder / "templates.json"

    def command() -> list[str]:
        return [
            sys.executable, "-m", "madhatter_provider.local.dataflow",
            "--port", str(site.ports["dataflow"]), "--work-dir", str(folder), "--templates", str(templates),
        ]  # fmt: skip

    return Service(
        name="dataflow", kind="local", version=f"Beam {version('apache-beam')}", ports=("dataflow",),
        command=command, prepare=lambda: write_atomic(templates, json.dumps(_templates(site), indent=1)),
        ready=lambda _: http_answers(f"{site.url('dataflow')}/health"), needs=needs, grace=25,
    )  # fmt: skip


def _templates(site: Site) -> dict[str, object]:
    """What stands for the Flex Templates of the cloud: the same pipelines, run by Prism on this machine."""
    pipeline = (site.home.project / _PIPELINE).with_suffix("")
    prism = prism_path(site.home.cache, version("apache-beam"))
    options = ["--runner=PrismRunner", *([f"--prism_location={prism}"] if prism.exists() else [])]
    command = [sys.executable, str(pipeline.with_suffix(".py")), *options]
    return {pipeline.as_uri(): {"command": command, "streaming": True}}
