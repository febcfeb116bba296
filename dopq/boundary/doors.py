"""Where connections come in: TCP, in the clear or with TLS, and a Unix socket on which the kernel says who calls."""

from __future__ import annotations

import os
import socket
import ssl
import stat
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from dopq.caller import LOCAL
from dopq.errors import OperatorError
from dopq.protocol.stream import Stream
from dopq.tls import peer_certificate
from dopq.utils.files import make_public_folder
from dopq.utils.network import network_of

BACKLOG = 4096
"""Connections that wait to be taken: with too few places the kernel drops some, and they come again after a second."""

_UCRED = struct.Struct("3i")  # pid, uid, gid of the other end: unix(7), SO_PEERCRED


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a connection itself tells about its other end.

    Attributes:
        address: the IP address, or `LOCAL`.
        uid: of the process at the other end, by the kernel's word; None on TCP.
        peer: the name in a client certificate of the lab's own CA.
        certificate: the fingerprint of that certificate; "" without one.
        host: our own address as this caller has it, `HOST:PORT`; "" on a Unix socket, and where it names an interface
            of ours (RFC 4007, 11), of which they know nothing.
    """

    address: str
    uid: int | None = None
    peer: str | None = None
    host: str = ""
    certificate: str = ""

    @property
    def source(self) -> str:
        """By what connections are counted before anybody has said who they are."""
        return network_of(self.address) if self.uid is None else f"uid {self.uid}"


@dataclass(frozen=True, slots=True)
class Tls:
    """How TCP is secured, and how a client certificate tells its name."""

    context: ssl.SSLContext
    peer_name: Callable[[ssl.SSLSocket], str | None]


class Door(Protocol):
    """A listening socket."""

    listening: socket.socket

    def first_look(self, connected: socket.socket) -> Evidence:
        """Who is there, as far as can be told without waiting for them."""
        ...

    def secure(self, stream: Stream, evidence: Evidence, until: float) -> Evidence:
        """Do what comes before the first message, and tell what more is known by then.

        Raises:
            StreamClosed, TooSlow: there will be no message.
        """
        ...

    def close(self) -> None:
        """Listen no more."""
        ...


class TcpDoor:
    """Listens on an address; with `tls` its handshake comes before all else, without it is in the clear."""

    def __init__(self, host: str, port: int, tls: Tls | None) -> None:
        """Bind.

        Raises:
            OperatorError: the address cannot be had.
        """
        self._tls = tls
        try:
            address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
            self.listening = socket.create_server(address[4][:2], family=address[0], backlog=BACKLOG)
        except OSError as error:
            raise OperatorError(
                f"The service cannot listen on {host}:{port}: {error.strerror or error}.",
                "Is another node or nameserver running there? Stop it, or choose another remote.port in the settings.",
            ) from error
        self.address, self.port = self.listening.getsockname()[:2]

    def first_look(self, connected: socket.socket) -> Evidence:
        """See `Door`."""
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else an answer waits 40 ms for company
        ours, port = connected.getsockname()[:2]
        host = "" if "%" in ours else f"[{ours}]:{port}" if ":" in ours else f"{ours}:{port}"
        return Evidence(connected.getpeername()[0], host=host)

    def secure(self, stream: Stream, evidence: Evidence, until: float) -> Evidence:
        """See `Door`."""
        if self._tls is None:
            return evidence
        # Not where connections are accepted: there one silent client would keep all others waiting.
        secured = stream.secure(self._tls.context, until)
        return replace(evidence, peer=self._tls.peer_name(secured), certificate=peer_certificate(secured))

    def close(self) -> None:
        """See `Door`."""
        self.listening.close()


class UnixDoor:
    """Listens on a path that everybody on the machine may connect to; the kernel tells who they are."""

    def __init__(self, path: Path) -> None:
        """Bind; what a former life left there is removed.

        Raises:
            OperatorError: the path cannot be had, or another service answers there.
        """
        self._path = path
        try:
            make_public_folder(path.parent)
            _require_ours(path.parent)
            _make_way(path)
            self.listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.listening.bind(str(path))
            path.chmod(0o666)
            self.listening.listen(BACKLOG)
        except OSError as error:
            raise OperatorError(
                f"The service cannot listen on {path}: {error.strerror or error}.",
                'Choose another, short path as remote.socket in the settings, or "off".',
            ) from error

    def first_look(self, connected: socket.socket) -> Evidence:
        """See `Door`."""
        _, uid, _ = _UCRED.unpack(connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
        return Evidence(LOCAL, uid=uid)

    def secure(self, stream: Stream, evidence: Evidence, until: float) -> Evidence:  # noqa: ARG002 - see `Door`
        """See `Door`: the kernel has said it all."""
        return evidence

    def close(self) -> None:
        """See `Door`."""
        with suppress(OSError):
            self._path.unlink()  # while it answers: nobody else has taken the path
        self.listening.close()


def socket_path(setting: str) -> Path | None:
    """Where `remote.socket` says that the Unix socket is; None for none."""
    if setting == "off":
        return None
    if setting:
        return Path(setting)
    if os.geteuid() == 0:
        return Path("/run/dopq/dopq.sock")
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return Path(runtime) / "dopq" / "dopq.sock" if runtime else None


def _require_ours(folder: Path) -> None:
    """Who may rename things in it could have us open something else to everybody, or answer in our place."""
    status = folder.stat()
    others_write = status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX
    if status.st_uid not in {0, os.geteuid()} or others_write:
        raise OperatorError(
            f"{folder} is no place for the service's socket: others may change what is in it.",
            f"Choose another remote.socket in the settings, or make the folder yours alone: chmod 755 {folder}",
        )


def _make_way(path: Path) -> None:
    """Remove the socket that a former life left; nothing else, and not one at which somebody answers."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OperatorError(f"{path} is there already, and no socket.", "Choose another remote.socket in the settings.")
    if _answers(path):
        raise OperatorError(
            f"Another service answers at {path}.", "Stop it, or choose another remote.socket in the settings."
        )
    path.unlink(missing_ok=True)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        return True
