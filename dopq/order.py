"""Who goes before whom: across users, and inside one user's jobs.

Pure. Three policies: `fairshare` (what everybody really used), `recency` (the rule of DoPQ 1.0) and `fifo`. An order
is made anew for each decision and says nothing about what fits (room.py) or what may not be delayed (reservation.py).
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Protocol

from dopq.job import UserName
from dopq.lines import Line, Queue, Waiting, came
from dopq.room import Demand

Key = tuple[float, ...]
"""The smaller goes first."""

Expected = Callable[[Waiting], float]
"""Seconds that a job is expected to run; more than 0."""


def by_limit(job: Waiting) -> float:
    """Expect a job to run for as long as it may."""
    return job.limit_s


def counts_as(demand: Demand) -> int:
    """GPUs that a job counts as in the tie between equals; one at least, so that whoever takes none alternates, too."""
    return max(1, demand.gpus)


class Policy(StrEnum):
    """What the order goes by."""

    FAIRSHARE = "fairshare"
    RECENCY = "recency"
    FIFO = "fifo"


class Order(Protocol):
    """One order of users and jobs.

    Attributes:
        promises: whether the first user none of whose jobs fits is promised a start. Worth it only where that user
            stays the first for a while: else GPUs are kept free for one after the other, and nobody gets to start.
    """

    @property
    def promises(self) -> bool: ...  # noqa: D102 - see above

    def of_user(self, user: UserName, held_gpus: float, job: Waiting) -> Key:
        """Where a user stands who holds so many GPUs (see `counts_as`) and whose next job is `job`."""
        ...

    def of_job(self, job: Waiting, now_s: float) -> Key:
        """Where a job stands among its user's own."""
        ...


@dataclass(frozen=True, slots=True)
class FairShare:
    """The smallest penalty first; among equals whoever holds fewer GPUs; then whose job waits longest.

    The tie matters, since all newcomers have the penalty 0: they take turns. Inside a user: their own priority, then
    the response ratio (wait + expected) / expected, which lets short jobs pass long ones and yet grows with every wait
    (Hansen's highest response ratio next), then who came first.
    """

    penalties: Mapping[UserName, float]
    expected: Expected = by_limit
    promises: ClassVar[bool] = True

    def of_user(self, user: UserName, held_gpus: float, job: Waiting) -> Key:
        """See `Order`."""
        return self.penalties.get(user, 0.0), held_gpus, *came(job)

    def of_job(self, job: Waiting, now_s: float) -> Key:
        """See `Order`."""
        expected_s = self.expected(job)
        return -job.priority, -(now_s - job.queued_at_s + expected_s) / expected_s, *came(job)


@dataclass(frozen=True, slots=True)
class Recency:
    """DoPQ 1.0's rule: whoever finished a job least recently goes first, whatever those jobs used."""

    penalties: Mapping[UserName, float]
    promises: ClassVar[bool] = False

    def of_user(self, user: UserName, held_gpus: float, job: Waiting) -> Key:
        """See `Order`. What runs counts for nothing here, as it did there."""
        return self.penalties.get(user, 0.0), *came(job)

    def of_job(self, job: Waiting, now_s: float) -> Key:
        """See `Order`."""
        return -job.priority, *came(job)


@dataclass(frozen=True, slots=True)
class Fifo:
    """Who came first goes first, whoever it is."""

    promises: ClassVar[bool] = False

    def of_user(self, user: UserName, held_gpus: float, job: Waiting) -> Key:
        """See `Order`."""
        return came(job)

    def of_job(self, job: Waiting, now_s: float) -> Key:
        """See `Order`."""
        return came(job)


def recency_penalties(finished: Iterable[UserName]) -> dict[UserName, float]:
    """DoPQ 1.0's penalty: the sum of e^-i over the places i of the user's jobs in the history, the newest at 0."""
    penalties: dict[UserName, float] = {}
    for place, user in enumerate(finished):
        penalties[user] = penalties.get(user, 0.0) + math.exp(-place)
    return penalties


def in_order(
    queue: Queue, order: Order, held: Mapping[UserName, float], now_s: float, beyond: Collection[Demand] = ()
) -> Iterator[Waiting]:
    """The jobs in line, best first, as far as one asks. Nothing is said of whether they fit now.

    A job that is passed counts as a turn of its user: equals alternate. `held`: what the jobs that occupy the node
    count as, by user (see `counts_as`). Who asks for what is `beyond` the node is left out: it is never their turn.
    """
    possible = {user: lines for user, its in queue.users.items() if (lines := its.within(beyond))}
    passed = Counter(held)

    def entry(user: UserName, job: Waiting) -> tuple[Key, UserName, Waiting]:
        return order.of_user(user, passed[user], job), user, job

    waiting: dict[UserName, Iterator[Waiting]] = {}
    heap = [entry(user, _first(lines, order, now_s)) for user, lines in possible.items()]
    heapq.heapify(heap)
    while heap:
        _, user, job = heap[0]
        if user not in waiting:  # sorted only when their turn comes: most who ask want the first few
            waiting[user] = _sorted(possible[user], order, now_s)
            next(waiting[user])
        yield job
        passed[user] += counts_as(job.demand)
        following = next(waiting[user], None)
        if following is None:
            heapq.heappop(heap)
        else:
            heapq.heapreplace(heap, entry(user, following))


def _first(lines: Iterable[Line], order: Order, now_s: float) -> Waiting:
    # Inside a line the order is that of coming under every policy: its first is its best.
    return min((line.first for line in lines), key=lambda job: order.of_job(job, now_s))


def _sorted(lines: Iterable[Line], order: Order, now_s: float) -> Iterator[Waiting]:
    return iter(sorted((job for line in lines for job in line), key=lambda job: order.of_job(job, now_s)))
