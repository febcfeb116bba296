"""`dopq-client` with a whole screen of a terminal: what stands on it, keys, another size, and how it is left."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

import pyte

ARROW_DOWN, ESCAPE, CTRL_C, TAB = "\x1b[B", "\x1b", "\x03", "\t"


class FullScreen:
    """One run of `dopq-client` on a terminal of its own; use it in a `with` block.

    Attributes:
        written: all bytes that the terminal got.
    """

    def __init__(
        self, *words: str, environment: Mapping[str, str], columns: int = 80, rows: int = 24, at: str = "now"
    ) -> None:
        """`at`: a time at which the clock of the screen stands; `now`: it goes."""
        self._ours, self._theirs = pty.openpty()
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self.written = b""
        self._set_size(columns, rows)
        self.modes_before = termios.tcgetattr(self._theirs)
        inherited = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES", "NO_COLOR"}}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.own_terminal", at, *words],
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
            env={**inherited, "TERM": "xterm-256color", **environment},
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait(10)
        os.close(self._ours)
        os.close(self._theirs)

    @property
    def text(self) -> str:
        """What stands on the screen, line by line."""
        return "".join(f"{line.rstrip()}\n" for line in self._screen.display)

    @property
    def modes(self) -> list[object]:
        """How the terminal treats what is typed, as `stty` shows it."""
        return termios.tcgetattr(self._theirs)

    def has_style(self, text: str, style: str) -> bool:
        """Whether the first place where `text` stands has a style of pyte's, such as `reverse`."""
        y, line = next((y, line) for y, line in enumerate(self._screen.display) if text in line)
        return bool(getattr(self._screen.buffer[y][line.index(text)], style))

    def expect(self, *texts: str, timeout_s: float = 30.0) -> None:
        """Read on until all of these stand on the screen."""
        self.until(lambda: all(text in self.text for text in texts), timeout_s, what=repr(texts))

    def expect_no(self, text: str, timeout_s: float = 30.0) -> None:
        """Read on until this stands on it no more."""
        self.until(lambda: text not in self.text, timeout_s, what=f"no {text!r}")

    def until(self, condition: Callable[[], bool], timeout_s: float = 30.0, *, what: str = "") -> None:
        """Read on until that holds; AssertionError with the screen when it does not in time."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert self._read(deadline), f"{what or condition} did not come true on\n{self.text}"

    def silent_for(self, seconds: float) -> bool:
        """Whether nothing is written in so many seconds from now."""
        before = len(self.written)
        self._read(time.monotonic() + seconds)
        return len(self.written) == before

    def settle(self, seconds: float = 0.6) -> str:
        """What stands on the screen when nothing has been written for a moment."""
        deadline = time.monotonic() + 30.0
        while not self.silent_for(seconds):
            assert time.monotonic() < deadline, f"it never rests\n{self.text}"
        return self.text

    def press(self, keys: str) -> None:
        """Press keys."""
        os.write(self._ours, keys.encode())

    def resize(self, columns: int, rows: int) -> None:
        """Give the terminal another size; the kernel tells the process (SIGWINCH)."""
        self._screen.resize(rows, columns)
        self._set_size(columns, rows)

    def end(self, number: signal.Signals | None = None, timeout_s: float = 20.0) -> int:
        """Read on until the command has ended, by a signal that is sent or by itself; its exit code."""
        if number is not None:
            self.process.send_signal(number)
        deadline = time.monotonic() + timeout_s
        while self.process.poll() is None and time.monotonic() < deadline:
            self._read(time.monotonic() + 0.1)
        code = self.process.wait(1)
        while self._read(time.monotonic() + 0.1):
            pass
        return code

    def _set_size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def _read(self, until: float) -> bool:
        ready, _, _ = select.select([self._ours], [], [], max(0.0, until - time.monotonic()))
        data = os.read(self._ours, 65536) if ready else b""
        self.written += data
        self._stream.feed(data)
        return bool(data)
