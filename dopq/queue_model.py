"""The queue itself: who starts now, on which GPUs, and what is promised to those who do not.

Pure: the same queue and view give the same decision; no clock, no I/O, no randomness. Times are seconds since the
epoch. Why a job does not start is told by why.py from the same decision; what the rules are for, and what they cost, is
docs/adr/0040-reservations.md.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

from dopq.job import GpuId, JobId, Reason, UserName
from dopq.lines import Line, Queue, Waiting, came
from dopq.order import FairShare, Key, Order, counts_as
from dopq.reservation import Holding, Reservation, must_end_s, place, reserve
from dopq.room import ROUNDING, Capacity, Demand, Room

POOLS = (True, False)
"""Jobs that need a GPU, and the rest, which never wait for GPUs."""


@dataclass(frozen=True, slots=True)
class Quota:
    """What one user may occupy at once; infinite for no bound."""

    gpus: float = float("inf")
    jobs: float = float("inf")

    def allows(self, demand: Demand, capacity: Capacity, *, gpus: float, jobs: int) -> bool:
        """Whether a user who occupies so many GPUs and places may start a job of that demand."""
        asked = share_of_gpus(demand, capacity)
        return jobs < self.jobs and (not demand.needs_gpu or gpus + asked <= self.gpus + ROUNDING)


@dataclass(frozen=True, slots=True)
class View:
    """All that a decision depends on, besides the queue.

    Attributes:
        holding: the jobs that occupy the node.
        stopped: why nothing starts at present (lock, drain, engine away); None when starting is allowed.
        overdue_s: a user's oldest job in a pool (of those that could ever start) is overdue when for so long neither it
            nor an older one of theirs has started.
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
        reservations: by whether they are for the pool of the GPUs; in the order in which they were made.
        beyond: what is asked for in the queue, and more than the node has or one user may hold.
    """

    view: View
    starts: tuple[Start, ...]
    holding: tuple[Holding, ...]
    room: Room
    reservations: dict[bool, Reservation]
    beyond: frozenset[Demand]

    def held_by(self, user: UserName) -> tuple[float, int]:
        """GPUs and places that a user occupies once all have started."""
        mine = [it for it in self.holding if it.user == user]
        return sum(share_of_gpus(it.demand, self.view.capacity) for it in mine), len(mine)


def decide(queue: Queue, view: View) -> Decision:
    """Say who starts now. The queue is not changed: whoever starts them takes them out of it.

    First the overdue, the longest overdue first; then in fair order. The walk goes on past what does not fit, but
    starts nothing that would delay a reservation. There is one in each pool at most (GPUs; the rest): the overdue
    job's, else that of the first user in the order who has waiting jobs of which none fits.
    """
    walk = _Walk(queue, view)
    if view.stopped is None:
        walk.start_overdue()
        walk.start_in_order()
    return Decision(view, tuple(walk.starts), tuple(walk.holding), walk.room, walk.reservations, walk.beyond)


def share_of_gpus(demand: Demand, capacity: Capacity) -> float:
    """GPUs that a job occupies; slots count in parts."""
    return demand.gpus + demand.slots / capacity.slots_per_gpu


def beyond(demands: Iterable[Demand], view: View) -> frozenset[Demand]:
    """Those of the demands that could not be met if nobody held anything and no GPU was withheld."""
    empty = Room(view.capacity.whole())
    return frozenset(
        it for it in demands if not (empty.fits(it) and view.quota.allows(it, view.capacity, gpus=0.0, jobs=0))
    )


def held_in_ties(holding: Iterable[Holding]) -> Counter[UserName]:
    """What the jobs that occupy the node count as in the tie between equals, by user."""
    held: Counter[UserName] = Counter()
    for it in holding:
        held[it.user] += counts_as(it.demand)
    return held


class _Walk:
    """One decision in the making."""

    def __init__(self, queue: Queue, view: View) -> None:
        self._queue = queue
        self._view = view
        self._now_s = view.now_s
        self.starts: list[Start] = []
        self.holding = list(view.holding)
        self.reservations: dict[bool, Reservation] = {}
        self.room = Room(view.capacity)
        self.beyond = beyond(queue.demands, view)
        self._held = held_in_ties(view.holding)
        self._gpus: defaultdict[UserName, float] = defaultdict(float)
        self._jobs: Counter[UserName] = Counter()
        for it in view.holding:
            self.room.take(it.demand, it.gpus)
            self._count_in_quota(it.user, it.demand)
        self._taken: Counter[Line] = Counter()  # of each line, how many start now: always the first of it
        self._served: set[UserName] = set()
        self._must_end: dict[Demand, float] = {}  # answers so far; good until something starts or is reserved

    # --- the overdue --------------------------------------------------------------------------------------------------

    def start_overdue(self) -> None:
        """Start what is overdue, the longest overdue first; the first of a pool that may not gets the reservation."""
        if self._queue.since_s + self._view.overdue_s > self._now_s:
            return  # nobody has waited for so long
        due = [
            (due_s, job.id, job)
            for lines in self._queue.users.values()
            for needs_gpu in POOLS
            if (job := lines.oldest(needs_gpu=needs_gpu, beyond=self.beyond))
            if (due_s := self._due_s(job)) <= self._now_s
        ]
        for _, _, job in sorted(due, key=lambda it: it[:2]):
            if job.demand.needs_gpu in self.reservations or not self._within_quota(job.user, job.demand):
                continue
            gpus = self._place(job)
            if gpus is None:
                self._reserve(job, overdue=True)
            else:
                self._start(job, gpus)

    def _due_s(self, job: Waiting) -> float:
        turn_s = self._queue.turns.get((job.user, job.demand.needs_gpu), job.queued_at_s)
        return max(job.queued_at_s, turn_s) + self._view.overdue_s

    # --- everybody else -----------------------------------------------------------------------------------------------

    def start_in_order(self) -> None:
        """Start in fair order what fits and delays no reservation."""
        heap = list(self._entries(self._queue.users)) if self._any_fits() else []
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
            gpus = self._place(job)
            assert gpus is not None  # as it was chosen
            self._start(job, gpus)
            if not self._any_fits():
                return
            for entry in self._entries([user]):
                heapq.heappush(heap, entry)

    def _entries(self, users: Iterable[UserName]) -> Iterator[tuple[Key, UserName]]:
        """Where users stand by their oldest jobs; those of whose jobs none could ever start stand nowhere."""
        for user in users:
            oldest = self._queue.users[user].oldest
            firsts = [job for needs_gpu in POOLS if (job := oldest(needs_gpu=needs_gpu, beyond=self.beyond))]
            if firsts:
                yield self._key(user, min(firsts, key=came) if len(firsts) > 1 else firsts[0]), user

    def _key(self, user: UserName, job: Waiting) -> Key:
        return self._view.order.of_user(user, self._held[user], job)

    def _best(self, user: UserName) -> Waiting | None:
        """The first of a user's jobs that may start now."""
        return self._first(self._startable(user))

    def _startable(self, user: UserName) -> Iterator[Waiting]:
        """The first of each line of a user's that may start now."""
        taken = self._taken
        for demand, lines in self._queue.users[user].by_demand.items():
            ending = lines.ending_by(self._must_end_s(demand), self._now_s)
            if ending and self._within_quota(user, demand):
                yield from (job for line in ending if (job := line.at(taken.get(line, 0))))

    def _first(self, jobs: Iterable[Waiting]) -> Waiting | None:
        """The first of some jobs of one user."""
        return min(jobs, key=partial(self._view.order.of_job, now_s=self._now_s), default=None)

    def _reserve_for(self, user: UserName) -> None:
        """Give a user the reservation who got nothing in this walk though some of their jobs could ever start."""
        by_demand = self._queue.users[user].by_demand
        if (
            not self._view.order.promises
            or user in self._served
            or all(demand.needs_gpu in self.reservations for demand in by_demand)
        ):
            return
        possible = {
            demand: lines
            for demand, lines in by_demand.items()
            if demand not in self.beyond and self._within_quota(user, demand)
        }
        if any(map(self.room.fits, possible)):
            return  # some fit, but would delay a reservation: that comes first
        first = self._first(line.first for lines in possible.values() for line in lines)
        if first and first.demand.needs_gpu not in self.reservations:
            self._reserve(first, overdue=False)

    # --- both ---------------------------------------------------------------------------------------------------------

    def _place(self, job: Waiting) -> frozenset[GpuId] | None:
        """The GPUs on which a job may start; None if it does not fit or would delay a reservation."""
        if not self.room.fits(job.demand):
            return None
        return place(job, self.room, self.reservations.values(), self._now_s)

    def _must_end_s(self, demand: Demand) -> float:
        """When a job of that demand has to have left if it starts now; long ago where it does not fit."""
        if demand not in self._must_end:
            fits = self.room.fits(demand)
            end_s = must_end_s(demand, self.room, self.reservations.values()) if fits else -math.inf
            self._must_end[demand] = end_s
        return self._must_end[demand]

    def _reserve(self, job: Waiting, *, overdue: bool) -> None:
        others = tuple(self.reservations.values())
        reservation = reserve(job, self.room, self.holding, self._now_s, overdue=overdue, others=others)
        if reservation:
            self.reservations[job.demand.needs_gpu] = reservation
            self._must_end.clear()

    def _start(self, job: Waiting, gpus: frozenset[GpuId]) -> None:
        self.room.take(job.demand, gpus)
        self._must_end.clear()
        self.starts.append(Start(job.id, gpus))
        self.holding.append(Holding(job.id, job.user, job.demand, gpus, self._now_s, job.limit_s))
        self._taken[self._queue.users[job.user].line_of(job)] += 1
        self._served.add(job.user)
        self._held[job.user] += counts_as(job.demand)
        self._count_in_quota(job.user, job.demand)
        for reservation in self.reservations.values():
            reservation.note_start(job, gpus, self._now_s)

    def _count_in_quota(self, user: UserName, demand: Demand) -> None:
        self._gpus[user] += share_of_gpus(demand, self._view.capacity)
        self._jobs[user] += 1

    def _any_fits(self) -> bool:
        return any(self.room.fits(demand) for demand in self._queue.demands)

    def _within_quota(self, user: UserName, demand: Demand) -> bool:
        return self._view.quota.allows(demand, self._view.capacity, gpus=self._gpus[user], jobs=self._jobs[user])
