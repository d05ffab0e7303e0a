"""librdkafka's mock broker, for machines without Java.

``python -m madhatter_provider.local.mock_broker --port N``. Enough for a small demo, and no more: four
partitions for every topic (topics appear when they are asked for), 5 MB of messages per partition after which
old ones vanish without a word, and nothing survives a restart.

librdkafka chooses the broker's own port and names a controller that does not exist. This process listens on
the port it was given and passes everything on; in the broker's answers it replaces that port by its own and
that controller by the broker, so that clients have a stable address and may describe topics.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import struct
from dataclasses import dataclass

_LENGTH = struct.Struct(">i")
# Answers that name addresses are short; longer ones carry messages and are left alone.
_LONGEST_REWRITTEN = 1 << 16


@dataclass(frozen=True, slots=True)
class MockCluster:
    """Address of the mock broker and how its cluster calls itself."""

    host: str
    port: int
    node_id: int
    cluster_id: str

    def rewrite(self, answer: bytes, port: int) -> bytes:
        """An answer of the broker with another port, and with the broker as controller."""
        if len(answer) > _LONGEST_REWRITTEN:
            return answer
        host, cluster = self.host.encode(), self.cluster_id.encode()
        answer = answer.replace(host + _LENGTH.pack(self.port), host + _LENGTH.pack(port))
        return answer.replace(cluster + _LENGTH.pack(0), cluster + _LENGTH.pack(self.node_id))


async def _requests(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()


async def _answers(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cluster: MockCluster, port: int
) -> None:
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        while True:
            (length,) = _LENGTH.unpack(await reader.readexactly(4))
            answer = cluster.rewrite(await reader.readexactly(length), port)
            writer.write(_LENGTH.pack(length) + answer)
            await writer.drain()
    writer.close()


async def _serve(port: int, cluster: MockCluster) -> None:
    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(cluster.host, cluster.port)
        await asyncio.gather(_requests(reader, there_writer), _answers(there_reader, writer, cluster, port))

    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    server = await asyncio.start_server(forward, "127.0.0.1", port)
    await ended.wait()
    server.close()


def main() -> None:
    """Run until SIGTERM."""
    from confluent_kafka import Producer

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, required=True, help="port of 127.0.0.1 to listen on")
    asked = parser.parse_args()
    # The mock cluster lives as long as this client, whose bootstrap.servers become the mock's address.
    client = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": ""})
    known = client.list_topics(timeout=10)
    broker = next(iter(known.brokers.values()))
    asyncio.run(_serve(asked.port, MockCluster(broker.host, broker.port, broker.id, known.cluster_id)))


if __name__ == "__main__":
    main()
