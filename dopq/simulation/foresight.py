"""Watches a replay, forecasts the start of some of the jobs when they join, and keeps how that turned out. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dopq.band import Band
from dopq.calibration import Calibration
from dopq.forecast import DECISIONS, forecast
from dopq.job import JobId
from dopq.lines import Waiting
from dopq.order import by_limit
from dopq.run_times import RunTimes
from dopq.simulation.replay import Limits, Moment


@dataclass(frozen=True, slots=True)
class Seen:
    """One forecast, and how long the job then waited; seconds.

    Attributes:
        raw: over the courses, not yet corrected.
        told: what the user would have been told.
    """

    at_s: float
    raw: Band
    told: Band
    waited_s: float


class Foresight:
    """A watcher of one replay.

    Args:
        every: of how many jobs that join and have to wait one is asked about.
        courses: of each forecast, where run times are not known.
    """

    def __init__(self, limits: Limits, every: int, courses: int, decisions: int = DECISIONS) -> None:
        self.seen: list[Seen] = []
        self.beyond = 0  # forecasts that a course was too short for
        self._limits = limits
        self._every = every
        self._courses = courses
        self._decisions = decisions
        self._joined = 0
        self._open: dict[JobId, tuple[float, Band, Band]] = {}
        self._calibration = Calibration()

    @property
    def coverage(self) -> float:
        """The part of the starts that fell inside their bands."""
        return sum(it.waited_s in it.told for it in self.seen) / len(self.seen)

    def __call__(self, moment: Moment) -> None:
        """See `Watcher`."""
        for job_id in moment.started:
            if job_id in self._open:
                at_s, raw, told = self._open.pop(job_id)
                self._calibration.learn(raw, told, moment.now_s - at_s)
                self.seen.append(Seen(at_s, raw, told, moment.now_s - at_s))
        for job in moment.joined:
            if job.id not in moment.started:
                self._joined += 1
                if self._joined % self._every == 0:
                    self._foresee(job, moment)

    def _foresee(self, job: Waiting, moment: Moment) -> None:
        bands = forecast(moment.situation(), self._draws(moment.run_times), [job.id], self._decisions)
        if job.id in bands:
            raw = bands[job.id]
            self._open[job.id] = moment.now_s, raw, self._calibration.corrector()(raw)
        else:
            self.beyond += 1

    def _draws(self, run_times: RunTimes) -> list[Callable[[Waiting], float]]:
        if self._limits is Limits.TRUE:
            return [by_limit]  # here it is what they run

        def drawn(number: int) -> Callable[[Waiting], float]:
            return lambda job: max(1.0, run_times.expected_s(job) * run_times.surprise(job.id, number))

        return [drawn(number) for number in range(self._courses)]
