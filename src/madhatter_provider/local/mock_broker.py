"""librdkafka's mock broker, for machines without Java.

``python -m madhatter_provider.local.mock_broker --port N``. Enough to try things, and no more: four
partitions for every topic (topics appear when they are asked for), 5 MB of messages per partition after which
old ones vanish without a word, no topic ids, and nothing survives a restart. librdkafka chooses the broker's
own port; this process listens on the port it was given and forwards: clients have a stable first address.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def _serve(port: int, host: str, broker_port: int) -> None:
    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(host, broker_port)
        await asyncio.gather(_pump(reader, there_writer), _pump(there_reader, writer))

    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with await asyncio.start_server(forward, "127.0.0.1", port):
        await ended.wait()


def main() -> None:
    """Run until SIGTERM."""
    from confluent_kafka import Producer

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, required=True, help="port of 127.0.0.1 to listen on")
    asked = parser.parse_args()
    # The mock cluster lives as long as this client, whose bootstrap.servers become the mock's address.
    client = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": ""})
    broker = next(iter(client.list_topics(timeout=10).brokers.values()))
    asyncio.run(_serve(asked.port, broker.host, broker.port))


if __name__ == "__main__":
    main()
