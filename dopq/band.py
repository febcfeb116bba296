"""A band of time: how long something will take, as three quantiles. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Self

LEVELS = (0.1, 0.5, 0.9)


class Band(NamedTuple):
    """Seconds, 0 or more and never falling: 8 of 10 values lie between `p10_s` and `p90_s`."""

    p10_s: float
    p50_s: float
    p90_s: float

    def after(self, seconds: float) -> Self:
        """What is left of it when so many seconds have passed."""
        return type(self)(*(max(0.0, at - seconds) for at in self))

    def __contains__(self, seconds: object) -> bool:
        """Whether a span of seconds lies inside, the bounds included."""
        return isinstance(seconds, int | float) and self.p10_s <= seconds <= self.p90_s


def band_of(values: Sequence[float]) -> Band:
    """The band of one value at least."""
    ordered = sorted(values)
    return Band(*(quantile(ordered, level) for level in LEVELS))


def quantile(ordered: Sequence[float], level: float) -> float:
    """The value at that part (0 to 1) of some that are in order; between two of them in proportion."""
    place = level * (len(ordered) - 1)
    low, high = ordered[math.floor(place)], ordered[math.ceil(place)]
    return low + (high - low) * (place - math.floor(place))
