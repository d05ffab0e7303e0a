"""What the mock broker's answers are rewritten to."""

from __future__ import annotations

import struct

from madhatter_provider.local.mock_broker import MockCluster

CLUSTER = MockCluster("127.0.0.1", 33333, 1, "mockCluster0123456789ab")


def _address(port: int) -> bytes:
    return b"\x0a127.0.0.1" + struct.pack(">i", port)


def _controller(node: int) -> bytes:
    return b"\x18mockCluster0123456789ab" + struct.pack(">i", node)


def test_address_and_controller_are_replaced() -> None:
    answer = b"\0\0\0\x07" + _address(33333) + _controller(0) + b"topics"
    assert CLUSTER.rewrite(answer, 20000) == b"\0\0\0\x07" + _address(20000) + _controller(1) + b"topics"


def test_other_addresses_and_real_controllers_stay() -> None:
    answer = _address(33334) + _controller(2)
    assert CLUSTER.rewrite(answer, 20000) == answer


def test_long_answers_carry_messages_and_stay() -> None:
    answer = _address(33333) + bytes(1 << 16)
    assert CLUSTER.rewrite(answer, 20000) is answer
