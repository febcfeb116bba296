"""The one owner of what this node knows of others: table, contacts, tombstones. Thread-safe; never waits, never calls.

Whoever has heard something tells it here and is told what was refused; whoever wants to know gets a snapshot.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random

from dopq.peers.addresses import Reach
from dopq.peers.exchange import compared, wanted
from dopq.peers.judgement import LATE_S, View, judge
from dopq.peers.liveness import (
    Contact,
    Liveness,
    Patience,
    Tombstone,
    Tombstones,
    forgettable,
    liveness,
    outlived,
)
from dopq.peers.node_key import NodeId, NodeKey
from dopq.peers.record import Facts, NodeRecord, is_genuine, signed
from dopq.peers.refusal import Refused, Why
from dopq.peers.specs import settled
from dopq.peers.table import Table, digest

Now = Callable[[], float]
"""Seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Known:
    """Everything that is worth keeping, at one moment."""

    table: Table
    contacts: dict[NodeId, Contact] = field(default_factory=dict)
    tombstones: Tombstones = field(default_factory=dict)


class Neighbourhood:
    """One node, and the others as it knows them.

    Attributes:
        me: this node's id.
        patience: see there.
        refusals: how often which reason to refuse something has occurred.
    """

    def __init__(
        self, key: NodeKey, facts: Facts, reach: Reach, patience: Patience, now: Now, kept: Known | None = None
    ) -> None:
        """`kept`: what an earlier life knew; its record of this node only says which incarnations are taken."""
        self.me = key.node_id
        self.patience = patience
        self.refusals: Counter[Why] = Counter()
        self._key = key
        self._reach = reach
        self._now = now
        kept = kept or Known({})
        former = kept.table.get(self.me)
        incarnation = max(facts.incarnation, former.facts.incarnation + 1 if former else 0)
        own = signed(facts.model_copy(update={"incarnation": incarnation, "issued_at": int(now())}), key)
        self._table: Table = {**kept.table, self.me: own}
        self._contacts = dict(kept.contacts)
        self._tombstones = dict(kept.tombstones)
        self._draft = dict(self._table)
        self._digest: tuple[Table, bytes] = ({}, b"")
        self._lock = threading.Lock()

    # --- to look at ---------------------------------------------------------------------------------------------------

    @property
    def table(self) -> Table:
        """The table as it is now; it is never changed, only replaced."""
        return self._table

    @property
    def own(self) -> NodeRecord:
        """This node's own newest record."""
        return self._table[self.me]

    @property
    def known(self) -> Known:
        """All that is worth keeping."""
        with self._lock:
            return Known(self._table, dict(self._contacts), dict(self._tombstones))

    def digest(self) -> bytes:
        """Which version of which node is known."""
        table, told = self._digest
        if table is not self._table:
            table = self._table
            told = digest(table)
            self._digest = table, told
        return told

    def compared(self, their_summary: bytes) -> bytes:
        """See `exchange.compared`."""
        return compared(self.digest(), their_summary)

    def wanted(self, ids: bytes) -> list[NodeRecord]:
        """See `exchange.wanted`."""
        return wanted(self._table, ids)

    def liveness(self, node: NodeId) -> Liveness:
        """What is thought of a node; this one is alive."""
        if node == self.me:
            return Liveness.ALIVE
        return liveness(self._contacts.get(node, Contact()), self.patience, self._now())

    def contact(self, node: NodeId) -> Contact:
        """When we last had to do with a node."""
        return self._contacts.get(node, Contact())

    def partners(self, count: int, random: Random) -> list[NodeRecord]:
        """Whom to exchange tables with next: so many who seem to be there, and one who does not.

        That one is why two parts of a lab find each other again after their cable was cut for a day.
        """
        there: list[NodeRecord] = []
        down: list[NodeRecord] = []
        for node, record in self._table.items():
            if node != self.me and record.facts.addresses:
                (down if self.liveness(node) is Liveness.DOWN else there).append(record)
        return [*random.sample(there, min(count, len(there))), *random.sample(down, min(1, len(down)))]

    # --- to tell ------------------------------------------------------------------------------------------------------

    def hear(self, records: Iterable[NodeRecord]) -> list[Refused]:
        """Take what is news of what somebody says; what was refused, without what was merely old."""
        with self._changing():
            refused = [refusal for record in records if (refusal := self._hear_one(record))]
            self.refusals.update(refusal.why for refusal in refused)
            return [refusal for refusal in refused if refusal.why is not Why.OLD]

    def meet(self, record: NodeRecord, name: str | None, certificate: str) -> None:
        """Take a node's own record from itself, which has shown a certificate with that name and fingerprint.

        Raises:
            Refused: the record names another certificate, is another's, or is no good.
        """
        with self._changing():
            refusal = _not_its_own(record, name, certificate)
            if refusal is None and record.node_id != self.me:
                self._contacts[record.node_id] = Contact(self._now(), vouched=True)
            refusal = refusal or self._hear_one(record)
            if refusal and refusal.why is not Why.OLD:
                self.refusals[refusal.why] += 1
                if record.node_id not in self._draft:
                    self._contacts.pop(record.node_id, None)
                raise refusal

    def failed(self, node: NodeId) -> None:
        """A call to a node failed."""
        with self._lock:
            self._contacts[node] = self.contact(node).failed(self._now())

    def remove(self, node: NodeId) -> None:
        """Forget a node now; it comes back once it has something new to say."""
        with self._changing():
            if node in self._table and node != self.me:
                self._bury([self._table[node]])

    def tidy(self) -> list[NodeId]:
        """Forget who has been silent for too long; who that was."""
        with self._changing():
            now = self._now()
            for node in outlived(self._tombstones, self.patience, now):
                del self._tombstones[node]
            silent = [
                record
                for record in forgettable(self._table, self._contacts, self.patience, now)
                if record.node_id != self.me
            ]
            self._bury(silent)
            return [record.node_id for record in silent]

    def begin_life(self, incarnation: int) -> None:
        """Say all anew with an incarnation that is at least this one."""
        with self._changing():
            own = self.own.facts
            self._sign(own, max(incarnation, own.incarnation), own.sequence + 1)

    def renew(self, facts: Facts) -> bool:
        """Say `facts` of this node, where they are new or the heartbeat is due; whether there is a new record.

        Incarnation, sequence and time of the facts are set here.
        """
        with self._changing():
            own = self.own.facts
            now = self._now()
            stamp = {"incarnation": own.incarnation, "sequence": own.sequence, "issued_at": own.issued_at}
            is_new = settled(facts.model_copy(update=stamp)) != settled(own)
            if not is_new and now < own.issued_at + self.patience.heartbeat_s:
                return False
            self._sign(facts, own.incarnation, own.sequence + 1)
            return True

    # --- within the lock: changes are made to a draft, of which whoever looks meanwhile sees nothing ------------------

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with self._lock:
            self._draft = dict(self._table)
            try:
                yield
            finally:
                if self._draft != self._table:
                    self._table = self._draft

    def _hear_one(self, record: NodeRecord) -> Refused | None:
        now = self._now()
        own = self._draft[self.me].facts
        view = View(self._draft, self.me, self._reach, self._tombstones, now, self._contacts)
        try:
            makes_way = judge(record, view)
        except Refused as refusal:
            return refusal
        if record.node_id == self.me:  # an old backup of ours, or a copy: what we say now has to be the newest
            self._sign(own, record.facts.incarnation + 1, 0)
            return None
        if makes_way:
            del self._draft[makes_way]
            self._contacts.pop(makes_way, None)
        self._draft[record.node_id] = record
        self._tombstones.pop(record.node_id, None)
        contact = self.contact(record.node_id)
        # News is as old as it says: that of a node which died an hour ago may have come by many hands.
        heard_at = max(contact.heard_at, min(now, record.facts.issued_at + LATE_S))
        self._contacts[record.node_id] = contact.heard(heard_at)
        return None

    def _sign(self, facts: Facts, incarnation: int, sequence: int) -> None:
        stamp = {"incarnation": incarnation, "sequence": sequence, "issued_at": int(self._now())}
        self._draft[self.me] = signed(facts.model_copy(update=stamp), self._key)

    def _bury(self, records: Iterable[NodeRecord]) -> None:
        now = self._now()
        for record in records:
            del self._draft[record.node_id]
            self._contacts.pop(record.node_id, None)
            self._tombstones[record.node_id] = Tombstone(record.version, now)


def _not_its_own(record: NodeRecord, name: str | None, certificate: str) -> Refused | None:
    if (record.facts.name, record.facts.certificate) != (name, certificate):
        return Refused(Why.NOT_ITS_CERTIFICATE, f"{record.facts.name} is said by {name}")
    # Asked here, since an old record is not looked at any further.
    return None if is_genuine(record) else Refused(Why.FORGED, f"{name} did not sign it")
