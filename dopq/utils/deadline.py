"""A process that answers questions, and is given up on when it takes too long, even where it cannot be killed."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from typing import IO

_REAP_S = 1.0


class NoAnswer(Exception):
    """The process gave no usable answer; the message says why."""


class ImpatientChild:
    """A process that answers each line on its stdin with one on its stdout. Safe to share between threads.

    It is started with the first question, and anew with the first one after it has ended. A process that waits inside
    a hanging driver does not even die of SIGKILL until the driver lets go. Such a one is left behind, and no second
    one is started while it is there: at most one process can ever hang.
    """

    def __init__(self, argv: Sequence[str], deadline_s: float) -> None:
        self._argv = tuple(argv)
        self._deadline_s = deadline_s
        self._process: subprocess.Popen[bytes] | None = None
        self._complaints: IO[bytes] | None = None
        self._given_up = False
        self._lock = threading.Lock()

    def ask(self) -> bytes:
        """Send an empty line and return the line that comes back; takes about twice the deadline at most.

        Raises:
            NoAnswer: it took too long, ended, could not be started, or an earlier one still hangs.
        """
        if not self._lock.acquire(timeout=self._deadline_s):
            raise NoAnswer("an earlier question still waits for its answer")
        try:
            return self._ask()
        finally:
            self._lock.release()

    def close(self) -> None:
        """End the process, also while it is asked. Twice is fine; the next question starts another."""
        process = self._process
        if process is None:
            return
        process.kill()  # whoever waits for its answer is told so at once, and lets go of the lock
        if self._lock.acquire(timeout=_REAP_S):
            self._give_up(process)
            self._lock.release()

    def _ask(self) -> bytes:
        process = self._living()
        assert process.stdin is not None
        try:
            process.stdin.write(b"\n")
            answer = self._line(process)
        except BrokenPipeError:
            answer = b""
        except TimeoutError:
            self._give_up(process)
            raise NoAnswer(f"no answer within {self._deadline_s:g} s") from None
        if not answer.endswith(b"\n"):
            raise NoAnswer(self._last_words(process))
        return answer

    def _living(self) -> subprocess.Popen[bytes]:
        """The process that answers; the one from before where it still does."""
        process = self._process
        if process is not None and process.poll() is None:
            if self._given_up:
                raise NoAnswer(f"process {process.pid}, which was asked earlier, still hangs")
            return process
        self._let_go()
        process = self._process = self._start()
        self._given_up = False
        return process

    def _start(self) -> subprocess.Popen[bytes]:
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process lives
        try:
            return subprocess.Popen(
                self._argv,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._complaints,
                # A Python process finds the same modules as we do, installed or not.
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        except OSError as trouble:
            self._complaints.close()
            raise NoAnswer(f"it could not be started: {trouble}") from trouble

    def _line(self, process: subprocess.Popen[bytes]) -> bytes:
        """What it writes next, up to a newline or its end. Raises `TimeoutError`."""
        assert process.stdout is not None
        said, until = b"", time.monotonic() + self._deadline_s
        while not said.endswith(b"\n"):
            readable, _, _ = select.select([process.stdout], [], [], max(0.0, until - time.monotonic()))
            if not readable:
                raise TimeoutError
            chunk = os.read(process.stdout.fileno(), 1 << 16)
            if not chunk:
                return b""
            said += chunk
        return said

    def _give_up(self, process: subprocess.Popen[bytes]) -> None:
        self._given_up = True
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_REAP_S)
        self._let_go()

    def _let_go(self) -> None:
        """Close our ends of the pipes."""
        process = self._process
        for pipe in (self._complaints, *((process.stdin, process.stdout) if process else ())):
            if pipe is not None:
                pipe.close()

    def _last_words(self, process: subprocess.Popen[bytes]) -> str:
        try:
            returncode = process.wait(timeout=_REAP_S)
        except subprocess.TimeoutExpired:  # it closed its stdout, and lives
            self._give_up(process)
            return "it says nothing any more"
        if returncode < 0:
            return f"it was ended by {signal.Signals(-returncode).name}"
        assert self._complaints is not None
        self._complaints.seek(0)
        lines = self._complaints.read().decode(errors="replace").split("\n")
        said = next((line for line in reversed(lines) if line.strip()), "it said nothing")
        return f"it failed with exit code {returncode}: {said.strip()}"
