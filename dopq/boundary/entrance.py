"""The boundary put together: doors, a listener, a guard, and behind it the controller and the nameserver."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from pathlib import Path

from dopq.boundary.doors import Door, TcpDoor, Tls, UnixDoor
from dopq.boundary.guard import Audit, Guard, Identify
from dopq.boundary.listener import Listener
from dopq.boundary.names import NAMESERVER, Names
from dopq.boundary.outer_names import register_outside
from dopq.boundary.places import Places
from dopq.config import RemoteSettings
from dopq.controller import DopqController
from dopq.controller.peers import PeerDesk
from dopq.errors import OperatorError
from dopq.peers.link import PEERS
from dopq.utils.host_names import host_for_others
from dopq.utils.log import logger
from dopq.wire import CONTROLLER

log = logger(__name__)


class Boundary:
    """A guarded object on the network and on the machine, and the name that leads to it.

    Attributes:
        address: where others reach it, `HOST:PORT`.
        trouble: what does not work as it should; None if all does.
    """

    def __init__(
        self,
        controller: DopqController,
        settings: RemoteSettings,
        *,
        identify: Identify,
        audit: Audit,
        tls: Tls | None = None,
        socket: Path | None = None,
        peers: PeerDesk | None = None,
    ) -> None:
        """Bind the sockets; `start` begins to answer.

        Raises:
            OperatorError: an address, port or path cannot be had, or the external nameserver does not take our name.
        """
        self._stopping = threading.Event()
        guard = Guard(identify, audit, settings.calls_per_s, self._stopping)
        with ExitStack() as on_failure:
            doors: list[Door] = []
            tcp = TcpDoor(settings.host, settings.port, tls)
            on_failure.callback(tcp.close)
            doors.append(tcp)
            self.trouble: str | None = None
            if socket and (unix := self._local_door(socket, needed=bool(settings.socket))):
                doors.append(unix)
                on_failure.callback(unix.close)
            self.address = _address(host_for_others(tcp.address) or settings.host, tcp.port)
            guard.serve(CONTROLLER, controller)
            guard.serve(NAMESERVER, Names(self.address))
            if peers:
                guard.serve(PEERS, peers)
            if settings.nameserver:
                register_outside(settings.nameserver, self.address)
            on_failure.pop_all()
        self._places = Places(settings.max_connections, settings.max_connections_per_address)
        self._listener = Listener(doors, guard, self._places, settings.max_connections)

    def _local_door(self, path: Path, *, needed: bool) -> Door | None:
        """The Unix socket. At its usual place another node of this machine may be: then this one has none."""
        try:
            return UnixDoor(path)
        except OperatorError as error:
            if needed:
                raise
            self.trouble = f"Users of this machine need a token for this node. {error}"
            return None

    def start(self) -> None:
        """Begin to answer."""
        self._listener.start()

    def stop(self, timeout_s: float) -> None:
        """Answer nobody any more; calls that are being served are finished, cut, or told that the node stops."""
        self._stopping.set()
        self._listener.stop(timeout_s)


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
