"""What two nodes say to each other so that their tables become one. Pure: nothing here waits, calls or knows a clock.

The caller asks twice at most, and nobody ever calls back:

1. `compare`: its own record and the summary of its table. The answer: the other's own record and, where the summaries
   differ, its digest.
2. `trade`: the records that the other lacks, and the ids of those that the caller lacks. The answer: these records.

A change is pushed with `trade` alone, with nothing wanted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dopq.peers.node_key import NodeId
from dopq.peers.record import NodeRecord, read
from dopq.peers.refusal import Refused, Why
from dopq.peers.table import Table, entries, summary, version_of
from dopq.wire import Plain

MOST_RECORDS = 400
MOST_MESSAGE_BYTES = 512 * 1024
"""How many records one message carries, and how large they are together. The others follow with the next round."""

ID_BYTES = 16


@dataclass(frozen=True, slots=True)
class Differences:
    """What a caller sends and asks for after a comparison."""

    give: list[NodeRecord]
    want: list[NodeId]

    def __bool__(self) -> bool:
        return bool(self.give or self.want)


def compared(our_digest: bytes, their_summary: bytes) -> bytes:
    """What is answered to a summary: our digest; empty where they have the same table."""
    return b"" if summary(our_digest) == their_summary else our_digest


def differences(table: Table, theirs: bytes) -> Differences:
    """What the caller has to say after it was told a digest; an empty one means that both have the same.

    Raises:
        Refused: that is no digest.
    """
    if not theirs:
        return Differences([], [])
    try:
        versions = dict(entries(theirs))
    except ValueError as error:
        raise Refused(Why.MALFORMED, str(error)) from None
    give = [record for node, record in table.items() if version_of(record) > versions.get(node, b"")]
    want = [node for node, version in versions.items() if node not in table or version > version_of(table[node])]
    return Differences(fitting(give), want[:MOST_RECORDS])


def wanted(table: Table, ids: bytes) -> list[NodeRecord]:
    """The records that are asked for, as far as they are known and fit into one answer."""
    asked = (NodeId(ids[start : start + ID_BYTES].hex()) for start in range(0, len(ids), ID_BYTES))
    return fitting(table[node] for node in asked if node in table)


def ids_to_wire(nodes: Iterable[NodeId]) -> bytes:
    """Ids as they travel."""
    return b"".join(bytes.fromhex(node) for node in nodes)


def records_from_wire(told: object) -> tuple[list[NodeRecord], list[Refused]]:
    """The records of a message, and why others in it are none."""
    records: list[NodeRecord] = []
    refused: list[Refused] = []
    for item in told if isinstance(told, list) else []:
        if len(records) + len(refused) == MOST_RECORDS:
            refused.append(Refused(Why.TOO_MANY, f"more than {MOST_RECORDS} records in one message"))
            break
        try:
            records.append(record_from_wire(item))
        except Refused as refusal:
            refused.append(refusal)
    return records, refused


def record_from_wire(told: object) -> NodeRecord:
    """One record. Raises `Refused`."""
    match told:
        case {"body": bytes(body), "signature": bytes(signature)}:
            return read(body, signature)
    raise Refused(Why.MALFORMED, "a record is a body and a signature")


def records_to_wire(records: Iterable[NodeRecord]) -> list[Plain]:
    """Records as they travel."""
    return [{"body": record.body, "signature": record.signature} for record in records]


def fitting(records: Iterable[NodeRecord]) -> list[NodeRecord]:
    """As many of them, from the first, as one message carries."""
    chosen: list[NodeRecord] = []
    left = MOST_MESSAGE_BYTES
    for record in records:
        left -= len(record.body)
        if left < 0 or len(chosen) == MOST_RECORDS:
            break
        chosen.append(record)
    return chosen
