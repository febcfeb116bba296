"""Commands that get so long and no longer, even those which cannot be killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence

_REAP_S = 1.0


class NoAnswer(Exception):
    """The command gave no usable answer; the message says why."""


class ImpatientCommand:
    """A command that is run again and again, and given up on when it takes too long. Safe to share between threads.

    A process that waits inside a hanging driver does not even die of SIGKILL until the driver lets go. Such a one is
    left behind, and no second one is started while it is there: at most one process can ever hang.
    """

    def __init__(self, argv: Sequence[str], deadline_s: float) -> None:
        self._argv = tuple(argv)
        self._deadline_s = deadline_s
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def run(self) -> bytes:
        """Run the command and return what it wrote to stdout; takes about twice the deadline at most.

        Raises:
            NoAnswer: it took too long, failed, could not be started, or an earlier run still hangs.
        """
        if not self._lock.acquire(timeout=self._deadline_s):
            raise NoAnswer("an earlier question still waits for its answer")
        try:
            return self._run()
        finally:
            self._lock.release()

    def _run(self) -> bytes:
        if self._process is not None and self._process.poll() is None:
            raise NoAnswer(f"process {self._process.pid}, which asked earlier, still hangs")
        process = self._process = self._start()
        try:
            answer, complaint = process.communicate(timeout=self._deadline_s)
        except subprocess.TimeoutExpired:
            _abandon(process)
            raise NoAnswer(f"no answer within {self._deadline_s:g} s") from None
        if process.returncode != 0:
            raise NoAnswer(_last_words(process.returncode, complaint))
        return answer

    def _start(self) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                self._argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                # A Python command finds the same modules as we do, installed or not.
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        except OSError as trouble:
            raise NoAnswer(f"it could not be started: {trouble}") from trouble


def _abandon(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=_REAP_S)


def _last_words(returncode: int, complaint: bytes) -> str:
    if returncode < 0:
        return f"it was ended by {signal.Signals(-returncode).name}"
    lines = complaint.decode(errors="replace").split("\n")
    said = next((line for line in reversed(lines) if line.strip()), "it said nothing")
    return f"it failed with exit code {returncode}: {said.strip()}"
