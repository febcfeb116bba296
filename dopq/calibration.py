"""Forecasts corrected by how earlier ones turned out: what no course of the present queue can know is in that.

Pure. Each quantile is moved by the factor that would have made it right for the newest outcomes (split conformal
prediction of quantiles: Romano, Patterson, Candes, "Conformalized Quantile Regression", 2019). Since a lab's habits
change, and with them the errors, the levels themselves follow what share of the bands held (Gibbs, Candes, "Adaptive
Conformal Inference Under Distribution Shift", 2021).
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple, Self

from dopq.band import Band, quantile

REMEMBERED = 400
"""Newest outcomes that count: enough for quantiles, few enough to follow a lab's habits."""

ENOUGH = 20
"""Outcomes below which a forecast is not moved but widened by a guess."""

GUESS = 4.0
"""By which factor, both ways, waits differ from a forecast of which nothing is known yet."""

SMALL_S = 60.0
"""Waits differ by factors, but below this by seconds: two and four seconds are much the same."""

ROUNDING_S = 1e-3
"""What logarithms and back may have moved a bound."""

OUTSIDE = 0.2
"""The part of all starts that may lie outside of their bands."""

STEP = 0.02
"""How far one start outside moves the levels: they settle within about as many starts as are remembered."""

LEAST, MOST = 0.01, 0.6
"""Bounds of the part outside for which a band is made."""


class Outcome(NamedTuple):
    """What was forecast before any correction, and how long the job then waited; seconds."""

    forecast: Band
    waited_s: float


class Calibration:
    """What is known of the forecasts of one node.

    Args:
        outside: the part of starts outside of which bands are made at present; see `OUTSIDE`.
    """

    def __init__(self, outcomes: Iterable[Outcome] = (), outside: float = OUTSIDE) -> None:
        self._outcomes = deque(outcomes, maxlen=REMEMBERED)
        self._outside = outside

    def learn(self, forecast: Band, told: Band, waited_s: float) -> None:
        """A job has started for which `forecast` was made, and corrected to `told`."""
        self._outcomes.append(Outcome(forecast, waited_s))
        moved = self._outside + STEP * (OUTSIDE - (waited_s not in told))
        self._outside = min(MOST, max(LEAST, moved))

    def corrector(self) -> Corrector:
        """What is to be done to forecasts, as far as is known now."""
        if len(self._outcomes) < ENOUGH:
            return Corrector((-math.log(GUESS), 0.0, math.log(GUESS)))
        levels = (self._outside / 2, 0.5, 1 - self._outside / 2)
        return Corrector(tuple(self._error(place, level) for place, level in enumerate(levels)))

    def _error(self, place: int, level: float) -> float:
        return quantile(sorted(_log(it.waited_s) - _log(it.forecast[place]) for it in self._outcomes), level)

    def to_json(self) -> str:
        """As text, for the journal."""
        rows = [[*it.forecast, it.waited_s] for it in self._outcomes]
        return json.dumps({"outside": self._outside, "outcomes": rows})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What `to_json` wrote."""
        noted = json.loads(text)
        return cls((Outcome(Band(*row[:3]), row[3]) for row in noted["outcomes"]), noted["outside"])


class Corrector:
    """Moves each quantile of a forecast by a factor of its own."""

    def __init__(self, errors: tuple[float, ...]) -> None:
        """`errors`: logarithms of real by forecast waits, for each quantile."""
        self._errors = errors

    def __call__(self, forecast: Band) -> Band:
        """The corrected band, in whole seconds, the bounds rounded outwards."""
        low, middle, high = sorted(
            max(0.0, _seconds(_log(at) + error)) for at, error in zip(forecast, self._errors, strict=True)
        )
        return Band(float(math.floor(low + ROUNDING_S)), float(round(middle)), float(math.ceil(high - ROUNDING_S)))


def _log(seconds: float) -> float:
    return math.log(seconds + SMALL_S)


def _seconds(log: float) -> float:
    return math.exp(log) - SMALL_S
