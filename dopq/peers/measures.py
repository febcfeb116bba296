"""How near other nodes are: latency and speed, as this node measured them. Never told to others as a fact of theirs."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from dopq.peers.link import Conversation
from dopq.peers.node_key import NodeId

ECHOES = 5
"""The median of so many echoes, on a connection that is warm, is the latency."""

CHUNK_BYTES = 2**20
"""What one answer carries of a speed test."""

SENT_BYTES = 2**19
"""What one call carries: with what is around it, it has to stay below what a node takes as one call."""

MOST_BYTES, LONGEST_S = 50_000_000, 5.0
"""A speed test ends in each direction after so many bytes or seconds, whichever is first."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured of one node: seconds, bytes a second, and when, in seconds since 1970; None: not yet."""

    latency_s: float | None = None
    latency_at: float | None = None
    to_bytes_per_s: float | None = None
    from_bytes_per_s: float | None = None
    speed_at: float | None = None


class Measures:
    """The newest measures of each node. Thread-safe."""

    def __init__(self) -> None:
        self._of: dict[NodeId, Measured] = {}
        self._lock = threading.Lock()

    def of(self, node: NodeId) -> Measured:
        """What was measured of a node."""
        return self._of.get(node, Measured())

    def latency(self, node: NodeId, seconds: float, at: float) -> None:
        """A new latency."""
        with self._lock:
            self._of[node] = replace(self.of(node), latency_s=seconds, latency_at=at)

    def speed(self, node: NodeId, to_bytes_per_s: float, from_bytes_per_s: float, at: float) -> None:
        """New speeds, to the node and from it."""
        with self._lock:
            self._of[node] = replace(
                self.of(node), to_bytes_per_s=to_bytes_per_s, from_bytes_per_s=from_bytes_per_s, speed_at=at
            )

    def forget(self, node: NodeId) -> None:
        """Nothing was measured of it any more."""
        with self._lock:
            self._of.pop(node, None)


def latency_s(conversation: Conversation) -> float:
    """The median time of an echo over a connection over which something has gone already. Raises `DopqError`."""
    times = []
    for _ in range(ECHOES):
        begun = time.perf_counter()
        conversation.echo()
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def speed_to(conversation: Conversation) -> float:
    """Bytes a second that get there. Raises `DopqError`."""
    data = bytes(SENT_BYTES)

    def send() -> int:
        conversation.send(data)
        return SENT_BYTES

    return _speed(send)


def speed_from(conversation: Conversation) -> float:
    """Bytes a second that come from there. Raises `DopqError`."""
    return _speed(lambda: conversation.receive(CHUNK_BYTES))


def _speed(move: Callable[[], int]) -> float:
    begun = time.perf_counter()
    moved, took_s = 0, 0.0
    while moved < MOST_BYTES and took_s < LONGEST_S:
        moved += move()
        took_s = time.perf_counter() - begun
    return moved / took_s
