"""When a screen is drawn, and what is remembered of the minutes before."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from dopq_client.top.bars import sparkline
from dopq_client.top.trends import Trends


@dataclass(frozen=True, slots=True)
class Moment:
    """`now` in the reader's zone; `at_s`: the same on the hand by which `trends` remembers."""

    now: datetime
    at_s: float
    trends: Trends

    def line(self, key: object, steps: int, most: float | None = None) -> str:
        """The sparkline of a figure; `most`: what fills its height, else the highest that is shown."""
        values = self.trends.last(key, self.at_s, steps)
        return sparkline(values, _highest(values) if most is None else most)


def present(trends: Trends) -> Moment:
    """This very moment."""
    return Moment(datetime.now(UTC).astimezone(), time.monotonic(), trends)


def _highest(values: Sequence[float | None]) -> float:
    return max((value for value in values if value is not None), default=0.0)
