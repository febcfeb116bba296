"""Telling people what goes on, phase by phase, with seconds."""

from __future__ import annotations

import time
from typing import TextIO


class Telling:
    """Says each phase as it ends.

    Args:
        out: where people read.
        began: when the first phase began, in seconds since the epoch.
    """

    def __init__(self, out: TextIO, began: float) -> None:
        self._out = out
        self._began = self._phase_began = began
        self.seconds: dict[str, float] = {}

    def phase(self, name: str, outcome: str) -> None:
        """A phase has ended; the next one begins."""
        now = time.time()
        self.seconds[name] = round(now - self._phase_began, 2)
        self.seconds["total"] = round(now - self._began, 2)
        self._phase_began = now
        print(f"{self.seconds[name]:6.1f} s  {name.replace('_', ' '):<12} {outcome}", file=self._out, flush=True)

    def aside(self, text: str) -> None:
        """Say what goes on within a phase."""
        print(f"{'':10}{text}", file=self._out, flush=True)
