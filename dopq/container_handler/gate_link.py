"""The gate's process as the Provider holds it: started when it is needed, started anew when it has gone."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence

from dopq.container_handler.gate_messages import REQUEST, Request

_MODULE = "dopq.container_handler.gate_process"
_END_S = 5.0


class GateLink:
    """May be shared between threads. The process ends when `close` is called or its owner dies."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def send(self, request: Request, descriptors: Sequence[int]) -> int:
        """Have a child live for this request; a descriptor of it (pidfd_open(2)), which the caller closes.

        Raises:
            OSError: the process could not be started, or has gone; the next call starts another.
        """
        with self._lock:
            link = self._socket or self._start()
            try:
                socket.send_fds(link, [REQUEST.dump_json(request)], descriptors)
                _, handles, _, _ = socket.recv_fds(link, 1, 1)
            except OSError:
                self._end()
                raise
            if not handles:
                self._end()
                raise ConnectionError("the gate's process has gone")
            return handles[0]

    def close(self) -> None:
        """End the process, and whatever still lives of its children."""
        with self._lock:
            self._end()

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            # Nothing of our environment: it may hold credentials. -P: nothing from the folder it is started in.
            environment = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "LC_ALL": "C.UTF-8"}
            command = [sys.executable, "-P", "-m", _MODULE]
            try:
                self._process = subprocess.Popen(command, stdin=theirs.fileno(), env=environment, cwd="/")
            except OSError:
                ours.close()
                raise
        self._socket = ours
        return ours

    def _end(self) -> None:
        if self._socket:
            self._socket.close()
        if self._process:
            try:
                self._process.wait(_END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._socket = self._process = None
