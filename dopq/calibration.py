"""Forecasts corrected by how earlier ones turned out: what no course of the present queue can know is in them.

Pure. Split conformal prediction (Vovk, Gammerman, Shafer: "Algorithmic Learning in a Random World", 2005), for each
quantile alone as in Romano, Patterson, Candes: "Conformalized Quantile Regression" (2019): a forecast that was right as
often as it claims stays, any other is moved by the factor that would have made it so for those that resemble it.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Self

from dopq.band import LEVELS, Band, quantile

REMEMBERED = 400
"""Newest outcomes that count: enough for quantiles, few enough to follow a lab's habits."""

RESEMBLING = 100
"""Outcomes that correct one forecast: those whose forecast was the most like it."""

ENOUGH = 20
"""Outcomes below which forecasts are not moved but widened by a guess."""

GUESS = 4.0
"""By which factor, both ways, waits differ from a forecast of which nothing is known yet."""

SMALL_S = 60.0
"""Waits differ by factors, but below this by seconds: two and four seconds are much the same."""


class Outcome(NamedTuple):
    """A forecast, and how long the job then really waited; seconds."""

    band: Band
    waited_s: float


class Calibration:
    """What is known of the forecasts of one node."""

    def __init__(self, outcomes: Iterable[Outcome] = ()) -> None:
        self._outcomes = deque(outcomes, maxlen=REMEMBERED)

    def __iter__(self) -> Iterator[Outcome]:
        return iter(self._outcomes)

    def learn(self, band: Band, waited_s: float) -> None:
        """A job for which `band` was forecast, not yet corrected, has started after `waited_s`."""
        self._outcomes.append(Outcome(band, waited_s))

    def corrected(self, band: Band) -> Band:
        """The band that holds eight of ten starts, if what was so goes on."""
        alike = self._resembling(band)
        if len(alike) < ENOUGH:
            factors = (1 / GUESS, 1.0, GUESS)
            return _ordered(_seconds(_log(at) + math.log(by)) for at, by in zip(band, factors, strict=True))
        moved = (
            _log(at) + quantile(sorted(_log(it.waited_s) - _log(it.band[place]) for it in alike), level)
            for place, (at, level) in enumerate(zip(band, LEVELS, strict=True))
        )
        return _ordered(map(_seconds, moved))

    def _resembling(self, band: Band) -> list[Outcome]:
        at = _log(band.p50_s)
        return sorted(self._outcomes, key=lambda it: abs(_log(it.band.p50_s) - at))[:RESEMBLING]

    def to_json(self) -> str:
        """As text, for the journal."""
        return json.dumps([[*it.band, it.waited_s] for it in self._outcomes])

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What `to_json` wrote."""
        return cls(Outcome(Band(*row[:3]), row[3]) for row in json.loads(text))


def _log(seconds: float) -> float:
    return math.log(seconds + SMALL_S)


def _seconds(log: float) -> float:
    return max(0.0, math.exp(log) - SMALL_S)


def _ordered(moved: Iterable[float]) -> Band:
    return Band(*sorted(moved))
