"""Replays a trace through the queue on a virtual clock: the same `decide()` that starts jobs on a node.

Pure and deterministic.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial

from dopq.course import HISTORY, Fairness, Running, Situation
from dopq.job import GpuId, JobId, UserName
from dopq.lines import Queue, Turn, Waiting
from dopq.order import FairShare, Fifo, Order, Policy, Recency, recency_penalties
from dopq.penalty import Account, charge_rate, committed, penalty, usage_at, with_rate
from dopq.queue_model import View, decide
from dopq.reservation import Holding
from dopq.room import Capacity, Demand
from dopq.run_times import RunTimes
from dopq.simulation.trace import TracedJob

DAY_S = 86400.0
SHORTEST_S = 1.0
"""A job of no length at all would end before it began."""


class Limits(StrEnum):
    """What the queue knows of how long a job may run."""

    TRUE = "true"  # the trace's limits, or else its durations
    NONE = "none"  # nothing but the greatest limit
    HISTORY = "history"  # what the user's earlier jobs took


@dataclass(frozen=True, slots=True)
class Setting:
    """How a trace is replayed.

    Attributes:
        half_life_s, overdue_s, cpu_job_rate: as in the settings of a node.
        max_limit_s: no job runs longer; one that would is stopped then.
        weights: of users; 1 for whom it does not name.
    """

    gpus: int
    policy: Policy = Policy.FAIRSHARE
    half_life_s: float = 7 * DAY_S
    limits: Limits = Limits.TRUE
    max_limit_s: float = math.inf
    overdue_s: float = 14 * DAY_S
    cpu_job_rate: float = 0.05
    weights: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Run:
    """One job of the trace, and when it ran; seconds on the trace's own clock."""

    job: TracedJob
    start_s: float
    end_s: float


def fits(job: TracedJob, setting: Setting) -> bool:
    """Whether there are GPUs enough for a job; others are left out."""
    return job.num_gpus <= setting.gpus


def is_cut(job: TracedJob, setting: Setting) -> bool:
    """Whether a job runs for less than in the trace because of the greatest limit."""
    return run_s(job, replace(setting, max_limit_s=math.inf)) > setting.max_limit_s


def run_s(job: TracedJob, setting: Setting) -> float:
    """Seconds that a job runs: as long as in the trace, but no longer than a limit."""
    limits = [setting.max_limit_s]
    if setting.limits is Limits.TRUE and job.limit_s:
        limits.append(job.limit_s)
    return max(SHORTEST_S, min(job.duration_s, *limits))


Progress = Callable[[int], None]
"""Called with the number of jobs that have ended."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A decision in a replay, for whoever watches.

    Attributes:
        joined, started: the jobs that did so at this moment.
        situation: what the decision left; made only if asked for, since that takes as long as the queue.
        run_times: what has been learnt until now; goes on learning.
    """

    now_s: float
    joined: Sequence[Waiting]
    started: Sequence[JobId]
    situation: Callable[[], Situation]
    run_times: RunTimes


Watcher = Callable[[Moment], None]


def replay(
    trace: Sequence[TracedJob],
    setting: Setting,
    progress: Progress = lambda _: None,
    watcher: Watcher = lambda _: None,
) -> list[Run]:
    """When each job would have run, in the order of the trace; those that ask for more GPUs than there are do not."""
    return _Replay(trace, setting).run(progress, watcher)


class _Replay:
    """One replay in the making."""

    def __init__(self, trace: Sequence[TracedJob], setting: Setting) -> None:
        self._setting = setting
        self._jobs = [job for job in trace if fits(job, setting)]
        gpus = frozenset(GpuId(f"GPU-{number:06}") for number in range(setting.gpus))
        # As many places as jobs could ever take at once: GPUs alone are scarce here.
        self._capacity = Capacity(gpus, places=len(self._jobs) + 1)
        self._queue = Queue()
        self._longest_s = max((job.duration_s for job in self._jobs), default=SHORTEST_S)
        self._run_times = RunTimes()
        self._alike: defaultdict[tuple[UserName, str], set[JobId]] = defaultdict(set)  # waiting jobs, by name
        self._accounts: dict[UserName, Account] = {}
        self._history: deque[UserName] = deque(maxlen=HISTORY)
        self._occupying: dict[JobId, tuple[Holding, Waiting]] = {}
        self._ends: list[tuple[float, JobId]] = []
        self._starts: dict[JobId, float] = {}

    def run(self, progress: Progress, watcher: Watcher) -> list[Run]:
        arrivals = deque((job.submit_s, JobId(number)) for number, job in enumerate(self._jobs))
        ended = 0
        while arrivals or self._ends:
            now_s = min(events[0][0] for events in (arrivals, self._ends) if events)
            while self._ends and self._ends[0][0] <= now_s:
                self._end(heapq.heappop(self._ends)[1], now_s)
                ended += 1
            joined = []
            while arrivals and arrivals[0][0] <= now_s:
                joined.append(self._waiting(arrivals.popleft()[1], now_s))
                self._queue.add(joined[-1])
            started = self._start_jobs(now_s) if len(self._queue) else []
            watcher(Moment(now_s, joined, started, partial(self._situation, now_s), self._run_times))
            progress(ended)
        return [
            Run(job, start_s, start_s + run_s(job, self._setting))
            for number, job in enumerate(self._jobs)
            for start_s in [self._starts[JobId(number)]]
        ]

    def _waiting(self, job_id: JobId, now_s: float) -> Waiting:
        job = self._jobs[job_id]
        waiting = Waiting(job_id, UserName(job.user), Demand(job.num_gpus), 0, now_s, self._limit_s(job), job.name)
        if self._setting.limits is not Limits.HISTORY:
            return waiting
        self._alike[waiting.user, waiting.name].add(job_id)
        return self._predicted(waiting)

    def _predicted(self, waiting: Waiting) -> Waiting:
        """A job with what is expected of it now for a limit."""
        unlimited = replace(waiting, limit_s=self._limit_s(self._jobs[waiting.id]))
        return replace(waiting, limit_s=max(SHORTEST_S, self._run_times.expected_s(unlimited)))

    def _learn(self, ended: Waiting) -> None:
        """A job has ended: what is expected of those like it that wait is no longer what it was."""
        self._run_times.learn(ended, run_s(self._jobs[ended.id], self._setting))
        if self._setting.limits is Limits.HISTORY:
            alike = self._alike[ended.user, ended.name]
            for waiting in [self._queue.get(job_id) for job_id in sorted(alike)]:
                if waiting is not None:
                    self._queue.add(self._predicted(waiting))

    def _limit_s(self, job: TracedJob) -> float:
        if self._setting.limits is Limits.TRUE:
            return max(SHORTEST_S, min(job.limit_s or run_s(job, self._setting), self._setting.max_limit_s))
        return max(SHORTEST_S, min(self._longest_s, self._setting.max_limit_s))

    def _start_jobs(self, now_s: float) -> list[JobId]:
        holding = tuple(held for held, _ in self._occupying.values())
        decision = decide(
            self._queue,
            View(now_s, self._capacity, holding, self._order(now_s), overdue_s=self._setting.overdue_s),
        )
        began = decision.holding[len(holding) :]
        for held in began:
            waiting = self._queue.get(held.id)
            assert waiting is not None
            self._queue.start(held.id, now_s, decision.beyond)
            self._occupying[held.id] = held, waiting
            self._alike[waiting.user, waiting.name].discard(held.id)
            self._charge(held, now_s, 1)
            self._starts[held.id] = now_s
            heapq.heappush(self._ends, (now_s + run_s(self._jobs[held.id], self._setting), held.id))
        return [held.id for held in began]

    def _situation(self, now_s: float) -> Situation:
        running = tuple(Running(held, job, self._rate(held)) for held, job in self._occupying.values())
        return Situation(
            View(now_s, self._capacity, tuple(it.held for it in running), overdue_s=self._setting.overdue_s),
            running,
            tuple(self._queue),
            tuple(Turn(*key, at_s) for key, at_s in self._queue.turns.items()),
            Fairness(
                self._setting.policy,
                dict(self._accounts),
                finished=tuple(self._history),
                half_life_s=self._setting.half_life_s,
                cpu_job_rate=self._setting.cpu_job_rate,
            ),
        )

    def _end(self, job_id: JobId, now_s: float) -> None:
        held, waiting = self._occupying.pop(job_id)
        self._charge(held, now_s, -1)
        self._history.appendleft(held.user)
        self._learn(waiting)

    def _charge(self, held: Holding, now_s: float, sign: int) -> None:
        account = self._accounts.get(held.user, Account())
        rate = account.rate + sign * self._rate(held)
        self._accounts[held.user] = with_rate(account, max(0.0, rate), now_s, self._setting.half_life_s)

    def _rate(self, held: Holding) -> float:
        return charge_rate(held.demand.gpus, self._setting.cpu_job_rate)

    def _order(self, now_s: float) -> Order:
        match self._setting.policy:
            case Policy.FIFO:
                return Fifo()
            case Policy.RECENCY:
                return Recency(recency_penalties(self._history))
            case Policy.FAIRSHARE:
                return FairShare(self._penalties(now_s))

    def _penalties(self, now_s: float) -> dict[UserName, float]:
        ahead: dict[UserName, float] = {}
        for held, _ in self._occupying.values():
            left_s = held.since_s + held.limit_s - now_s
            ahead[held.user] = ahead.get(held.user, 0.0) + committed(
                self._rate(held), left_s, self._setting.half_life_s
            )
        return {
            user: penalty(
                usage_at(self._accounts.get(user, Account()), now_s, self._setting.half_life_s) + ahead.get(user, 0.0),
                self._setting.weights.get(user, 1.0),
            )
            for user in self._queue.users
        }
