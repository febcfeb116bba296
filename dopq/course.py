"""The course that things take if nobody hands in anything more: the node's own `decide()` on a virtual clock.

Pure and deterministic: run times are given, and the same situation takes the same course. Times are seconds since the
epoch.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from dopq.job import JobId, UserName
from dopq.lines import Queue, Turn, Waiting
from dopq.order import Expected, FairShare, Fifo, Order, Policy, Recency, by_limit, recency_penalties
from dopq.penalty import Account, charge_rate, committed, penalty, usage_at, with_rate
from dopq.queue_model import View, decide
from dopq.reservation import Holding

HISTORY = 60
"""Places of the history that `recency` sees: e^-60 is beyond what a float can add to 1."""


@dataclass(frozen=True, slots=True)
class Running:
    """A job that occupies the node, and how it stood in the queue: what is expected of its run goes by that.

    Attributes:
        rate: GPUs that are charged for it.
    """

    held: Holding
    job: Waiting
    rate: float


@dataclass(frozen=True, slots=True)
class Fairness:
    """What the order goes by, as of one moment.

    Attributes:
        weights: of users; 1 for those that are not in it.
        finished: users whose jobs have ended, the newest first.
    """

    policy: Policy = Policy.FAIRSHARE
    accounts: Mapping[UserName, Account] = field(default_factory=dict)
    weights: Mapping[UserName, float] = field(default_factory=dict)
    finished: Collection[UserName] = ()
    half_life_s: float = 7 * 86400.0
    cpu_job_rate: float = 0.05
    expected: Expected = by_limit


@dataclass(frozen=True, slots=True)
class Situation:
    """A queue and a node, as of one moment.

    Attributes:
        view: what the next decision would see; its order is not looked at, `fairness` makes one for each moment.
        running: what occupies the node, with the same jobs as `view.holding`.
        waiting: the jobs in line; those that are set aside have no course.
    """

    view: View
    running: tuple[Running, ...]
    waiting: tuple[Waiting, ...]
    turns: tuple[Turn, ...]
    fairness: Fairness


class Course:
    """One course in the making.

    Args:
        run_s: seconds that a job will run in this course; more than 0.
    """

    def __init__(self, situation: Situation, run_s: Callable[[Waiting], float]) -> None:
        self._view = situation.view
        self._fairness = situation.fairness
        self._run_s = run_s
        self._now_s = situation.view.now_s
        self._queue = Queue(situation.turns)
        for job in situation.waiting:
            self._queue.add(job)
        self._accounts = dict(situation.fairness.accounts)
        self._finished = deque(situation.fairness.finished, maxlen=HISTORY)
        self._occupying: dict[JobId, Running] = {}
        self._ends: list[tuple[float, JobId]] = []
        self._starts: dict[JobId, float] = {}
        for it in situation.running:
            self._occupying[it.held.id] = it
            heapq.heappush(self._ends, (_end_s(it, run_s(it.job), self._now_s), it.held.id))

    def starts(self, asked: Collection[JobId], decisions: int) -> dict[JobId, float]:
        """When each job starts that does so before all that are `asked` for have, within so many decisions."""
        missing = {job_id for job_id in asked if job_id in self._queue}
        for _ in range(decisions):
            missing.difference_update(self._start_jobs())
            if not missing or not self._ends:
                break
            self._now_s = self._ends[0][0]
            while self._ends and self._ends[0][0] <= self._now_s:
                self._end(heapq.heappop(self._ends)[1])
        return self._starts

    def _start_jobs(self) -> list[JobId]:
        holding = tuple(it.held for it in self._occupying.values())
        view = replace(self._view, now_s=self._now_s, holding=holding, order=self._order())
        decision = decide(self._queue, view)
        began = decision.holding[len(holding) :]
        for held in began:
            job = self._queue.get(held.id)
            assert job is not None
            self._queue.start(held.id, self._now_s, decision.beyond)
            gpus = self._view.capacity.weighed(held.demand, held.gpus)
            self._occupying[held.id] = Running(held, job, charge_rate(gpus, self._fairness.cpu_job_rate))
            self._charge(self._occupying[held.id], 1)
            self._starts[held.id] = self._now_s
            heapq.heappush(self._ends, (self._now_s + self._run_s(job), held.id))
        return [held.id for held in began]

    def _end(self, job_id: JobId) -> None:
        ended = self._occupying.pop(job_id)
        self._charge(ended, -1)
        self._finished.appendleft(ended.held.user)

    def _charge(self, it: Running, sign: int) -> None:
        user, half_life_s = it.held.user, self._fairness.half_life_s
        account = self._accounts.get(user, Account())
        rate = max(0.0, account.rate + sign * it.rate)
        self._accounts[user] = with_rate(account, rate, self._now_s, half_life_s)

    def _order(self) -> Order:
        match self._fairness.policy:
            case Policy.FIFO:
                return Fifo()
            case Policy.RECENCY:
                return Recency(recency_penalties(self._finished))
            case Policy.FAIRSHARE:
                return FairShare(self._penalties(), self._fairness.expected)

    def _penalties(self) -> dict[UserName, float]:
        fairness = self._fairness
        ahead: dict[UserName, float] = {}
        for it in self._occupying.values():
            left_s = it.held.since_s + fairness.expected(it.job) - self._now_s
            ahead[it.held.user] = ahead.get(it.held.user, 0.0) + committed(it.rate, left_s, fairness.half_life_s)
        return {
            user: penalty(
                usage_at(self._accounts.get(user, Account()), self._now_s, fairness.half_life_s) + ahead.get(user, 0.0),
                fairness.weights.get(user, 1.0),
            )
            for user in self._queue.users
        }


def _end_s(it: Running, run_s: float, now_s: float) -> float:
    """When a running job ends; one that has outlived `run_s` takes as long again, but no longer than it may."""
    end_s = it.held.since_s + run_s
    return end_s if end_s > now_s else min(now_s + max(1.0, now_s - it.held.since_s), it.held.until_s(now_s))
