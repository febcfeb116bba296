"""The queue itself: who goes next, on which GPUs, and why everybody else does not.

Pure: the same snapshot gives the same decisions; no clock, no I/O, no randomness. Times are seconds since the epoch.
"""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from dopq.job import GpuId, JobId, Reason, UserName


@dataclass(frozen=True, slots=True)
class Waiting:
    """A queued job as far as the order needs to know it."""

    id: JobId
    user: UserName
    gpus: int
    priority: int
    queued_at_s: float


@dataclass(frozen=True, slots=True)
class Holding:
    """A job that occupies the node: what it holds and whose it is."""

    id: JobId
    user: UserName
    gpus: frozenset[GpuId]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a decision depends on.

    Attributes:
        gpus: the GPUs that this node may hand out at all, leased or free.
        max_running: how many jobs may occupy the node at once.
        penalty: by user; a user without an entry has 0.
        stopped: why nothing starts at present (lock, drain, engine away); None when starting is allowed.
    """

    waiting: tuple[Waiting, ...]
    holding: tuple[Holding, ...]
    gpus: frozenset[GpuId]
    max_running: int
    penalty: Mapping[UserName, float] = field(default_factory=dict)
    stopped: Reason | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """This job starts now, on these GPUs."""

    job: JobId
    gpus: frozenset[GpuId]


@dataclass(frozen=True, slots=True)
class Hold:
    """This job stays in the queue, for this reason."""

    job: JobId
    reason: Reason


Decision = Start | Hold


def decide(view: Snapshot) -> list[Decision]:
    """Say for every waiting job, in queue order, whether it starts now and if not, why not.

    The walk goes on past a job that does not fit, so that something starts whenever something may; what that does to
    large jobs, and what bounds it, is docs/adr/0003-walk-past-what-does-not-fit.md.
    """
    free = sorted(view.gpus.difference(*(h.gpus for h in view.holding)))
    places = view.max_running - len(view.holding)
    decisions: list[Decision] = []
    for job in fair_order(view):
        reason = _obstacle(job, view, len(free), places)
        if reason is None:
            decisions.append(Start(job.id, frozenset(free[: job.gpus])))
            free = free[job.gpus :]
            places -= 1
        else:
            decisions.append(Hold(job.id, reason))
    return decisions


def fair_order(view: Snapshot) -> Iterator[Waiting]:
    """The waiting jobs, best first.

    Across users: the smallest penalty; among equals whoever holds fewer GPUs, counting the jobs this walk has already
    passed; then whose first job waits longest. Inside one user: priority, then first in, first out. The penalty does
    not move during the walk, so ties (newcomers all have 0) are what the count of GPUs is for: users take turns.
    """
    queues: dict[UserName, deque[Waiting]] = {}
    for job in sorted(view.waiting, key=lambda j: (-j.priority, j.queued_at_s, j.id)):
        queues.setdefault(job.user, deque()).append(job)
    held: defaultdict[UserName, int] = defaultdict(int)
    for holding in view.holding:
        held[holding.user] += _size(len(holding.gpus))

    def key(user: UserName) -> tuple[float, int, float, JobId, UserName]:
        first = queues[user][0]
        return view.penalty.get(user, 0.0), held[user], first.queued_at_s, first.id, user

    heap = [key(user) for user in queues]
    heapq.heapify(heap)
    while heap:
        *_, user = heapq.heappop(heap)
        job = queues[user].popleft()
        if job.gpus <= len(view.gpus):  # one that can never run takes no turn from its user's others
            held[user] += _size(job.gpus)
        if queues[user]:
            heapq.heappush(heap, key(user))
        yield job


def _size(gpus: int) -> int:
    """What a job weighs when users take turns; one that needs no GPU still takes a place."""
    return max(1, gpus)


def _obstacle(job: Waiting, view: Snapshot, free: int, places: int) -> Reason | None:
    """What keeps this job from starting; None if nothing does."""
    if job.gpus > len(view.gpus):
        return Reason(
            "never_fits",
            f"Asks for {_gpus(job.gpus)}, this node has {len(view.gpus)}: it can never run here.",
        )
    if view.stopped:
        return view.stopped
    if places <= 0:
        return Reason(
            "waits_for_place",
            f"Waits for a place: {view.max_running} jobs occupy the node, which is its limit.",
        )
    if job.gpus > free:
        return Reason("waits_for_gpus", f"Waits for {_gpus(job.gpus)}, {free} free; {_holders(view)}.")
    return None


def _gpus(count: int) -> str:
    return f"{count} GPU" if count == 1 else f"{count} GPUs"


def _holders(view: Snapshot) -> str:
    holders = sorted(f"job {h.id} of {h.user} holds {len(h.gpus)}" for h in view.holding if h.gpus)
    return ", ".join(holders) or "jobs that start right now take the others"
