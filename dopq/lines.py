"""The waiting jobs, kept so that a decision looks at lines and not at jobs.

Pure. Jobs of one user that ask for the same and have the same priority, limit and name stand in one *line*: whatever
is true of the first of them is true of all, but for who came first. So the first of each line is all that a decision
looks at, however long the queue is, and nothing is ever sorted anew.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from dopq.job import JobId, Reason, UserName
from dopq.room import Demand


@dataclass(frozen=True, slots=True)
class Waiting:
    """A queued job as far as the order needs to know it.

    Attributes:
        limit_s: seconds after which it is stopped.
        name: jobs of one user and one name are taken to run about as long as each other.
    """

    id: JobId
    user: UserName
    demand: Demand
    priority: int
    queued_at_s: float
    limit_s: float
    name: str = ""


class LineKey(NamedTuple):
    """What the jobs of one line have in common besides their demand; sorts by the limit."""

    limit_s: float
    priority: int
    name: str


class Line:
    """Jobs that are alike, the first to come first."""

    __slots__ = ("_jobs", "key")

    def __init__(self, key: LineKey) -> None:
        self.key = key
        self._jobs: list[Waiting] = []

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Waiting]:
        return iter(self._jobs)

    def at(self, place: int) -> Waiting | None:
        """Who stands there, counted from 0; None behind the end."""
        return self._jobs[place] if place < len(self._jobs) else None

    @property
    def first(self) -> Waiting:
        """Who came first."""
        return self._jobs[0]

    def add(self, job: Waiting) -> None:
        """Put a job where its age puts it: one that came back to the queue has kept its time."""
        insort(self._jobs, job, key=came)

    def remove(self, job: Waiting) -> None:
        """Take a job out."""
        del self._jobs[bisect_left(self._jobs, came(job), key=came)]


def came(job: Waiting) -> tuple[float, JobId]:
    """Sorts jobs by when they joined the queue."""
    return job.queued_at_s, job.id


class DemandLines:
    """A user's lines of one demand, the shortest limit first."""

    __slots__ = ("_by_key", "_by_limit", "_oldest")

    def __init__(self) -> None:
        self._by_key: dict[LineKey, Line] = {}
        self._by_limit: list[Line] = []
        self._oldest: Waiting | None = None  # to be looked up

    def __len__(self) -> int:
        return len(self._by_limit)

    def __iter__(self) -> Iterator[Line]:
        return iter(self._by_limit)

    def ending_by(self, end_s: float, now_s: float) -> Sequence[Line]:
        """The lines whose jobs will have ended by `end_s` if they start now."""
        if end_s == math.inf:
            return self._by_limit
        if now_s + self._by_limit[0].key.limit_s > end_s:  # mostly so, behind a reservation
            return ()
        return self._by_limit[: bisect_right(self._by_limit, end_s, key=lambda line: now_s + line.key.limit_s)]

    def add(self, job: Waiting) -> None:
        """Let a job join its line."""
        key = _key(job)
        if key not in self._by_key:
            self._by_key[key] = Line(key)
            insort(self._by_limit, self._by_key[key], key=_by_limit)
        self._by_key[key].add(job)
        if self._oldest and came(job) < came(self._oldest):
            self._oldest = job

    def remove(self, job: Waiting) -> None:
        """Let a job leave its line."""
        line = self.line_of(job)
        line.remove(job)
        if not line:
            del self._by_key[line.key]
            del self._by_limit[bisect_left(self._by_limit, line.key, key=_by_limit)]
        if self._oldest is job:
            self._oldest = None

    def oldest(self) -> Waiting:
        """The job that waits longest of those in these lines, one at least."""
        if self._oldest is None:
            self._oldest = min((line.first for line in self), key=came)
        return self._oldest

    def line_of(self, job: Waiting) -> Line:
        """The line that a job of this demand stands in."""
        return self._by_key[_key(job)]


def _key(job: Waiting) -> LineKey:
    return LineKey(job.limit_s, job.priority, job.name)


def _by_limit(line: Line) -> LineKey:
    return line.key


class UserLines:
    """All lines of one user, by what their jobs ask for."""

    def __init__(self) -> None:
        self.by_demand: dict[Demand, DemandLines] = {}
        self._oldest: dict[bool, Waiting | None] = {}  # by whether it needs a GPU; what is missing is looked up
        self._beyond: Collection[Demand] = ()  # what was passed over in that

    def within(self, beyond: Collection[Demand]) -> list[Line]:
        """All but those whose jobs ask for what is `beyond` the node."""
        return [line for demand, lines in self.by_demand.items() if demand not in beyond for line in lines]

    def add(self, job: Waiting) -> None:
        """Let a job join its line."""
        self.by_demand.setdefault(job.demand, DemandLines()).add(job)
        self._oldest.pop(job.demand.needs_gpu, None)

    def remove(self, job: Waiting) -> None:
        """Let a job leave its line."""
        lines = self.by_demand[job.demand]
        lines.remove(job)
        if not lines:
            del self.by_demand[job.demand]
        self._oldest.pop(job.demand.needs_gpu, None)

    def line_of(self, job: Waiting) -> Line:
        """The line that a waiting job stands in."""
        return self.by_demand[job.demand].line_of(job)

    def oldest(self, *, needs_gpu: bool, beyond: Collection[Demand] = ()) -> Waiting | None:
        """The job that waits longest, among those that need a GPU or among those that do not.

        Whoever asks for what is `beyond` the node can wait for ever, and is passed over.
        """
        if beyond != self._beyond:
            self._beyond = beyond
            self._oldest.clear()
        if needs_gpu not in self._oldest:
            possible = (it for it in self.by_demand if it.needs_gpu is needs_gpu and it not in beyond)
            self._oldest[needs_gpu] = min((self.by_demand[it].oldest() for it in possible), key=came, default=None)
        return self._oldest[needs_gpu]


class Turn(NamedTuple):
    """A user's oldest job in a pool starts: the next one's wait for its turn counts from here."""

    user: UserName
    needs_gpu: bool
    at_s: float


class Queue:
    """All waiting jobs. A job that waits for something else than its turn is *set aside*, in no line.

    Attributes:
        users: the lines of each user who has any.
        demands: how many jobs in line ask for what.
        aside: jobs that may not start whatever is free, and why.
        since_s: no job in line came before this moment, seconds since the epoch; the last who did may have left.
        turns: when a job of the user last started that was the oldest of theirs in its pool (of those that could ever
            start); by user and by whether the pool is that of the GPUs. Seconds since the epoch.
    """

    def __init__(self, turns: Iterable[Turn] = ()) -> None:
        self.users: dict[UserName, UserLines] = {}
        self.demands: Counter[Demand] = Counter()
        self.aside: dict[JobId, Reason] = {}
        self.turns = {(turn.user, turn.needs_gpu): turn.at_s for turn in turns}
        self.since_s = math.inf
        self._jobs: dict[JobId, Waiting] = {}

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, job: JobId) -> bool:
        return job in self._jobs

    def __iter__(self) -> Iterator[Waiting]:
        return iter(self._jobs.values())

    def get(self, job: JobId) -> Waiting | None:
        """A waiting job by its number."""
        return self._jobs.get(job)

    def add(self, job: Waiting, aside: Reason | None = None) -> None:
        """A job joins the queue, in line or set aside; one that is in it already is put where it now belongs."""
        self.remove(job.id)
        self._jobs[job.id] = job
        if aside is not None:
            self.aside[job.id] = aside
            return
        self.users.setdefault(job.user, UserLines()).add(job)
        self.demands[job.demand] += 1
        self.since_s = min(self.since_s, job.queued_at_s)

    def remove(self, job_id: JobId) -> Waiting | None:
        """A job leaves the queue; None if it was not in it."""
        job = self._jobs.pop(job_id, None)
        if job is None or self.aside.pop(job_id, None) is not None:
            return job
        lines = self.users[job.user]
        lines.remove(job)
        if not lines.by_demand:
            del self.users[job.user]
        self.demands[job.demand] -= 1
        if not self.demands[job.demand]:
            del self.demands[job.demand]
        return job

    def turn_of(self, job_id: JobId, now_s: float, beyond: Collection[Demand] = ()) -> Turn | None:
        """The turn that a user gets if this job of theirs starts now; None if an older one still waits.

        `beyond`: what the node can never meet, see `Decision`.
        """
        job = self._jobs.get(job_id)
        if job is None or job_id in self.aside:
            return None
        needs_gpu = job.demand.needs_gpu
        is_oldest = self.users[job.user].oldest(needs_gpu=needs_gpu, beyond=beyond) is job
        return Turn(job.user, needs_gpu, now_s) if is_oldest else None

    def start(self, job_id: JobId, now_s: float, beyond: Collection[Demand] = ()) -> None:
        """A job leaves the queue because it starts. `beyond` as above."""
        turn = self.turn_of(job_id, now_s, beyond)
        if turn is not None:
            self.turns[turn.user, turn.needs_gpu] = turn.at_s
        self.remove(job_id)
