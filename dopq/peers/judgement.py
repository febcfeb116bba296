"""Whether a record that somebody brought is taken into the table. Pure.

What is cheap to find out comes first, the signature last: thousands of records that are refused cost little.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dopq.peers.addresses import Reach
from dopq.peers.liveness import Contact, Tombstones
from dopq.peers.node_key import NodeId
from dopq.peers.record import NodeRecord, is_genuine
from dopq.peers.refusal import Refused, Why
from dopq.peers.table import MOST_NODES, MOST_TABLE_BYTES, Table, size_bytes

LATE_S = 300.0
"""How far the clock of another node may be ahead of ours."""


@dataclass(frozen=True, slots=True)
class View:
    """By what a record is judged.

    Attributes:
        table: the records of all nodes, this one's own included.
        me: this node.
        now: seconds since 1970.
    """

    table: Table
    me: NodeId
    reach: Reach
    tombstones: Tombstones
    now: float
    contacts: Mapping[NodeId, Contact] = field(default_factory=dict)


def judge(record: NodeRecord, view: View) -> NodeId | None:
    """Let a record into the table.

    Returns:
        the node whose place it takes there; None where there is space.

    Raises:
        Refused: it is not let in; says why. `Why.OLD` is nothing to worry about.
    """
    known = view.table.get(record.node_id)
    if known and record.age <= known.age:
        raise Refused(Why.OLD, f"version {record.version}, known is {known.version}")
    stone = view.tombstones.get(record.node_id)
    if stone and record.version <= stone.version:
        raise Refused(Why.BURIED, f"version {record.version} of a node that was given up")
    if record.facts.issued_at > view.now + LATE_S:
        raise Refused(Why.FROM_THE_FUTURE, f"signed {record.facts.issued_at - view.now:.0f} s from now")
    if record.node_id != view.me:
        _judge_addresses(record, view)
    makes_way = None if known else _space(record, view)
    if not is_genuine(record):
        raise Refused(Why.FORGED, "the node that it is about did not sign it")
    return makes_way


def _judge_addresses(record: NodeRecord, view: View) -> None:
    for text in record.facts.addresses:
        view.reach.judge(text, record.facts.port)


def _space(record: NodeRecord, view: View) -> NodeId | None:
    """Whose place a newcomer takes: of those who have never shown their certificate, the one not heard of longest."""
    if len(view.table) < MOST_NODES and size_bytes(view.table) + len(record.body) <= MOST_TABLE_BYTES:
        return None
    if not view.contacts.get(record.node_id, Contact()).vouched:
        raise Refused(Why.TABLE_FULL, f"{len(view.table)} nodes are known")
    hearsay = [node for node in view.table if node != view.me and not view.contacts.get(node, Contact()).vouched]
    if not hearsay:
        raise Refused(Why.TABLE_FULL, f"{len(view.table)} nodes have proved themselves")
    return min(hearsay, key=lambda node: (view.contacts.get(node, Contact()).heard_at, node))
