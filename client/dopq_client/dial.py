"""A TCP connection to a host: all its addresses in the resolver's order, within one total time."""

from __future__ import annotations

import queue
import socket
import threading
import time
from typing import Any

from dopq.errors import ServiceUnreachable

_Address = tuple[Any, ...]


def dial(host: str, port: int, timeout_s: float) -> socket.socket:
    """A connected socket. An address that does not answer takes no more than its part of the time from the others.

    Raises:
        ServiceUnreachable: the name has no address, or none of them answered within `timeout_s`; says what happened.
    """
    until = time.monotonic() + timeout_s
    addresses = _addresses(host, port, timeout_s)
    failure: OSError | None = None
    for number, (family, address) in enumerate(addresses):
        share_s = max(0.01, (until - time.monotonic()) / (len(addresses) - number))
        try:
            return _connected(family, address, share_s)
        except OSError as error:
            failure = error
    words = "It does not answer" if isinstance(failure, TimeoutError) else _words(failure)
    raise ServiceUnreachable(f"{words}.") from failure


def _connected(family: int, address: _Address, timeout_s: float) -> socket.socket:
    connected = socket.socket(family, socket.SOCK_STREAM)
    try:
        connected.settimeout(timeout_s)
        connected.connect(address)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else a call waits 40 ms for company
    except BaseException:
        connected.close()
        raise
    return connected


def _addresses(host: str, port: int, timeout_s: float) -> list[tuple[int, _Address]]:
    """What the resolver says. It has no deadline of its own, so that it is asked in a thread that may be left alone."""
    told: queue.SimpleQueue[list[tuple[int, _Address]] | OSError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            told.put([(family, address) for family, _, _, _, address in found])
        except OSError as error:
            told.put(error)
        except UnicodeError:  # a name with an empty part, or too long a one
            told.put(OSError("that is no name of a machine"))

    threading.Thread(target=ask, name="resolver", daemon=True).start()
    try:
        answer = told.get(timeout=timeout_s)
    except queue.Empty:
        raise ServiceUnreachable(f"Nobody says which address {host} has: the name server does not answer.") from None
    if isinstance(answer, OSError):
        raise ServiceUnreachable(f"No address is known for {host}: {_words(answer)}.") from answer
    return answer


def _words(error: OSError | None) -> str:
    return (str((error and error.strerror) or error or "no answer")).strip().rstrip(".").capitalize()
