"""The queue itself: who starts now, on which GPUs, and what is promised to those who do not.

Pure: the same queue and view give the same decision; no clock, no I/O, no randomness. Times are seconds since the
epoch. Why a job does not start is told by why.py from the same decision; what the rules are for, and what they cost, is
docs/adr/0040-reservations.md.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from dopq.job import GpuId, JobId, Reason, UserName
from dopq.lines import Line, Queue, UserLines, Waiting, came
from dopq.order import FairShare, Key, Order
from dopq.reservation import Holding, Reservation, reserve
from dopq.room import Capacity, Demand, Room


@dataclass(frozen=True, slots=True)
class Quota:
    """What one user may occupy at once; infinite for no bound."""

    gpus: float = float("inf")
    jobs: float = float("inf")


@dataclass(frozen=True, slots=True)
class View:
    """All that a decision depends on, besides the queue.

    Attributes:
        holding: the jobs that occupy the node.
        stopped: why nothing starts at present (lock, drain, engine away); None when starting is allowed.
        overdue_s: a user's oldest job is overdue when for so long neither it nor an older one of theirs has started.
    """

    now_s: float
    capacity: Capacity
    holding: tuple[Holding, ...] = ()
    order: Order = field(default_factory=lambda: FairShare({}))
    quota: Quota = field(default_factory=Quota)
    stopped: Reason | None = None
    overdue_s: float = float("inf")


@dataclass(frozen=True, slots=True)
class Start:
    """This job starts now, on these GPUs."""

    job: JobId
    gpus: frozenset[GpuId]


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows from a view: who starts, in this order, and how everybody else stands.

    Attributes:
        holding: what occupies the node once all have started.
        room: what is free then; not to be changed.
        reservations: by whether they are for the pool of the GPUs.
    """

    view: View
    starts: tuple[Start, ...]
    holding: tuple[Holding, ...]
    room: Room
    reservations: dict[bool, Reservation]

    def held_by(self, user: UserName) -> tuple[float, int]:
        """GPUs and places that a user occupies once all have started."""
        mine = [it for it in self.holding if it.user == user]
        return sum(share_of_gpus(it.demand, self.view.capacity) for it in mine), len(mine)


def decide(queue: Queue, view: View) -> Decision:
    """Say who starts now. The queue is not changed: whoever starts them takes them out of it.

    First the overdue, then in fair order; the walk goes on past what does not fit, but starts nothing that would delay
    a reservation. There is one in each pool at most (GPUs; the rest): the overdue job's, else that of the first user in
    the order who has waiting jobs of which none fits.
    """
    walk = _Walk(queue, view)
    if view.stopped is None:
        for needs_gpu in (True, False):
            walk.start_overdue(needs_gpu=needs_gpu)
        walk.start_in_order()
    return Decision(view, tuple(walk.starts), tuple(walk.holding), walk.room, walk.reservations)


def share_of_gpus(demand: Demand, capacity: Capacity) -> float:
    """GPUs that a job occupies; slots count in parts."""
    return demand.gpus + demand.slots / capacity.slots_per_gpu


class _Walk:
    """One decision in the making."""

    def __init__(self, queue: Queue, view: View) -> None:
        self._queue = queue
        self._view = view
        self._now_s = view.now_s
        self.starts: list[Start] = []
        self.holding = list(view.holding)
        self.reservations: dict[bool, Reservation] = {}
        self._empty = Room(view.capacity)
        self.room = self._empty.copy()
        self._gpus: Counter[UserName] = Counter()
        self._jobs: Counter[UserName] = Counter()
        for it in view.holding:
            self.room.take(it.demand, it.gpus)
            self._count(it.user, it.demand)
        self._taken: Counter[Line] = Counter()  # of each line, how many start now: always the first of it
        self._served: set[UserName] = set()

    # --- the overdue --------------------------------------------------------------------------------------------------

    def start_overdue(self, *, needs_gpu: bool) -> None:
        """Start what is overdue in a pool, the longest overdue first; what does not fit gets the reservation."""
        due = []
        for user, lines in self._queue.users.items():
            job = lines.oldest(needs_gpu=needs_gpu)
            if job and (due_s := self._due_s(job)) <= self._now_s:
                due.append((due_s, job.id, user, job))
        for _, _, user, job in sorted(due, key=lambda it: it[:2]):
            if not (self._empty.fits(job.demand) and self._within_quota(user, job.demand)):
                continue
            if not self.room.fits(job.demand):
                self._reserve(job, overdue=True)
                return
            if job.limit_s <= self._longest_s(job.demand):
                self._start(job)

    def _due_s(self, job: Waiting) -> float:
        turn_s = self._queue.turns.get((job.user, job.demand.needs_gpu), job.queued_at_s)
        return max(job.queued_at_s, turn_s) + self._view.overdue_s

    # --- everybody else -----------------------------------------------------------------------------------------------

    def start_in_order(self) -> None:
        """Start in fair order what fits and delays no reservation."""
        users = self._queue.users
        heap = [(self._key(user, _oldest(lines)), user) for user, lines in users.items()] if self._any_fits() else []
        heapq.heapify(heap)
        while heap:
            _, user = heapq.heappop(heap)
            job = self._best(user)
            if job is None:
                self._reserve_for(user)
                continue
            key = self._key(user, job)
            if heap and (key, user) > heap[0]:  # it stood here for an older job of theirs, which may not start
                heapq.heappush(heap, (key, user))
                continue
            self._start(job)
            if not self._any_fits():
                return
            heapq.heappush(heap, (self._key(user, job), user))

    def _key(self, user: UserName, job: Waiting) -> Key:
        return self._view.order.of_user(user, self._gpus[user], job)

    def _best(self, user: UserName) -> Waiting | None:
        """The first of a user's jobs that may start now."""
        return self._first(
            job
            for demand, lines in self._queue.users[user].by_demand.items()
            if self.room.fits(demand) and self._within_quota(user, demand)
            for job in self._nexts(lines.within(self._longest_s(demand)))
        )

    def _first(self, jobs: Iterable[Waiting]) -> Waiting | None:
        """The first of some jobs of one user."""
        of_job, now_s = self._view.order.of_job, self._now_s
        return min(jobs, key=lambda job: of_job(job, now_s), default=None)

    def _reserve_for(self, user: UserName) -> None:
        """Give a user the reservation who got nothing in this walk though some of their jobs could ever start."""
        if user in self._served or len(self.reservations) == len((True, False)):
            return
        possible = [
            job
            for demand, lines in self._queue.users[user].by_demand.items()
            if self._empty.fits(demand) and self._within_quota(user, demand)
            for job in self._nexts(lines)
        ]
        if any(self.room.fits(job.demand) for job in possible):
            return  # some fit, but would delay a reservation: that comes first
        first = self._first(possible)
        if first and first.demand.needs_gpu not in self.reservations:
            self._reserve(first, overdue=False)

    # --- both ---------------------------------------------------------------------------------------------------------

    def _reserve(self, job: Waiting, *, overdue: bool) -> None:
        reservation = reserve(job, self.room, self.holding, self._now_s, overdue=overdue)
        if reservation:
            self.reservations[job.demand.needs_gpu] = reservation

    def _start(self, job: Waiting) -> None:
        gpus = self.room.choose(job.demand)
        self.room.take(job.demand, gpus)
        self.starts.append(Start(job.id, gpus))
        self.holding.append(Holding(job.id, job.user, job.demand, gpus, self._now_s, job.limit_s))
        self._taken[self._queue.users[job.user].line_of(job)] += 1
        self._served.add(job.user)
        self._count(job.user, job.demand)
        for reservation in self.reservations.values():
            reservation.note_start(job, gpus, self._now_s)

    def _count(self, user: UserName, demand: Demand) -> None:
        self._gpus[user] += share_of_gpus(demand, self._view.capacity)  # type: ignore[assignment] # parts of GPUs
        self._jobs[user] += 1

    def _nexts(self, lines: Iterable[Line]) -> Iterator[Waiting]:
        """The first of each line that does not start already."""
        taken = self._taken.get
        return (job for line in lines if (job := line.at(taken(line, 0))))

    def _any_fits(self) -> bool:
        return any(self.room.fits(demand) for demand in self._queue.demands)

    def _within_quota(self, user: UserName, demand: Demand) -> bool:
        quota = self._view.quota
        gpus = self._gpus[user] + share_of_gpus(demand, self._view.capacity)
        return self._jobs[user] < quota.jobs and (not demand.needs_gpu or gpus <= quota.gpus)

    def _longest_s(self, demand: Demand) -> float:
        """The longest limit with which a job of that demand, which fits, delays no reservation."""
        longest_s = (it.longest_s(demand, self._now_s, self.room) for it in self.reservations.values())
        return min(longest_s, default=math.inf)


def _oldest(lines: UserLines) -> Waiting:
    firsts = (job for needs_gpu in (True, False) if (job := lines.oldest(needs_gpu=needs_gpu)))
    return min(firsts, key=came)
