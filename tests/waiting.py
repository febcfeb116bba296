"""Waiting for what must come true, instead of sleeping and hoping."""

from __future__ import annotations

import time
from collections.abc import Callable

POLL_S = 0.02


def wait_until(condition: Callable[[], object], timeout_s: float) -> None:
    """Return as soon as `condition()` is true; AssertionError when it is not within `timeout_s` seconds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {condition}")
        time.sleep(POLL_S)
