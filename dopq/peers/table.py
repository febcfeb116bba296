"""The node table and the rule by which two tables become one. Pure.

Tables merge by rule, not by arrival: only a node itself raises its `incarnation` (with each start) and `sequence` (with
each record), so the newest record of a node is the largest, whoever brought it and in whatever order.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator, Mapping

from dopq.peers.node_key import NodeId
from dopq.peers.record import NodeRecord

Table = Mapping[NodeId, NodeRecord]

MOST_NODES = 2_000
MOST_TABLE_BYTES = 8 * 2**20
"""How many records a table holds, and how large they are together."""

_ENTRY = struct.Struct(">16sQQ8s")
"""One node of a digest: id, incarnation, sequence, and the beginning of the body's SHA-256."""

MOST_DIGEST_BYTES = (MOST_NODES + 1) * _ENTRY.size


def merge(mine: Table, theirs: Table) -> dict[NodeId, NodeRecord]:
    """The newest record of every node that either table knows. Commutative, associative and idempotent."""
    merged = dict(mine)
    for node, record in theirs.items():
        merged[node] = newer(merged.get(node), record)
    return merged


def newer(one: NodeRecord | None, other: NodeRecord) -> NodeRecord:
    """The newer of two records of one node."""
    return other if one is None or other.age > one.age else one


def table_of(records: Iterable[NodeRecord]) -> dict[NodeId, NodeRecord]:
    """A table with the newest of these records of every node."""
    table: dict[NodeId, NodeRecord] = {}
    for record in records:
        table[record.node_id] = newer(table.get(record.node_id), record)
    return table


def size_bytes(table: Table) -> int:
    """How large its records are together."""
    return sum(len(record.body) + len(record.signature) for record in table.values())


def digest(table: Table) -> bytes:
    """Which version of which node a table has: 40 bytes a node, in the order of ids."""
    return b"".join(entry(table[node]) for node in sorted(table))


def summary(digest: bytes) -> bytes:
    """32 bytes that are the same for the same digest alone."""
    return hashlib.sha256(digest).digest()


def entry(record: NodeRecord) -> bytes:
    """A record's line in a digest."""
    return _ENTRY.pack(bytes.fromhex(record.node_id), *record.version, record.check[:8])


def entries(digest: bytes) -> Iterator[tuple[NodeId, bytes]]:
    """Each node of a digest with its version, in a form whose order is that of the versions.

    Raises:
        ValueError: it is no digest, or longer than any table.
    """
    if len(digest) % _ENTRY.size or len(digest) > MOST_DIGEST_BYTES:
        raise ValueError(f"{len(digest)} bytes are no digest")
    for start in range(0, len(digest), _ENTRY.size):
        yield NodeId(digest[start : start + 16].hex()), digest[start + 16 : start + _ENTRY.size]


def version_of(record: NodeRecord) -> bytes:
    """A record's version in the form that `entries` has."""
    return entry(record)[16:]
