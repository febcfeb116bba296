"""A reservation: a waiting job's promise that no job which starts before it will delay it (EASY backfill).

Pure. After Lifka, "The ANL/IBM SP Scheduling System" (1995): one job that does not fit yet gets the moment at which,
by the limits of what runs, it will; others may start now if they end by then, or take only what it leaves.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from dopq.job import GpuId, JobId, UserName
from dopq.lines import Waiting
from dopq.room import Demand, Room


@dataclass(frozen=True, slots=True)
class Holding:
    """A job that occupies the node.

    Attributes:
        since_s, limit_s: it will have left by `since_s + limit_s`, or is stopped; seconds.
    """

    id: JobId
    user: UserName
    demand: Demand
    gpus: frozenset[GpuId]
    since_s: float
    limit_s: float

    def until_s(self, now_s: float) -> float:
        """The latest moment at which it leaves. One that has outlived its limit is taken to need as long again."""
        end_s = self.since_s + self.limit_s
        return end_s if end_s > now_s else now_s + max(1.0, now_s - self.since_s)


class Reservation:
    """What one waiting job was promised.

    Attributes:
        job: whose it is.
        at_s: when it can start, at the latest.
        overdue: whether it stands because the job is overdue, not because its user is next.
    """

    def __init__(self, job: Waiting, at_s: float, then: Room, *, overdue: bool) -> None:
        """`then` is what will be free at `at_s`, this job not counted."""
        self.job = job
        self.at_s = at_s
        self.overdue = overdue
        self._then = then
        self._delaying: dict[Demand, bool] = {}  # answers so far; good until something takes of `_then`

    def is_delayed_by(self, job: Waiting, now_s: float, room: Room) -> bool:
        """Whether the promise breaks if `job` starts now and takes all the time that it may."""
        return job.limit_s > self.longest_s(job.demand, now_s, room)

    def longest_s(self, demand: Demand, now_s: float, room: Room) -> float:
        """The longest limit with which a job of that demand, which fits, may start now; infinite where any may."""
        if demand not in self._delaying:
            gpus = room.choose(demand)
            self._then.take(demand, gpus)
            self._delaying[demand] = not self._then.fits(self.job.demand)
            self._then.give_back(demand, gpus)
        return self.at_s - now_s if self._delaying[demand] else math.inf

    def note_start(self, job: Waiting, gpus: frozenset[GpuId], now_s: float) -> None:
        """A job has started that does not delay it."""
        self._delaying.clear()
        if job.limit_s > self.at_s - now_s:
            self._then.take(job.demand, gpus)


def reserve(job: Waiting, room: Room, holding: Iterable[Holding], now_s: float, *, overdue: bool) -> Reservation | None:
    """The reservation of a job that does not fit; None where it would not even if all others had left."""
    then = room.copy()
    for other in sorted(holding, key=lambda it: (it.until_s(now_s), it.id)):
        then.give_back(other.demand, other.gpus)
        if then.fits(job.demand):
            return Reservation(job, other.until_s(now_s), then, overdue=overdue)
    return None
