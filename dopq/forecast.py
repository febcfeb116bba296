"""When waiting jobs will start: the band over several courses, each with run times of its own.

Pure and deterministic. It knows only of jobs that are there: what those who come later change is for calibration.py.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from dopq.band import Band, band_of
from dopq.course import Course, Situation
from dopq.job import JobId
from dopq.lines import Waiting

DECISIONS = 2000
"""Decisions of a course, about as many as jobs that start in it: what a course costs is bounded by them."""


def forecast(
    situation: Situation,
    draws: Sequence[Callable[[Waiting], float]],
    asked: Collection[JobId] | None = None,
    decisions: int = DECISIONS,
) -> dict[JobId, Band]:
    """Seconds until each job starts, of those in line that do so in every course; never changes the situation.

    Args:
        draws: one for each course: the seconds that a job will run in it.
        asked: the courses end once these have started; None for all in line.
    """
    wanted = {job.id for job in situation.waiting} if asked is None else set(asked)
    if situation.view.stopped is not None or not wanted:
        return {}
    courses = [Course(situation, draw).starts(wanted, decisions) for draw in draws]
    now_s = situation.view.now_s
    return {
        job_id: band_of([starts[job_id] - now_s for starts in courses])
        for job_id in wanted
        if all(job_id in starts for starts in courses)
    }


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is forecast for a whole queue, as of one moment."""

    at: datetime
    bands: Mapping[JobId, Band]

    def band(self, job_id: JobId, now: datetime) -> Band | None:
        """Seconds from `now` until a job starts; None where nobody can say."""
        band = self.bands.get(job_id)
        return band.after((now - self.at).total_seconds()) if band else None
