"""A walk from neighbour to neighbour: ask all who are known, then all whom they know, until so many hops or seconds."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from dopq.peers.node_key import NodeId
from dopq.peers.record import NodeRecord
from dopq.peers.table import Table

MOST_AT_ONCE = 64
"""How many are asked at a time; one that hangs takes one of these, and the others go on."""


@dataclass(frozen=True, slots=True)
class Walked:
    """How a walk went: how many nodes were asked, and how many of them answered before its end."""

    asked: int
    answered: int


def walk(
    table: Callable[[], Table], me: NodeId, ask: Callable[[NodeRecord], bool], hops: int, within_s: float
) -> Walked:
    """Ask breadth first, each node once and in a thread of its own, and whoever becomes known thereby a hop later.

    Args:
        table: who is known now.
        ask: exchanges tables with a node; whether it answered. It may take longer than the walk.
    """
    until = time.monotonic() + within_s
    told: queue.SimpleQueue[tuple[int, bool]] = queue.SimpleQueue()
    asked: set[NodeId] = set()
    todo: list[tuple[int, NodeRecord]] = []
    under_way = answered = 0

    def find(hop: int) -> None:
        for node, record in table().items() if hop <= hops else []:
            if node != me and node not in asked and record.facts.addresses:
                asked.add(node)
                todo.append((hop, record))

    find(1)
    while under_way or todo:
        while todo and under_way < MOST_AT_ONCE:
            hop, record = todo.pop(0)
            threading.Thread(
                target=lambda hop=hop, record=record: told.put((hop, ask(record))),
                name=f"walk-{record.facts.name}",
                daemon=True,
            ).start()
            under_way += 1
        try:
            hop, has_answered = told.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            break
        under_way -= 1
        answered += has_answered
        if has_answered:
            find(hop + 1)
    return Walked(len(asked), answered)
