"""How long jobs like this one ran: what the order and the ETA expect of a job, beside the limit that bounds it.

Pure. Jobs of one user and name tend to run alike, the more so the closer together they were handed in; failing that,
the user's newest jobs say more than all jobs together (Tsafrir, Etsion, Feitelson: "Backfilling Using System-Generated
Predictions", 2007, found the mean of a user's last two run times hard to beat).
"""

from __future__ import annotations

import math
from collections import deque

from dopq.job import UserName
from dopq.lines import Waiting

REMEMBERED = 2
"""Newest run times that count."""

SHORTEST_S = 1.0


class RunTimes:
    """The run times of what has ended, by user and name."""

    def __init__(self) -> None:
        self._logs: dict[tuple[UserName, str | None], deque[float]] = {}

    def learn(self, user: UserName, name: str, run_s: float) -> None:
        """A job of that user and name ran for `run_s` seconds."""
        for key in ((user, name), (user, None)):
            if key not in self._logs:
                self._logs[key] = deque(maxlen=REMEMBERED)
            self._logs[key].append(math.log(max(SHORTEST_S, run_s)))

    def expected_s(self, job: Waiting) -> float:
        """Seconds that a job will most likely run: at most its limit, and that where nothing is known of its user."""
        logs = self._logs.get((job.user, job.name)) or self._logs.get((job.user, None))
        # Of the logarithms, since run times differ by factors: the mean would be the longest one's.
        return min(job.limit_s, math.exp(sum(logs) / len(logs))) if logs else job.limit_s
