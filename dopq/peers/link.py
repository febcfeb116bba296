"""Calls to another node: over TLS, with both certificates shown, each call with a deadline of its own."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from dopq.errors import DopqError, ServiceUnreachable
from dopq.peers.dial import dial
from dopq.peers.exchange import ids_to_wire, record_from_wire, records_from_wire, records_to_wire
from dopq.peers.node_key import NodeId
from dopq.peers.record import NodeRecord
from dopq.peers.refusal import Refused
from dopq.protocol.channel import Channel
from dopq.protocol.stream import Stream, StreamClosed, TooSlow, deadline

PEERS = "dopq.peers"
"""The remote object that nodes call."""

CONNECT_S = 3.0
"""From the first packet to the end of both handshakes."""

CALL_S = 5.0
"""From a call to its answer."""

Place = tuple[str, int]
"""An IP address and a port."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What the other end has proved: the name in its certificate of the lab's CA, and the certificate's fingerprint."""

    name: str
    certificate: str


class Conversation(Protocol):
    """A connection to another node. Every method raises `DopqError` when it fails or takes too long."""

    shown: Shown

    def compare(self, own: NodeRecord, summary: bytes) -> tuple[NodeRecord, bytes]:
        """Tell one's own record and the summary of one's table; the other's own record, and its digest or nothing."""
        ...

    def trade(self, give: Iterable[NodeRecord], want: Iterable[NodeId]) -> tuple[list[NodeRecord], list[Refused]]:
        """Give records and get those that are asked for; what in the answer was none."""
        ...

    def echo(self) -> None:
        """Ask for nothing."""
        ...

    def send(self, data: bytes) -> None:
        """Send bytes that are thrown away. Raises `NotAllowed` where this node is not trusted."""
        ...

    def receive(self, length: int) -> int:
        """Have so many bytes sent; how many came. Raises as `send` does."""
        ...

    def close(self) -> None:
        """Hang up."""
        ...


class PeerLink(Protocol):
    """The way to other nodes."""

    def open(self, places: Sequence[Place]) -> Conversation:
        """A connection to the node at one of these places, the first that answers.

        Raises:
            ServiceUnreachable: nobody of this lab answered in time.
        """
        ...


class TlsPeerLink:
    """The real one. `context` shows this node's certificate and takes those of the lab's CA alone."""

    def __init__(
        self,
        context: ssl.SSLContext,
        name: Callable[[ssl.SSLSocket], str | None],
        fingerprint: Callable[[ssl.SSLSocket], str],
    ) -> None:
        """`name`, `fingerprint`: of the certificate at the other end."""
        self._context = context
        self._name = name
        self._fingerprint = fingerprint

    def open(self, places: Sequence[Place]) -> Conversation:
        """See `PeerLink`."""
        until = deadline(CONNECT_S)
        try:
            stream = Stream(dial(places, CONNECT_S))
        except OSError as error:
            raise ServiceUnreachable(f"No node answers there: {error}.") from error
        try:
            secured = stream.secure(self._context, until, client_of=places[0][0])
            shown = Shown(self._name(secured) or "", self._fingerprint(secured))
            return TlsConversation(Channel(stream, PEERS, {}, CONNECT_S), shown)
        except (StreamClosed, TooSlow) as error:
            stream.close()
            raise ServiceUnreachable(f"What answers there is no node of this lab: {error}.") from error
        except DopqError:
            stream.close()
            raise


class TlsConversation:
    """See `Conversation`."""

    def __init__(self, channel: Channel, shown: Shown) -> None:
        self._channel = channel
        self.shown = shown

    def compare(self, own: NodeRecord, summary: bytes) -> tuple[NodeRecord, bytes]:
        """See `Conversation`."""
        match self._call("compare_nodes", records_to_wire([own])[0], summary):
            case {"record": told, "digest": bytes(digest)}:
                try:
                    return record_from_wire(told), digest
                except Refused as refused:
                    raise ServiceUnreachable(f"{self.shown.name} tells no record of itself: {refused}.") from refused
        raise _odd(self.shown)

    def trade(self, give: Iterable[NodeRecord], want: Iterable[NodeId]) -> tuple[list[NodeRecord], list[Refused]]:
        """See `Conversation`."""
        return records_from_wire(self._call("trade_nodes", records_to_wire(give), ids_to_wire(want)))

    def echo(self) -> None:
        """See `Conversation`."""
        self._call("echo")

    def send(self, data: bytes) -> None:
        """See `Conversation`."""
        self._call("take_bytes", data)

    def receive(self, length: int) -> int:
        """See `Conversation`."""
        told = self._call("give_bytes", length)
        if not isinstance(told, bytes):
            raise _odd(self.shown)
        return len(told)

    def close(self) -> None:
        """See `Conversation`."""
        self._channel.close()

    def _call(self, method: str, *arguments: object) -> object:
        return self._channel.call(method, list(arguments), {}, CALL_S)


def _odd(shown: Shown) -> ServiceUnreachable:
    return ServiceUnreachable(f"{shown.name} answers as no node of ours does.", "Is it of another version?")
