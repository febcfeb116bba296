"""The peers of a running node: builds their parts, starts and stops them."""

from __future__ import annotations

import platform
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address

from dopq import __version__
from dopq.config import Paths, PeersSettings
from dopq.errors import OperatorError
from dopq.peers.addresses import Reach, in_order, networks
from dopq.peers.calling import Calling
from dopq.peers.choices import ChoicesFile
from dopq.peers.link import PeerLink
from dopq.peers.liveness import Patience
from dopq.peers.measures import Measures
from dopq.peers.neighbourhood import Neighbourhood, Now
from dopq.peers.node_key import NodeKey
from dopq.peers.peers import Peers
from dopq.peers.record import MOST_ADDRESSES, Facts, Metadata, Specs
from dopq.peers.refusal import Refused
from dopq.peers.rounds import Rounds, places_of
from dopq.peers.specs import Machine
from dopq.peers.table_file import load
from dopq.utils import cpu
from dopq.utils.host_names import own_hosts
from dopq.utils.log import logger

log = logger(__name__)


@dataclass(frozen=True, slots=True)
class Self:
    """What this node is to others.

    Attributes:
        certificate: fingerprint of its certificate; "" without TLS: it has no peers then.
        host: the address on which it listens.
        nameserver: where users reach it, `HOST:PORT`.
        specs: what is so of its machine now.
    """

    name: str
    certificate: str
    host: str
    port: int
    nameserver: Callable[[], str]
    specs: Callable[[], Specs]


class LivePeers:
    """The parts, and their threads.

    Attributes:
        peers: what the controller needs of them.
    """

    def __init__(self, this: Self, settings: PeersSettings, paths: Paths, link: PeerLink | None, now: Now) -> None:
        """Read key and table. `link` is None without TLS.

        Raises:
            OperatorError: the node's key cannot be used.
        """
        self._this = this
        self._key = NodeKey.kept_in(paths.peers / "node.key")
        self._choices = ChoicesFile(paths.peers / "choices.json")
        reach = Reach(networks(settings.networks), settings.port or this.port)
        self._port = reach.port
        self._addresses = _addresses(this.host, settings.addresses, reach) if link and reach.port else ()
        self._metadata: Metadata = {}
        patience = Patience(settings.heartbeat_s, settings.forget_days * 86400.0)
        table_file = paths.peers / "table.json"
        ours = Neighbourhood(self._key, self._facts(), reach, patience, now, load(table_file))
        measures = Measures()
        calling = Calling(ours, link, reach, measures, now, frozenset(own_hosts())) if link and reach.port else None
        self.peers = Peers(ours, self._choices, measures, calling, now, this.nameserver, threading.Lock())
        self._rounds = (
            Rounds(ours, calling, self._choices, self._facts, settings.seeds, reach.port, settings.round_s, table_file)
            if calling
            else None
        )

    @property
    def trouble(self) -> str | None:
        """What the admin has to mend; None if nothing."""
        return self._rounds.trouble if self._rounds else None

    def begin_life(self, incarnation: int) -> None:
        """Tell others from now on that this is life number `incarnation` of the node, or a later one."""
        self.peers.neighbourhood.begin_life(incarnation)

    def start(self) -> None:
        """Begin to ask others, where there can be any."""
        if self._rounds:
            self._rounds.start()

    def wake(self) -> None:
        """Something of this node has changed."""
        if self._rounds:
            self._rounds.wake()

    def stop(self, timeout_s: float) -> None:
        """Ask no more."""
        if self._rounds:
            self._rounds.stop(timeout_s)

    def _facts(self) -> Facts:
        try:
            self._metadata = self._choices.read().metadata
        except OperatorError as error:  # what was said before stays so; the rounds tell of it
            log.debug("choices_unreadable", cause=str(error))
        return Facts(
            key=self._key.public.hex(),
            name=self._this.name,
            version=__version__,
            addresses=list(self._addresses),
            port=self._port or 9090,
            certificate=self._this.certificate,
            incarnation=0,
            sequence=0,
            issued_at=0,
            metadata=self._metadata,
            specs=self._this.specs(),
        )


def this_machine() -> Machine:
    """What stays so of this machine. Takes a moment: it asks the kernel."""
    return Machine(socket.gethostname(), platform.platform(), cpu.model())


def _addresses(host: str, chosen: list[str], reach: Reach) -> tuple[str, ...]:
    """Where others reach this node: as the settings say, else where it listens."""
    if not chosen:
        try:
            chosen = own_hosts() if ip_address(host).is_unspecified else [host]
        except ValueError:
            chosen = [address for address, _ in places_of(host, reach.port)]
    return in_order(address for address in chosen if _is_fit(address, reach))[:MOST_ADDRESSES]


def _is_fit(address: str, reach: Reach) -> bool:
    try:
        reach.judge(address, reach.port)
    except Refused:
        return False
    return True
