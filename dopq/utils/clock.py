"""The clock, as a port: whoever needs the time is handed one, so that tests can turn the hands."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Two times for two uses: `now` to tell people when, `monotonic` to measure how long."""

    def now(self) -> datetime:
        """The time of day, UTC-aware. May jump in either direction when somebody sets the machine's clock."""
        ...

    def monotonic(self) -> float:
        """Seconds since an unspecified moment; never goes back, means nothing once the machine was started anew."""
        ...


STEP_S = 5.0
"""By less than so many seconds nobody is thought to have set the clock: time servers step it by fractions of one."""


def lead(clock: Clock) -> float:
    """Seconds by which the time of day is ahead of the monotonic one: constant, unless the clock is set.

    Or the machine sleeps, which is the same to whatever ran on it. A time server that only makes the clock run faster
    or slower moves both (clock_gettime(2), CLOCK_MONOTONIC).
    """
    return clock.now().timestamp() - clock.monotonic()


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """The time of day, UTC-aware."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since an unspecified moment; never goes back."""
        return time.monotonic()
