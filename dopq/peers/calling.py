"""What this node does when it calls another: who is called where, what is exchanged, and what is learned of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress

from dopq.errors import DopqError, ServiceUnreachable
from dopq.peers.addresses import Reach, in_order
from dopq.peers.exchange import differences
from dopq.peers.link import Conversation, PeerLink, Place
from dopq.peers.measures import Measures, latency_s
from dopq.peers.neighbourhood import Neighbourhood, Now
from dopq.peers.node_key import NodeId
from dopq.peers.record import NodeRecord
from dopq.peers.refusal import Refused
from dopq.peers.table import summary
from dopq.utils.log import logger

log = logger(__name__)

LATENCY_EVERY_S = 60.0
"""How old a latency may get before it is measured along with the next exchange."""


class Calling:
    """Calls other nodes. Thread-safe; each call takes a bounded time, in the thread of whoever wants it."""

    def __init__(
        self,
        neighbourhood: Neighbourhood,
        link: PeerLink,
        reach: Reach,
        measures: Measures,
        now: Now,
        own_addresses: frozenset[str] = frozenset(),
    ) -> None:
        """`own_addresses`: of this machine, as every other one may have them for a network of its own containers."""
        self._ours = neighbourhood
        self._link = link
        self._reach = reach
        self._measures = measures
        self._now = now
        self._own_addresses = own_addresses

    def exchange(self, record: NodeRecord) -> bool:
        """Make one table of ours and that of a node; whether it answered. That it did not is remembered of it."""
        try:
            with self.talk(record):
                return True
        except DopqError as error:
            self._ours.failed(record.node_id)
            log.debug("peer_does_not_answer", peer=record.facts.name, cause=str(error))
            return False

    def exchange_at(self, places: Sequence[Place]) -> NodeId:
        """The same with whoever answers at addresses of which that is not known yet; who that is.

        Raises:
            ServiceUnreachable: the addresses may not be called, or nobody of this lab answers there.
        """
        with closing(self._link.open(self._allowed(places))) as conversation:
            return self._exchange(conversation)

    @contextmanager
    def talk(self, record: NodeRecord) -> Iterator[Conversation]:
        """A connection to a node that has proved to be that one, after an exchange.

        Raises:
            ServiceUnreachable: it does not answer, or somebody else does at its address, who is known from now on.
        """
        facts = record.facts
        places = self._allowed([(address, facts.port) for address in in_order(facts.addresses)])
        with closing(self._link.open(places)) as conversation:
            if self._exchange(conversation) != record.node_id:
                raise ServiceUnreachable(f"{conversation.shown.name} answers at the address of {facts.name}.")
            yield conversation

    def _allowed(self, places: Sequence[Place]) -> list[Place]:
        """Looked at once more, right before the call: the settings may be others than when the record came."""
        allowed = []
        for address, port in places:
            with suppress(Refused):
                self._reach.judge(address, port)
                if address not in self._own_addresses:
                    allowed.append((address, port))
        if not allowed:
            raise ServiceUnreachable("It has no address that may be called from here.", "See peers.networks.")
        return allowed

    def _exchange(self, conversation: Conversation) -> NodeId:
        shown = conversation.shown
        met, digest = conversation.compare(self._ours.own, summary(self._ours.digest()))
        try:
            self._ours.meet(met, shown.name, shown.certificate)
            told = differences(self._ours.table, digest)
        except Refused as refused:
            raise ServiceUnreachable(f"{shown.name} is not believed: {refused}.") from refused
        if told:
            news, odd = conversation.trade(told.give, told.want)
            if refusals := [*odd, *self._ours.hear(news)]:
                log.info("records_refused", peer=shown.name, records=len(refusals), first=str(refusals[0]))
        self._measure(conversation, met.node_id)
        return met.node_id

    def _measure(self, conversation: Conversation, node: NodeId) -> None:
        measured_at = self._measures.of(node).latency_at
        if measured_at is None or self._now() - measured_at > LATENCY_EVERY_S:
            self._measures.latency(node, latency_s(conversation), self._now())
