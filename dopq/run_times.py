"""How long jobs like this one ran: what the order and the ETA expect of a job, beside the limit that bounds it.

Pure. Jobs of one user and name tend to run alike, the more so the closer together they were handed in; failing that,
the user's newest jobs say more than all jobs together (Tsafrir, Etsion, Feitelson: "Backfilling Using System-Generated
Predictions", 2007, found the mean of a user's last two run times hard to beat).
"""

from __future__ import annotations

import math
from collections import deque
from typing import Self
from zlib import crc32

from dopq.job import JobId, UserName
from dopq.lines import Waiting

REMEMBERED = 2
"""Newest run times that count."""

SURPRISES = 500
"""Newest run times from which draws are made."""

SHORTEST_S = 1.0


class RunTimes:
    """The run times of what has ended: by user and name, by user and number of GPUs, by user."""

    def __init__(self) -> None:
        self._logs: dict[tuple[UserName, str | int | None], tuple[float, ...]] = {}
        self._surprises: deque[float] = deque(maxlen=SURPRISES)  # logarithms of real by expected run times

    def copy(self) -> Self:
        """The same, which learns nothing more."""
        other = type(self)()
        other._logs = self._logs.copy()
        other._surprises = self._surprises.copy()
        return other

    def learn(self, job: Waiting, run_s: float) -> None:
        """A job ran for `run_s` seconds."""
        log = math.log(max(SHORTEST_S, run_s))
        if logs := self._known(job):
            self._surprises.append(log - sum(logs) / len(logs))
        for key in _keys(job):
            self._logs[key] = (*self._logs.get(key, ()), log)[-REMEMBERED:]

    def expected_s(self, job: Waiting) -> float:
        """Seconds that a job will most likely run: at most its limit, and that where nothing is known of its user."""
        logs = self._known(job)
        # Of the logarithms, since run times differ by factors: the mean would be the longest one's.
        return min(job.limit_s, math.exp(sum(logs) / len(logs))) if logs else job.limit_s

    def drawn_s(self, job: Waiting, draw: int) -> float:
        """Seconds that a job will run in one draw of many: as expected but for a surprise, and at most its limit."""
        return max(SHORTEST_S, min(job.limit_s, self.expected_s(job) * self.surprise(job.id, draw)))

    def surprise(self, job: JobId, draw: int) -> float:
        """A factor by which a job may run longer or shorter than expected: drawn from those of the newest that ended.

        The same for the same job and draw as long as nothing is learnt.
        """
        if not self._surprises:
            return 1.0
        # A hash instead of a generator: a draw must not depend on how many other jobs were asked about before.
        return math.exp(self._surprises[crc32(f"{draw} {job}".encode()) % len(self._surprises)])

    def _known(self, job: Waiting) -> tuple[float, ...]:
        return next((logs for key in _keys(job) if (logs := self._logs.get(key))), ())


def _keys(job: Waiting) -> tuple[tuple[UserName, str | int | None], ...]:
    """Under which its run time is remembered, the closest first."""
    return (job.user, job.name), (job.user, job.demand.gpus), (job.user, None)
