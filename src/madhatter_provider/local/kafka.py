"""Real Apache Kafka on this machine, without Docker: jars from Maven Central, one KRaft node.

1. :func:`kafka_jars` fetches the jars once into the cache.
2. :meth:`KafkaNode.prepare` writes the configuration and formats the log folder once.
3. :attr:`KafkaNode.command` runs the node; :meth:`KafkaNode.ready` asks it for its metadata.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import uuid
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.local.home import fill_folder, write_atomic
from madhatter_provider.local.java import find_java
from madhatter_provider.local.kafka_security import KafkaSecurity

KAFKA_VERSION = "4.3.1"
_LOG4J_VERSION = "2.25.3"
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
_LISTING = "jars.json"
_MAVEN_SECONDS = 600
_FORMAT_SECONDS = 120

_POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>madhatter</groupId><artifactId>kafka-node</artifactId><version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{KAFKA_VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId>
      <version>{_LOG4J_VERSION}</version>
    </dependency>
  </dependencies>
</project>
"""

_LOG4J = """status=warn
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d{ISO8601} %p %c %m%n
rootLogger.level=warn
rootLogger.appenderRef.console.ref=console
logger.server.name=kafka.server.KafkaRaftServer
logger.server.level=info
"""

# One node on a laptop: every internal topic has one replica and few partitions, and the log cleaner's buffer
# (128 MB by default) fits the small heap. The session is short (default 9 s) because a killed node may
# register again only when its old session is over.
_PROPERTIES = """process.roles={roles}
node.id={node_id}
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners={listeners}
advertised.listeners={listener}://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,{listener}:{listener}
inter.broker.listener.name={listener}
log.dirs={logs}
auto.create.topics.enable=false
num.partitions=3
num.network.threads=2
num.io.threads=4
background.threads=2
log.cleaner.dedupe.buffer.size=16777216
log.segment.bytes=134217728
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=2
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=4000
"""


def kafka_jars(cache: Path) -> Path:
    """The folder with the jars of Kafka; fetched with Maven when the cache lacks them.

    The folder appears by a rename, so it is whole or absent; a folder that lost a file is fetched again.

    :raises ConfigurationError: Maven is missing or failed.
    """
    folder = _folder(cache)
    if _complete(folder):
        return folder
    if folder.exists():
        shutil.rmtree(folder)
    fill_folder(folder, _fetch)
    return folder


def has_kafka_jars(cache: Path) -> bool:
    """Whether :func:`kafka_jars` would fetch nothing."""
    return _complete(_folder(cache))


def _folder(cache: Path) -> Path:
    return cache / f"kafka-{KAFKA_VERSION}"


def _complete(folder: Path) -> bool:
    try:
        sizes: dict[str, int] = json.loads((folder / _LISTING).read_text(encoding="utf-8"))
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False


def find_maven() -> str:
    """Path of ``mvn``.

    :raises ConfigurationError: it is not installed.
    """
    maven = shutil.which("mvn")
    if maven is None:
        raise ConfigurationError(
            "Maven is not installed; it fetches the jars of Apache Kafka",
            where="mvn on the PATH",
            remedy="Debian: apt-get install maven; macOS: brew install maven.",
        )
    return maven


def _fetch(jars: Path) -> None:
    maven = find_maven()
    pom = jars.with_name("pom.xml")
    pom.write_text(_POM, encoding="utf-8")
    options = ["-DincludeScope=runtime", f"-DoutputDirectory={jars}"]
    _run(
        [maven, "-q", "-B", "-f", str(pom), _COPY, *options], _MAVEN_SECONDS,
        "Maven could not fetch Kafka", "Check the network and Maven's settings.xml (proxy, mirror).",
    )  # fmt: skip
    listing = {jar.name: jar.stat().st_size for jar in jars.glob("*.jar")}
    (jars / _LISTING).write_text(json.dumps(listing, indent=1, sort_keys=True), encoding="utf-8")


def _run(command: list[str], seconds: float, what: str, remedy: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired as err:
        raise ConfigurationError(f"{what} within {seconds:.0f} s", where=command[0], remedy=remedy) from err
    if done.returncode:
        said = (done.stdout + done.stderr).strip()[-2000:]
        raise ConfigurationError(f"{what}: {said}", where=command[0], remedy=remedy)


@dataclass(frozen=True, slots=True)
class KafkaNode:
    """One KRaft node: broker and controller in one process, or a further broker of such a node's cluster.

    :param java: path of ``java``.
    :param jars: folder of :func:`kafka_jars`.
    :param folder: configuration and log segments; keep it and a restarted node has its data.
    :param port: clients connect here.
    :param controller_port: the node's own controller listener.
    :param security: TLS, users and access rules; default: none, anybody on this machine may do all.
    :param joins: the first node of the cluster, which must have been started; this one is its second broker.
    """

    java: str
    jars: Path
    folder: Path
    port: int
    controller_port: int
    security: KafkaSecurity | None = None
    joins: KafkaNode | None = None

    @property
    def client_config(self) -> dict[str, Any]:
        """Configuration of a client that may do everything."""
        security = self.security.client_config() if self.security else {}
        return {"bootstrap.servers": self.bootstrap_servers, **security}

    @property
    def bootstrap_servers(self) -> str:
        """Address for clients."""
        return f"127.0.0.1:{self.port}"

    @property
    def _config(self) -> Path:
        return self.folder / "server.properties"

    @property
    def _class_path(self) -> str:
        return str(self.jars / "*")

    @property
    def command(self) -> list[str]:
        """Command line of the node. A small heap: the page cache does the work."""
        return [
            self.java, "-Xms128m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:MaxMetaspaceSize=128m",
            f"-Dlog4j2.configurationFile={self.folder / 'log4j2.properties'}",
            "-cp", self._class_path, "kafka.Kafka", str(self._config),
        ]  # fmt: skip

    def prepare(self) -> None:
        """Write the configuration (ports may have changed) and format the log folder if it is new.

        :raises ConfigurationError: Kafka's storage tool failed.
        """
        logs = self.folder / "logs"
        if self.security:
            self.security.prepare()
        write_atomic(self._config, self._properties(logs), mode=0o600)
        write_atomic(self.folder / "log4j2.properties", _LOG4J)
        if (logs / "meta.properties").exists():
            return
        command = [
            self.java, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", self._class_path,
            "kafka.tools.StorageTool", "format", "-t", self._cluster_id(), "-c", str(self._config),
            *(self.security.format_options if self.security else ()),
        ]  # fmt: skip
        _run(
            command, _FORMAT_SECONDS, "Kafka's storage tool could not format the log folder",
            f"Check disk space and permissions of {self.folder}.",
        )  # fmt: skip

    def _properties(self, logs: Path) -> str:
        listener = self.security.listener if self.security else "PLAINTEXT"
        listeners = [f"{listener}://127.0.0.1:{self.port}"]
        if not self.joins:
            listeners.append(f"CONTROLLER://127.0.0.1:{self.controller_port}")
        properties = _PROPERTIES.format(
            roles="broker" if self.joins else "broker,controller", node_id=2 if self.joins else 1,
            listener=listener, listeners=",".join(listeners), port=self.port,
            controller_port=self.controller_port, logs=logs,
        )  # fmt: skip
        return properties + (self.security.properties if self.security else "")

    def _cluster_id(self) -> str:
        if self.joins is None:
            return _new_cluster_id()
        known = (self.joins.folder / "logs" / "meta.properties").read_text(encoding="utf-8")
        return next(line.partition("=")[2] for line in known.splitlines() if line.startswith("cluster.id="))

    def ready(self) -> bool:
        """Whether the node answers a metadata request."""
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient

        # log_level 0: a node that is still starting is no news.
        client = AdminClient({**self.client_config, "log_level": 0})
        try:
            return bool(client.list_topics(timeout=2).brokers)
        except KafkaException:
            return False


def kafka_node(
    cache: Path, folder: Path, port: int, controller_port: int, security: KafkaSecurity | None = None
) -> KafkaNode:
    """A node with the Java of this machine and the jars of the cache.

    :raises ConfigurationError: Java or Maven is missing, too old or failed.
    """
    return KafkaNode(find_java().path, kafka_jars(cache), folder, port, controller_port, security)


def _new_cluster_id() -> str:
    """22 characters of URL-safe base64, not starting with a dash: the tool would take it for an option."""
    while (ident := urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()).startswith("-"):
        pass
    return ident
