"""Between a node and its engine: passes every call on, but for those that it was told to spoil.

One request a connection: whoever asks is told to close, so that each call is met and can be spoilt by itself.
"""

from __future__ import annotations

import contextlib
import json
import re
import select
import socket
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

_END_OF_HEAD = b"\r\n\r\n"

How = Literal["answer", "lose the answer", "cut the answer", "hang"]


@dataclass
class Trouble:
    """What becomes of calls whose "METHOD /path" `pattern` is found in."""

    pattern: str
    how: How
    status: int = 500
    left: int | None = 1  # None: every one
    met: list[str] = field(default_factory=list)


class EngineProxy:
    """Listens on a socket of its own in `folder` for the engine at `target`, `unix:///...`."""

    def __init__(self, folder: Path, target: str) -> None:
        self._path = folder / "proxy.sock"
        self._target = target.removeprefix("unix://")
        self._troubles: list[Trouble] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._recovered = threading.Event()
        self._listener = socket.socket(socket.AF_UNIX)

    @property
    def url(self) -> str:
        return f"unix://{self._path}"

    def __enter__(self) -> Self:
        self._listener.bind(str(self._path))
        self._listener.listen(128)
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._recovered.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def spoil(self, pattern: str, how: How = "answer", *, status: int = 500, times: int | None = 1) -> Trouble:
        """Spoil the next `times` calls that match; None: all until `recover`."""
        trouble = Trouble(pattern, how, status, times)
        with self._lock:
            self._recovered.clear()
            self._troubles.append(trouble)
        return trouble

    def recover(self) -> None:
        """Pass everything on again, and let go of whoever hangs: their connections break."""
        with self._lock:
            self._troubles.clear()
        self._recovered.set()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                caller, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(caller,), daemon=True).start()

    def _serve(self, caller: socket.socket) -> None:
        with caller, contextlib.suppress(OSError):
            head = b""
            while _END_OF_HEAD not in head:
                if not (piece := caller.recv(65536)):
                    return
                head += piece
            line = head.split(b"\r\n", 1)[0].decode().rsplit(" ", 1)[0]
            trouble = self._trouble(line)
            if trouble and trouble.how == "hang":
                self._recovered.wait()
            elif trouble and trouble.how == "answer":
                _read_body(caller, head)
                caller.sendall(_error(trouble.status))
            else:
                self._pass_on(caller, head, trouble)

    def _trouble(self, line: str) -> Trouble | None:
        with self._lock:
            for trouble in self._troubles:
                if trouble.left != 0 and re.search(trouble.pattern, line):
                    trouble.left = trouble.left and trouble.left - 1
                    trouble.met.append(line)
                    return trouble
        return None

    def _pass_on(self, caller: socket.socket, head: bytes, trouble: Trouble | None) -> None:
        with socket.socket(socket.AF_UNIX) as engine:
            engine.connect(self._target)
            fields, rest = head.split(_END_OF_HEAD, 1)
            kept = [it for it in fields.split(b"\r\n") if not it.lower().startswith(b"connection:")]
            engine.sendall(b"\r\n".join([*kept, b"Connection: close"]) + _END_OF_HEAD + rest)
            answered = 0
            while not self._over.is_set():
                for ready in select.select([caller, engine], [], [], 1.0)[0]:
                    if not (piece := ready.recv(65536)):
                        return
                    if ready is caller:
                        engine.sendall(piece)
                        continue
                    if trouble and trouble.how == "cut the answer" and answered + len(piece) > 20:
                        caller.sendall(piece[:20])
                        return
                    answered += len(piece)
                    if trouble and trouble.how == "lose the answer":
                        return
                    caller.sendall(piece)


def _read_body(caller: socket.socket, head: bytes) -> None:
    """Hear the whole request, so that the caller does not meet a broken pipe instead of the answer."""
    fields, body = head.split(_END_OF_HEAD, 1)
    length = re.search(rb"(?i)content-length: (\d+)", fields)
    chunked = re.search(rb"(?i)transfer-encoding: chunked", fields)
    while (length and len(body) < int(length[1])) or (chunked and not body.endswith(b"0\r\n\r\n")):
        if not (piece := caller.recv(1 << 20)):
            return
        body = (body + piece)[-64:] if chunked else body + piece


def _error(status: int) -> bytes:
    body = json.dumps({"message": f"spoilt by a test ({status})"}).encode()
    head = f"HTTP/1.1 {status} Spoilt\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"Connection: close\r\n\r\n" + body
