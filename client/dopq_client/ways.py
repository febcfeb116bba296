"""How a connection to a service is made, so that it is the right one at its other end. Nothing is said on it yet."""

from __future__ import annotations

import socket
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Protocol, Self

from dopq.errors import CertificateUnknown, DopqError, ServiceUnreachable
from dopq.protocol.stream import Stream, deadline
from dopq_client.account import Account, LocalService
from dopq_client.dial import dial

LOOK_S = 1.0
"""How long it is looked whether a service on this machine speaks TLS."""


class Way(Protocol):
    """A way to a service."""

    def connect(self, timeout_s: float) -> Stream:
        """A new connection.

        Raises:
            ServiceUnreachable: nobody took it within `timeout_s`.
            CertificateUnknown, CertificateChanged: it leads to somebody of whom it is not known who that is.
        """
        ...

    def elsewhere(self, host: str, port: int) -> Self:
        """The same kind of way to another address, that of a service which a nameserver told."""
        ...

    def doubts(self) -> str:
        """Why a service at its end could take connections and answer nothing; empty where nothing is known."""
        ...

    def __str__(self) -> str:
        """For messages."""
        ...


@dataclass(frozen=True, slots=True)
class TcpWay:
    """In the clear: to services on this very machine, and no further."""

    host: str
    port: int

    def connect(self, timeout_s: float) -> Stream:
        """See `Way`."""
        connected = dial(self.host, self.port, timeout_s)
        peer = str(connected.getpeername()[0])
        if not ip_address(peer.partition("%")[0]).is_loopback:
            connected.close()
            raise CertificateUnknown(
                f"{self} is on another machine ({peer}), and nothing is said in the clear on a network. "
                "Nothing was sent to it.",
                f"Confirm its certificate first: dopq-client login {self}",
            )
        return Stream(connected)

    def elsewhere(self, host: str, port: int) -> TcpWay:
        """See `Way`."""
        return TcpWay(host, port)

    def doubts(self) -> str:
        """See `Way`."""
        try:
            TlsWay(self.host, self.port, None, None).connect(LOOK_S).close()
        except CertificateUnknown:
            return f"It speaks TLS, and it was to be spoken to in the clear. Log in anew: dopq-client login {self}"
        except DopqError:
            pass
        return ""

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class TlsWay:
    """With TLS 1.3, to the service whose certificate has the fingerprint `pin`, or is signed by `ca`, or both."""

    host: str
    port: int
    pin: str | None
    ca: Path | None

    def connect(self, timeout_s: float) -> Stream:
        """See `Way`. With neither pin nor CA always `CertificateUnknown`, which tells the fingerprint."""
        from dopq_client import tls

        until = deadline(timeout_s)
        stream = Stream(dial(self.host, self.port, timeout_s))
        try:
            tls.secure(stream, self.host, until, self.pin, self.ca)
        except BaseException:
            stream.close()
            raise
        return stream

    def elsewhere(self, host: str, port: int) -> TlsWay:
        """See `Way`. The certificate decides."""
        return replace(self, host=host, port=port)

    def doubts(self) -> str:
        """See `Way`."""
        return ""

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixWay:
    """The socket of a service on this machine, which knows us by our uid."""

    path: Path

    def connect(self, timeout_s: float) -> Stream:
        """See `Way`."""
        family = getattr(socket, "AF_UNIX", None)
        if family is None:
            raise ServiceUnreachable("This system has no Unix sockets.", "Use an address: dopq-client login HOST:PORT")
        connected = socket.socket(family, socket.SOCK_STREAM)
        try:
            connected.settimeout(timeout_s)
            connected.connect(str(self.path))
        except OSError as error:
            connected.close()
            raise ServiceUnreachable(
                f"{(error.strerror or str(error)).rstrip('.').capitalize()}.",
                "Is `dopq serve` running on this machine? Another one: dopq-client login HOST:PORT",
            ) from error
        return Stream(connected)

    def elsewhere(self, host: str, port: int) -> UnixWay:  # noqa: ARG002 - a socket leads to its own service
        """See `Way`."""
        return self

    def doubts(self) -> str:
        """See `Way`."""
        return ""

    def __str__(self) -> str:
        return str(self.path)


def way_to(account: Account | LocalService) -> Way:
    """The way to an account's service."""
    if isinstance(account, LocalService):
        return UnixWay(account.path)
    if account.fingerprint or account.ca:
        return TlsWay(account.host, account.port, account.fingerprint, account.ca)
    return TcpWay(account.host, account.port)
