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
        """Seconds since an unspecified moment; never goes back, means nothing to another process."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """The time of day, UTC-aware."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since an unspecified moment; never goes back."""
        return time.monotonic()
