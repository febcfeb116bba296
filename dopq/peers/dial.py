"""A TCP connection to a node that has several addresses: IPv6 has a head start (RFC 8305); within one total time."""

from __future__ import annotations

import errno
import selectors
import socket
import time
from collections.abc import Sequence
from contextlib import suppress

HEAD_START_S = 0.25
"""So long after one address the next one is tried as well (RFC 8305, 5: the recommended delay)."""


def dial(addresses: Sequence[tuple[str, int]], timeout_s: float) -> socket.socket:
    """The first connection that is made; IP addresses and ports are tried in their order.

    Raises:
        OSError: none was made within `timeout_s`.
    """
    until = time.monotonic() + timeout_s
    failure: OSError = TimeoutError("it does not answer")
    left = list(addresses)
    with selectors.DefaultSelector() as waiting:
        try:
            while left or waiting.get_map():
                if left:
                    try:
                        waiting.register(_begun(*left.pop(0)), selectors.EVENT_WRITE)
                    except OSError as error:
                        failure = error
                        continue
                now = time.monotonic()
                if now >= until:
                    raise TimeoutError("it does not answer")
                for key, _ in waiting.select(min(until - now, HEAD_START_S) if left else until - now):
                    waiting.unregister(key.fileobj)
                    connected = key.fileobj
                    assert isinstance(connected, socket.socket)
                    if not (number := connected.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)):
                        return _ready(connected)
                    connected.close()
                    failure = OSError(number, errno.errorcode.get(number, "it does not answer"))
            raise failure
        finally:
            for key in list(waiting.get_map().values()):
                with suppress(OSError):
                    key.fileobj.close()  # type: ignore[union-attr] # only sockets were registered


def _begun(address: str, port: int) -> socket.socket:
    begun = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    begun.setblocking(False)
    number = begun.connect_ex((address, port))
    if number not in {0, errno.EINPROGRESS}:
        begun.close()
        raise OSError(number, errno.errorcode.get(number, "it does not answer"))
    return begun


def _ready(connected: socket.socket) -> socket.socket:
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else a call waits 40 ms for company
    return connected
