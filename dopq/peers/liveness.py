"""Whether a node is there, as far as this one can tell: alive, suspect, down, forgotten. Pure.

A node that lives signs a new record every heartbeat, and tables pass it on: news of it is a sign of life, whoever
brought it. Silence makes it suspect and then down, and so does a call of ours to which nobody answers. All of this is
this node's own view and never merged: whoever cannot reach a node would else talk all others into giving it up.

Times are seconds since 1970 by this machine's clock, since they have to survive a restart. Should somebody set that
clock, nodes are misjudged until the next news of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from dopq.peers.node_key import NodeId
from dopq.peers.record import NodeRecord
from dopq.peers.table import Table

SUSPECT_BEATS, DOWN_BEATS = 3, 6
"""After so many heartbeats of silence."""


class Liveness(StrEnum):
    """What is thought of a node."""

    ALIVE = "alive"
    SUSPECT = "suspect"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long silence is put up with, in seconds."""

    heartbeat_s: float = 60.0
    forget_s: float = 7 * 86400.0
    buried_s: float = 30 * 86400.0


@dataclass(frozen=True, slots=True)
class Contact:
    """When we last had to do with a node, in seconds since 1970; 0: never.

    Attributes:
        heard_at: news of it came, from itself or others.
        failed_at: a call of ours to it failed, and there has been no news since.
        vouched: it has shown the certificate that its record names.
    """

    heard_at: float = 0.0
    failed_at: float = 0.0
    vouched: bool = False

    def heard(self, at: float) -> Contact:
        """With news of it."""
        return replace(self, heard_at=at, failed_at=0.0)

    def failed(self, at: float) -> Contact:
        """With a call that failed; the first one since the last news counts."""
        return replace(self, failed_at=self.failed_at or at)


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What stays of a forgotten node: up to which version hearsay of it is old, and since when."""

    version: tuple[int, int]
    since: float


Tombstones = dict[NodeId, Tombstone]


def liveness(contact: Contact, patience: Patience, now: float) -> Liveness:
    """What to think of a node."""
    silence = now - contact.heard_at
    if silence > DOWN_BEATS * patience.heartbeat_s:
        return Liveness.DOWN
    if silence > SUSPECT_BEATS * patience.heartbeat_s or contact.failed_at:
        return Liveness.SUSPECT
    return Liveness.ALIVE


def forgettable(table: Table, contacts: dict[NodeId, Contact], patience: Patience, now: float) -> list[NodeRecord]:
    """The records of those that have been silent for too long to be kept."""
    return [
        record for node, record in table.items() if now - contacts.get(node, Contact()).heard_at > patience.forget_s
    ]


def outlived(tombstones: Tombstones, patience: Patience, now: float) -> list[NodeId]:
    """The tombstones that have stood for long enough: whoever had the old record has forgotten it, too."""
    return [node for node, stone in tombstones.items() if now - stone.since > patience.buried_s]
