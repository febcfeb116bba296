"""A connected socket with total deadlines: a byte a second keeps nobody waiting."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

_PIECE = 64 * 1024


class StreamClosed(ConnectionError):
    """The other end hung up, or the connection broke."""


class TooSlow(TimeoutError):
    """What was to be read or written was not through by its deadline."""


def deadline(seconds: float) -> float:
    """The moment so many seconds from now, by the monotonic clock."""
    return time.monotonic() + seconds


class Stream:
    """Reads and writes whole pieces; `socket` may be any stream socket, with TLS or without."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self._is_cut = False
        self._read_ahead = bytearray()

    def secure(self, context: ssl.SSLContext, until: float, *, client_of: str | None = None) -> ssl.SSLSocket:
        """Speak TLS from here on, as a server, or as a client of that host; the socket that does.

        Raises as `read` does, also where the other end speaks no TLS or is not believed.
        """
        self._until(until)
        try:
            wrapped = context.wrap_socket(
                self.socket, server_side=client_of is None, server_hostname=client_of, do_handshake_on_connect=False
            )
            self.socket = wrapped
            if self._is_cut:  # while it was wrapped, when neither socket could be
                raise StreamClosed("the connection was cut")
            wrapped.do_handshake()  # its timeout is a total one
        except TimeoutError as error:
            raise TooSlow("the other end is too slow") from error
        except OSError as error:  # ssl.SSLError is one
            raise StreamClosed(f"no TLS: {error}") from error
        return wrapped

    def arrive(self, until: float) -> None:
        """Wait for the first byte of something. Raises as `read` does."""
        if not self._read_ahead:
            self._receive(until)

    def read(self, size: int, until: float) -> bytes:
        """Exactly `size` bytes. Takes memory only as they arrive.

        Raises:
            StreamClosed: it ended before that.
            TooSlow: they were not all there by `until`.
        """
        while len(self._read_ahead) < size:
            self._receive(until)
        data = bytes(memoryview(self._read_ahead)[:size])
        del self._read_ahead[:size]
        return data

    def pass_over(self, most: int, until: float) -> None:
        """Read and forget up to `most` bytes until the other end hangs up, so that it finds time to read our last word.

        To close with bytes unread would reset the connection, and take that word from it (RFC 9293, 3.10.4).
        """
        try:
            while most > 0:
                self._receive(until)
                most -= len(self._read_ahead)
                self._read_ahead.clear()
        except (StreamClosed, TooSlow):
            pass

    def _receive(self, until: float) -> None:
        self._until(until)
        try:
            piece = self.socket.recv(_PIECE)
        except TimeoutError as error:
            raise TooSlow("the other end is too slow") from error
        except OSError as error:
            raise StreamClosed(str(error)) from error
        if not piece:
            raise StreamClosed("the other end hung up")
        self._read_ahead += piece

    def write(self, data: bytes, until: float) -> None:
        """All of `data`. Raises as `read` does."""
        view = memoryview(data)
        while view:
            self._until(until)
            try:
                view = view[self.socket.send(view) :]
            except TimeoutError as error:
                raise TooSlow("the other end takes too long to read") from error
            except OSError as error:
                raise StreamClosed(str(error)) from error

    def _until(self, moment: float) -> None:
        left = moment - time.monotonic()
        if left <= 0:
            raise TooSlow("the other end is too slow")
        try:
            self.socket.settimeout(left)
        except OSError as error:  # closed by another thread
            raise StreamClosed(str(error)) from error

    def cut(self) -> None:
        """End the connection now, from any thread: whoever reads or writes meets `StreamClosed`."""
        self._is_cut = True
        with suppress(OSError):  # it has ended already
            # Not SSLSocket's own shutdown, which would have another thread go on in the clear.
            socket.socket.shutdown(self.socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the socket back. Only for the thread that reads and writes."""
        self.socket.close()
