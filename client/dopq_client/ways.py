"""How a connection to a service is made. Nothing is said on it yet."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from dopq.errors import ServiceUnreachable
from dopq.protocol.stream import Stream


class Way(Protocol):
    """A way to a service."""

    def connect(self, timeout_s: float) -> Stream:
        """A new connection.

        Raises:
            ServiceUnreachable: nobody took it within `timeout_s`.
        """
        ...

    def elsewhere(self, host: str, port: int) -> Self:
        """The same kind of way to another address, that of a service which a nameserver told."""
        ...

    def __str__(self) -> str:
        """For messages."""
        ...


@dataclass(frozen=True, slots=True)
class TcpWay:
    """In the clear: for services on this very machine."""

    host: str
    port: int

    def connect(self, timeout_s: float) -> Stream:
        """See `Way`."""
        try:
            connected = socket.create_connection((self.host, self.port), timeout_s)
        except OSError as error:
            raise ServiceUnreachable(_sentence(error)) from error
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return Stream(connected)

    def elsewhere(self, host: str, port: int) -> TcpWay:
        """See `Way`."""
        return TcpWay(host, port)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixWay:
    """The socket of a service on this machine, which knows us by our uid."""

    path: Path

    def connect(self, timeout_s: float) -> Stream:
        """See `Way`."""
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connected.settimeout(timeout_s)
            connected.connect(str(self.path))
        except OSError as error:
            connected.close()
            raise ServiceUnreachable(_sentence(error)) from error
        return Stream(connected)

    def elsewhere(self, host: str, port: int) -> UnixWay:  # noqa: ARG002 - a socket leads to its own service
        """See `Way`."""
        return self

    def __str__(self) -> str:
        return str(self.path)


def _sentence(error: OSError) -> str:
    return f"{(error.strerror or str(error) or 'no answer').strip().rstrip('.').capitalize()}."
