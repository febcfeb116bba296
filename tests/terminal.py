"""`dopq-client` at a real terminal: what it shows there, and what is typed."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self


class Terminal:
    """One run of `dopq-client` with a pseudo-terminal as its stdin, stdout and stderr; use it in a `with` block."""

    def __init__(self, *words: str, environment: Mapping[str, str], prefix: Sequence[str] = ()) -> None:
        """Run it; `prefix` is a command that runs commands, such as `nice`."""
        self._ours, theirs = pty.openpty()
        self.shown = ""
        self._process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "dopq_client.cli", *words],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=os.environ | environment,
            start_new_session=True,
        )
        os.close(theirs)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait(10)
        os.close(self._ours)

    def expect(self, text: str, timeout_s: float = 20.0) -> None:
        """Read on until `text` is shown."""
        until = time.monotonic() + timeout_s
        while text not in self.shown:
            assert self._read(until), f"{text!r} was not shown, but {self.shown!r}"

    def type(self, line: str) -> None:
        """Type a line."""
        os.write(self._ours, line.encode() + b"\n")

    def end(self, timeout_s: float = 20.0) -> int:
        """Read on until the command has ended; its exit code."""
        until = time.monotonic() + timeout_s
        while self._read(until):
            pass
        return self._process.wait(10)

    def _read(self, until: float) -> bool:
        ready, _, _ = select.select([self._ours], [], [], max(0.0, until - time.monotonic()))
        try:
            data = os.read(self._ours, 4096) if ready else b""
        except OSError:  # EIO: nobody has the other end any more
            data = b""
        self.shown += data.decode("utf-8", "replace")
        return bool(data)
