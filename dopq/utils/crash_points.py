"""Crash points: the moments, just before and just after each durable step, at which a test may have the process die.

A step is what outlives the process that takes it: an entry in the journal, a container, a file in the share. Between
two of them nothing is lost by a death that was not lost before it; so these are the moments that the sabotage suite
(scripts/sabotage.sh) has to try. Nothing happens here unless `arm` was called with an environment that only tests make.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

NODE_STEPS = (
    "bundle discard",
    "bundle return",
    "container create",
    "container remove",
    "container start",
    "container stop",
    "job end",
    "journal commit",
    "lease end",
    "log append",
    "results bring",
    "share tell",
    "upload finish",
)
AHEAD_STEPS = ("container rename", "latch open")
"""Those of a node's that a job takes only where it came next: its container was made before its lease."""

PROVIDER_STEPS = ("drop remove", "image make", "spool copy")

AT = "DOPQ_CRASH_AT"
"""`before STEP` or `after STEP`, and `:N` for the Nth time that this process comes there."""

MARK = "DOPQ_CRASH_MARK"
"""A file that is made at the moment of death. Once it is there nobody dies any more: each crash is one crash."""


def points() -> tuple[str, ...]:
    """Every crash point, as `DOPQ_CRASH_AT` names it."""
    return points_of(*NODE_STEPS, *AHEAD_STEPS, *PROVIDER_STEPS)


def points_of(*steps: str) -> tuple[str, ...]:
    """The crash points of these steps."""
    return tuple(f"{when} {step}" for step in steps for when in ("before", "after"))


@contextmanager
def step(name: str) -> Iterator[None]:
    """A durable step. What raises has not come to its `after`."""
    for trap in _armed:
        trap.reached(f"before {name}")
    yield
    for trap in _armed:
        trap.reached(f"after {name}")


def arm(environment: Mapping[str, str]) -> bool:
    """Have this process die where the environment says so; whether it says so.

    Raises:
        ValueError: there is no such point.
    """
    if AT not in environment or MARK not in environment:
        return False
    point, _, nth = environment[AT].partition(":")
    if point not in points():
        raise ValueError(f"{AT}: there is no crash point {point!r}.")
    _armed.append(_Trap(point, Path(environment[MARK]), int(nth or 1)))
    return True


@dataclass(slots=True)
class _Trap:
    point: str
    mark: Path
    left: int
    lock: threading.Lock = field(default_factory=threading.Lock)

    def reached(self, point: str) -> None:
        if point != self.point:
            return
        with self.lock:
            self.left -= 1
            if self.left == 0 and not self.mark.exists():
                self.mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)


_armed: list[_Trap] = []
