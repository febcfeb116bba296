"""The node table and the rule by which two tables become one. Pure.

Tables merge by rule, not by arrival: only a node itself raises its `incarnation` (with each start) and `sequence` (with
each change), so the newest record of a node is the largest, whoever brought it and in whatever order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NewType

NodeId = NewType("NodeId", str)


@dataclass(frozen=True, slots=True, order=True)
class NodeRecord:
    """What a node says of itself. Ordered by age: `incarnation`, then `sequence`; the rest only makes it total."""

    incarnation: int
    sequence: int
    node_id: NodeId
    name: str
    version: str
    nameserver: str


Table = dict[NodeId, NodeRecord]


def merge(mine: Table, theirs: Table) -> Table:
    """The newest record of every node that either table knows. Commutative, associative and idempotent."""
    return {node: max(table[node] for table in (mine, theirs) if node in table) for node in mine.keys() | theirs.keys()}


def changed(record: NodeRecord, **facts: Any) -> NodeRecord:
    """A node's own record with new facts in it: newer than the one before."""
    return replace(record, sequence=record.sequence + 1, **facts)


def table_to_wire(table: Table) -> list[dict[str, Any]]:
    """The table as plain data, by node name."""
    return [
        {
            "node_id": str(record.node_id),
            "name": record.name,
            "version": record.version,
            "nameserver": record.nameserver,
            "incarnation": record.incarnation,
            "sequence": record.sequence,
        }
        for record in sorted(table.values(), key=lambda record: (record.name, record.node_id))
    ]
