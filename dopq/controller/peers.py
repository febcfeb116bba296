"""What other nodes may ask: to compare tables, to trade records and, if they are trusted, how fast the line is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from dopq.access import Access, remote
from dopq.caller import Caller
from dopq.errors import NotAllowed, UserError
from dopq.peers.exchange import ID_BYTES, MOST_RECORDS, record_from_wire, records_from_wire, records_to_wire
from dopq.peers.measures import CHUNK_BYTES, SENT_BYTES
from dopq.peers.peers import Peers
from dopq.peers.refusal import Refused
from dopq.utils.log import logger
from dopq.wire import Plain

log = logger(__name__)

RecordToWire = dict[str, bytes]
Summary = Annotated[bytes, Field(min_length=32, max_length=32)]
Ids = Annotated[bytes, Field(max_length=MOST_RECORDS * ID_BYTES)]


@dataclass(frozen=True, slots=True)
class PeerDesk:
    """The remote face of a node towards other nodes: another object than that of its users."""

    peers: Peers

    @remote(Access.PEER)
    def compare_nodes(self, caller: Caller, record: RecordToWire, summary: Summary) -> Plain:
        """Take the caller's own record; this node's, and the digest of its table where that has another summary."""
        ours = self.peers.neighbourhood
        try:
            ours.meet(record_from_wire(record), caller.peer, caller.certificate)
        except Refused as refused:
            log.info("peer_not_believed", peer=caller.peer, cause=str(refused))
            raise UserError(f"Your record is not believed: {refused}.", "Are both clocks right?") from None
        return {"record": records_to_wire([ours.own])[0], "digest": ours.compared(summary)}

    @remote(Access.PEER)
    def trade_nodes(
        self, caller: Caller, records: Annotated[list[RecordToWire], Field(max_length=MOST_RECORDS)], wanted: Ids
    ) -> list[Plain]:
        """Take records that are news; those that are wanted, as far as they are known and fit."""
        ours = self.peers.neighbourhood
        heard, odd = records_from_wire(records)
        if refusals := [*odd, *ours.hear(heard)]:
            log.info("records_refused", peer=caller.peer, records=len(refusals), first=str(refusals[0]))
        return records_to_wire(ours.wanted(wanted))

    @remote(Access.PEER)
    def echo(self, caller: Caller) -> None:
        """Nothing, as quickly as can be."""

    @remote(Access.PEER)
    def take_bytes(self, caller: Caller, data: Annotated[bytes, Field(max_length=SENT_BYTES)]) -> None:  # noqa: ARG002
        """Throw them away: the caller measures how fast they get here."""
        self._require_trust(caller)

    @remote(Access.PEER)
    def give_bytes(self, caller: Caller, length: Annotated[int, Field(ge=1, le=CHUNK_BYTES)]) -> bytes:
        """So many bytes of nothing: the caller measures how fast they come."""
        self._require_trust(caller)
        return bytes(length)

    def _require_trust(self, caller: Caller) -> None:
        if not self.peers.trusts(caller.certificate):
            raise NotAllowed(f"This node does not trust {caller.peer}.", "Its admin decides: dopq peer trust")
