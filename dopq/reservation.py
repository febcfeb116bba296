"""A reservation: a waiting job's promise that no job which starts before it will delay it (EASY backfill).

Pure. After Lifka, "The ANL/IBM SP Scheduling System" (1995): one job that does not fit yet gets the moment at which,
by the limits of what runs, it will; others may start now if they end by then, or take only what it leaves.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
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
        self._delaying: dict[tuple[Demand, frozenset[GpuId]], bool] = {}  # good until something takes of `_then`

    def is_delayed_by(self, job: Waiting, gpus: frozenset[GpuId], now_s: float) -> bool:
        """Whether the promise breaks if `job` starts now on these GPUs and takes all the time that it may."""
        if now_s + job.limit_s <= self.at_s:
            return False
        placed = job.demand, gpus
        if placed not in self._delaying:
            self._then.take(*placed)
            self._delaying[placed] = not self._then.fits(self.job.demand)
            self._then.give_back(*placed)
        return self._delaying[placed]

    def note_start(self, job: Waiting, gpus: frozenset[GpuId], now_s: float) -> None:
        """A job has started that does not delay it."""
        if now_s + job.limit_s > self.at_s:
            self._delaying.clear()
            self._then.take(job.demand, gpus)


def place(job: Waiting, room: Room, reservations: Collection[Reservation], now_s: float) -> frozenset[GpuId] | None:
    """The GPUs on which a job that fits may start now; None where it would delay a reservation on whichever it got."""
    for gpus in room.choices(job.demand):
        if not any(it.is_delayed_by(job, gpus, now_s) for it in reservations):
            return gpus
    return None


def reserve(
    job: Waiting,
    room: Room,
    holding: Iterable[Holding],
    now_s: float,
    *,
    overdue: bool,
    others: Iterable[Reservation] = (),
) -> Reservation | None:
    """The reservation of a job that may not start yet; None where it could not even if everybody else had left.

    `others` are the reservations that stand already, in other pools. What their jobs will take (but for GPUs, which
    only one pool takes) counts as taken from now until they will have ended, so that both promises can be kept.
    """
    then = room.copy()
    ends = [(it.until_s(now_s), it.id, it.demand, it.gpus) for it in holding]
    for it in others:
        then.take(it.job.demand, ())
        ends.append((it.at_s + it.job.limit_s, it.job.id, it.job.demand, frozenset()))
    for at_s, _, demand, gpus in sorted(ends, key=lambda end: end[:2]):
        then.give_back(demand, gpus)
        if then.fits(job.demand):
            return Reservation(job, at_s, then, overdue=overdue)
    return None
