"""What a figure was in the last minutes, for sparklines. Times are monotonic seconds, handed in."""

from __future__ import annotations

from collections import defaultdict

STEP_S = 10.0
"""One character of a sparkline: the mean of what was told in so many seconds."""

STEPS = 60
"""So many steps are remembered: ten minutes."""


class Trends:
    """The means of every figure, a step each; figures are told apart by a key of any kind."""

    def __init__(self) -> None:
        self._steps: dict[object, dict[int, tuple[float, int]]] = defaultdict(dict)

    def add(self, key: object, at_s: float, value: float | None) -> None:
        """One more value of a figure; None: it is not known now."""
        if value is None:
            return
        step = int(at_s // STEP_S)
        total, count = self._steps[key].get(step, (0.0, 0))
        self._steps[key][step] = (total + value, count + 1)

    def last(self, key: object, at_s: float, steps: int) -> list[float | None]:
        """The means of the last steps, the newest last; None where nothing was told."""
        known = self._steps.get(key, {})
        newest = int(at_s // STEP_S)
        return [_mean(known.get(step)) for step in range(newest - steps + 1, newest + 1)]

    def forget(self, at_s: float) -> None:
        """Drop what is older than `STEPS` steps, and figures of which nothing is left."""
        oldest = int(at_s // STEP_S) - STEPS
        for key, steps in list(self._steps.items()):
            kept = {step: mean for step, mean in steps.items() if step >= oldest}
            if kept:
                self._steps[key] = kept
            else:
                del self._steps[key]


def _mean(told: tuple[float, int] | None) -> float | None:
    return told[0] / told[1] if told else None
