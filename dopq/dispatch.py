"""Who is to start, how everybody else stands, and when they will start: the queue model, fed from the register.

Not thread-safe: its owner holds the register's lock, under which alone the queue stands still.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from dopq.config import QueueSettings
from dopq.course import Running as Occupying
from dopq.course import Situation
from dopq.forecast import Forecast
from dopq.job import GpuId, Job, JobId, Queued, Reason, UserName, lease_of, work_of
from dopq.lines import Turn
from dopq.queue_model import Decision, Quota, Start, View, decide
from dopq.queue_view import Defaults, as_waiting, demand_of, holding
from dopq.ranking import Ranking, Terms
from dopq.register import Register
from dopq.room import Capacity, Demand
from dopq.run_times import RunTimes
from dopq.standing import Standing
from dopq.successors import first_distinct, successors
from dopq.why import Why
from dopq.wire import Place


class Dispatch:
    """The newest decision and the newest forecast, and what they say of each job."""

    def __init__(
        self,
        register: Register,
        weights: Callable[[], Mapping[UserName, float]],
        settings: QueueSettings,
        defaults: Defaults,
        ended: Iterable[Job],
        now: datetime,
    ) -> None:
        """`ended`: jobs that ended before this life of the node, the first to end first."""
        self._register = register
        self._settings = settings
        self._defaults = defaults
        self._ranking = Ranking(register.ledger, weights, settings, defaults, ended)
        self._standing: Standing | None = None
        self._forecast = Forecast(now, {})
        register.subscribe(self._ranking.learn)

    def decide(self, capacity: Capacity, stopped: Reason | None, now: datetime) -> Decision:
        """Who is to start now; how everybody else stands is kept for those who ask."""
        self._register.end_rests()
        leased = self._register.leased()
        view = View(
            now.timestamp(),
            capacity,
            tuple(it for job in leased if (it := holding(job, self._defaults))),
            self._ranking.order(leased, now),
            Quota(self._settings.max_gpus_per_user or math.inf, self._settings.max_jobs_per_user or math.inf),
            stopped,
            self._settings.overdue_s,
        )
        decision = decide(self._register.queue, view)
        self._register.beyond = decision.beyond
        self._standing = Standing(self._register.queue, decision)
        return decision

    def foresee(self, most: int, now: datetime) -> tuple[Start, ...]:
        """Who starts, and where, when one of those jobs leaves that are expected to leave first; at most so many.

        As of the newest decision, if nothing but that happens; nobody before the first. Whoever may start already,
        since somebody has just left, comes first.
        """
        if self._standing is None:
            return ()
        leased = self._ranking.by_end(self._register.leased())
        occupying = tuple(it for job in leased if (it := holding(job, self._defaults)))
        view = replace(self._standing.decision.view, now_s=now.timestamp(), holding=occupying)
        answers = (self._successors(view, leased, job, now) for job in [None, *leased[:most]])
        return first_distinct(answers, most)

    def _successors(self, view: View, leased: list[Job], leaving: Job | None, now: datetime) -> tuple[Start, ...]:
        then = replace(view, order=self._ranking.order(leased, now, leaving))
        return successors(self._register.queue, then, leaving.id if leaving else None)

    def part_and_rate(self, job: Job, gpus: Iterable[GpuId]) -> tuple[float, float]:
        """How much of each of these GPUs the job gets, and at how many GPUs it is charged, by the newest decision."""
        ours = Capacity(slots_per_gpu=self._defaults.slots_per_gpu)
        capacity = self._standing.decision.view.capacity if self._standing else ours
        work = work_of(job.state)
        demand = demand_of(work, self._defaults) if work else Demand()
        return capacity.part(demand), self._register.ledger.rate_for(capacity.weighed(demand, gpus))

    def situation(self, stopped: Reason | None, now: datetime) -> tuple[Situation, RunTimes] | None:
        """What a forecast goes by, as of the newest decision; None before the first. A copy, cheap to make."""
        if self._standing is None:
            return None
        queue, run_times = self._register.queue, self._ranking.run_times()
        occupying = tuple(
            Occupying(held, entry, self._register.ledger.rate_of(lease))
            for job in self._register.leased()
            if (lease := lease_of(job.state))
            and (held := holding(job, self._defaults))
            and (entry := as_waiting(job, self._defaults))
        )
        view = replace(
            self._standing.decision.view,
            now_s=now.timestamp(),
            holding=tuple(it.held for it in occupying),
            stopped=stopped or self._standing.decision.view.stopped,
        )
        in_line = tuple(job for job in queue if job.id not in queue.aside)
        turns = tuple(Turn(*key, at_s) for key, at_s in queue.turns.items())
        return Situation(view, occupying, in_line, turns, self._ranking.fairness(run_times)), run_times

    def tell_forecast(self, forecast: Forecast) -> None:
        """Take over when waiting jobs will start; replaces what was told before."""
        self._forecast = forecast

    def first(self, count: int) -> list[JobId]:
        """The first jobs of the queue, in its order."""
        return self._standing.first(count) if self._standing else []

    def places(self, jobs: Iterable[Job], now: datetime) -> dict[JobId, Place]:
        """Where those of the jobs stand that wait for their turn, and when they will start."""
        waiting = [job.id for job in jobs if isinstance(job.state, Queued)] if self._standing else []
        placed = {job_id: place for job_id in waiting if self._standing and (place := self._standing.place(job_id))}
        return {job_id: replace(place, eta=self._forecast.band(job_id, now)) for job_id, place in placed.items()}

    def why(self, job_id: JobId) -> Why | None:
        """Why a job waits for its turn; None for one that does not."""
        return self._standing.why(job_id) if self._standing else None

    def terms(self, user: UserName, now: datetime) -> dict[UserName, Terms]:
        """What the fair order is made of: that of `user`, of all in line, and of all who have ever used anything."""
        return self._ranking.terms(self._register.leased(), now, {user, *self._register.queue.users})
