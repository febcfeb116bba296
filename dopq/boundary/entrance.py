"""The boundary put together: doors, a listener, a guard, and behind it the controller and the nameserver."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from pathlib import Path

from dopq.boundary.doors import Door, TcpDoor, Tls, UnixDoor
from dopq.boundary.guard import Audit, Call, Guard, Identify
from dopq.boundary.listener import Listener
from dopq.boundary.names import NAMESERVER, Names
from dopq.boundary.outer_names import register_outside
from dopq.boundary.places import Places
from dopq.config import RemoteSettings
from dopq.controller import DopqController
from dopq.utils.log import logger
from dopq.wire import CONTROLLER

log = logger(__name__)


class Boundary:
    """A guarded object on the network and on the machine, and the name that leads to it."""

    def __init__(
        self,
        controller: DopqController,
        settings: RemoteSettings,
        *,
        identify: Identify,
        audit: Audit,
        tls: Tls | None = None,
        socket: Path | None = None,
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
            if socket:
                doors.append(unix := UnixDoor(socket))
                on_failure.callback(unix.close)
            self.address = _address(settings.host, tcp.port)
            self.socket = socket
            guard.serve(CONTROLLER, remote_calls(controller))
            guard.serve(NAMESERVER, Names(self.address).calls())
            if settings.nameserver:
                register_outside(settings.nameserver, self.address)
            on_failure.pop_all()
        self._places = Places(settings.max_connections, settings.max_connections_per_address)
        self._listener = Listener(doors, guard, self._places, settings.max_connections)

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._places)

    def start(self) -> None:
        """Begin to answer."""
        self._listener.start()

    def stop(self, timeout_s: float) -> None:
        """Answer nobody any more; calls that are being served are finished, cut, or told that the node stops."""
        self._stopping.set()
        self._listener.stop(timeout_s)


def remote_calls(controller: DopqController) -> list[Call]:
    """Every method of the controller that may be called from outside."""
    marked = {name: method for name, method in vars(type(controller)).items() if hasattr(method, "remote_access")}
    return [Call(getattr(controller, name), method.remote_access) for name, method in sorted(marked.items())]


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
