"""Plain HTTP to a Docker engine: one request, one answer, over connections that are used again by any thread.

For the calls that every job needs several times. docker-py does the same at eight times the CPU: most of it goes into
sessions, cookies and proxies, which a local socket has no use for.
"""

from __future__ import annotations

import http.client
import json
import select
import socket
import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode, urlsplit

_HEADER_BYTES = 8
_IDLE = 16


class Refused(Exception):
    """The engine answered with an error.

    Attributes:
        status: the HTTP status, 400 or above.
        words: what the engine said, in its own words.
    """

    def __init__(self, status: int, words: str) -> None:
        super().__init__(f"{status}: {words}")
        self.status = status
        self.words = words


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        connecting = socket.socket(socket.AF_UNIX)
        try:
            connecting.settimeout(self.timeout)
            connecting.connect(self._path)
        except BaseException:
            connecting.close()
            raise
        self.sock = connecting


class DockerHttp:
    """Speaks to the engine at `url`, `unix:///...` or `tcp://host:port`; may be shared between threads.

    Calls raise `Refused` where the engine says no, `OSError` and `http.client.HTTPException` where it does not answer.
    None is ever repeated here: what was sent may have been done.
    """

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)
        self._lock = threading.Lock()
        self._idle: list[http.client.HTTPConnection] = []
        weakref.finalize(self, _close_all, self._idle)

    def call(
        self,
        method: str,
        path: str,
        query: Mapping[str, object] | None = None,
        body: object = None,
        *,
        timeout_s: float | None,
    ) -> Any:
        """The JSON of an answer; None for an empty one."""
        with self._answer(method, path, query, body, timeout_s) as answer:
            data = _accepted(answer).read()
        return json.loads(data) if data else None

    def frames(self, path: str, query: Mapping[str, object]) -> Iterator[bytes]:
        """What a container's streams say, as it comes, without a limit of time (Engine API, `Stream format`)."""
        with self._answer("GET", path, query, None, None) as answer:
            while header := _exactly(_accepted(answer), _HEADER_BYTES, or_end=True):
                yield _exactly(answer, int.from_bytes(header[4:], "big"))

    @contextmanager
    def _answer(
        self, method: str, path: str, query: Mapping[str, object] | None, body: object, timeout_s: float | None
    ) -> Iterator[http.client.HTTPResponse]:
        connection = self._connection(timeout_s)
        answer = None
        try:
            target = f"{path}?{urlencode(query)}" if query else path
            sent = None if body is None else json.dumps(body).encode()
            connection.request(method, target, sent, {"Content-Type": "application/json"} if sent else {})
            answer = connection.getresponse()
            if answer.length is None and not answer.chunked:  # whatever came of it would look like all of it
                raise http.client.IncompleteRead(b"")
            yield answer
        finally:
            self._put_back(connection, whole=answer is not None and answer.isclosed())

    def _put_back(self, connection: http.client.HTTPConnection, *, whole: bool) -> None:
        with self._lock:
            if whole and connection.sock is not None and len(self._idle) < _IDLE:
                self._idle.append(connection)
                return
        connection.close()

    def _connection(self, timeout_s: float | None) -> http.client.HTTPConnection:
        with self._lock:
            while self._idle:
                connection = self._idle.pop()
                if connection.sock is not None and not select.select([connection.sock], [], [], 0)[0]:
                    connection.sock.settimeout(timeout_s)
                    return connection
                connection.close()  # there is nothing to read but its end: the engine was restarted
        connection = (
            _UnixConnection(self._url.path)
            if self._url.scheme == "unix"
            else http.client.HTTPConnection(self._url.hostname or "localhost", self._url.port or 2375)
        )
        connection.timeout = timeout_s
        return connection


def _exactly(answer: http.client.HTTPResponse, length: int, *, or_end: bool = False) -> bytes:
    """So many bytes; none at the end of the answer where that may be.

    Raises:
        IncompleteRead: the answer ended in between.
    """
    data = answer.read(length)
    if len(data) < length and (data or not or_end):
        raise http.client.IncompleteRead(data, length - len(data))
    return data


def _close_all(connections: list[http.client.HTTPConnection]) -> None:
    for connection in connections:
        connection.close()


def _accepted(answer: http.client.HTTPResponse) -> http.client.HTTPResponse:
    if answer.status >= 400:
        raise Refused(answer.status, _words(answer.read()))
    return answer


def _words(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace").strip()
