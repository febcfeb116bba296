"""Which jobs are asked for: whose, in which states, ended since when. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from dopq.job import Job, StateName, UserName


@dataclass(frozen=True, slots=True)
class Selection:
    """What of all jobs is wanted; the default is all of them.

    Attributes:
        user: whose; None for everybody's.
        states: in which; none for any.
        since: of ended jobs those that ended then or later.
    """

    user: UserName | None = None
    states: frozenset[StateName] = frozenset()
    since: datetime | None = None

    def takes(self, job: Job) -> bool:
        """Whether a job that has not ended is wanted."""
        return self.user in (None, job.user) and (not self.states or job.state.name in self.states)
