"""The order of this node's users and jobs: the policy of its settings, fed with what happened here.

Not thread-safe: its one owner has a lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from dopq.config import QueueSettings
from dopq.course import HISTORY, Fairness
from dopq.job import Ended, Job, Stopping, UserName, lease_of
from dopq.ledger import Ledger
from dopq.order import FairShare, Fifo, Order, Policy, Recency, recency_penalties
from dopq.penalty import committed, penalty
from dopq.queue_view import Defaults, as_waiting
from dopq.run_times import RunTimes

REMEMBERED = 1000
"""Ended jobs that a new life of the node learns from: how long whose ran, and who finished last."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a user's place in the fair order is made of.

    Attributes:
        usage_gpu_s: decayed GPU-seconds until now.
        committed_gpu_s: those that their running jobs are expected to use yet (`penalty.committed`).
    """

    usage_gpu_s: float
    committed_gpu_s: float
    weight: float

    @property
    def penalty(self) -> float:
        """Usage by weight, as it is told everywhere."""
        return penalty(self.usage_gpu_s, self.weight)

    @property
    def expected_penalty(self) -> float:
        """The penalty once what is committed has been used, by which the order goes: the smallest first."""
        return penalty(self.usage_gpu_s + self.committed_gpu_s, self.weight)


class Ranking:
    """The policy at work.

    Args:
        weights: tells every registered user's share weight.
        ended: jobs that ended before this life of the node, the first to end first.
    """

    def __init__(
        self,
        ledger: Ledger,
        weights: Callable[[], Mapping[UserName, float]],
        settings: QueueSettings,
        defaults: Defaults,
        ended: Iterable[Job],
    ) -> None:
        self._ledger = ledger
        self._weights = weights
        self._settings = settings
        self._defaults = defaults
        self._finished: deque[UserName] = deque(maxlen=REMEMBERED)  # the newest first
        self._run_times = RunTimes()
        for job in ended:
            self.learn(job)

    def learn(self, job: Job) -> None:
        """A job changed: if it has ended, remember who finished, and how long it ran."""
        if isinstance(job.state, Ended) and job.state.lease is not None:
            self._finished.appendleft(job.user)
            entry = as_waiting(job, self._defaults)
            if entry and job.state.started_at is not None:
                self._run_times.learn(entry, (job.state.at - job.state.started_at).total_seconds())

    def order(self, leased: Iterable[Job], now: datetime, leaving: Job | None = None) -> Order:
        """The order of this moment, or of that after one more has ended.

        Args:
            leased: the jobs that occupy the node.
            leaving: the one of them that is taken to have ended just now, having run as long as was expected.
        """
        leased = [job for job in leased if leaving is None or job.id != leaving.id]
        match Policy(self._settings.policy):
            case Policy.FAIRSHARE:
                penalties = {user: terms.expected_penalty for user, terms in self.terms(leased, now).items()}
                return FairShare(penalties, self._run_times.expected_s)
            case Policy.RECENCY:
                last = [leaving.user] if leaving else []
                return Recency(recency_penalties([*last, *self._finished]))
            case Policy.FIFO:
                return Fifo()

    def by_end(self, leased: Iterable[Job]) -> list[Job]:
        """Jobs that occupy the node, those first that are expected to leave it first."""
        return sorted(leased, key=self._expected_end_s)

    def _expected_end_s(self, job: Job) -> float:
        lease, entry = lease_of(job.state), as_waiting(job, self._defaults)
        if isinstance(job.state, Stopping) or lease is None or entry is None:
            return 0.0
        return lease.since.timestamp() + self._run_times.expected_s(entry)

    def run_times(self) -> RunTimes:
        """What is known of them now; learns nothing more."""
        return self._run_times.copy()

    def fairness(self, run_times: RunTimes) -> Fairness:
        """What the order goes by, for whoever wants to know how it goes on."""
        return Fairness(
            Policy(self._settings.policy),
            self._ledger.accounts,
            self._weights(),
            tuple(islice(self._finished, HISTORY)),
            self._settings.half_life_s,
            self._settings.cpu_job_rate,
            run_times.expected_s,
        )

    def terms(self, leased: Iterable[Job], now: datetime, others: Iterable[UserName] = ()) -> dict[UserName, Terms]:
        """What the fair order goes by, of every user who has ever used anything, and of `others`."""
        usage, ahead, weights = self._ledger.usage(now), self._committed(leased, now), self._weights()
        return {
            user: Terms(usage.get(user, 0.0), ahead.get(user, 0.0), weights.get(user, 1.0))
            for user in {*usage, *ahead, *others}
        }

    def _committed(self, leased: Iterable[Job], now: datetime) -> dict[UserName, float]:
        ahead: dict[UserName, float] = {}
        for job in leased:
            lease, entry = lease_of(job.state), as_waiting(job, self._defaults)
            if lease and entry:
                left_s = lease.since.timestamp() + self._run_times.expected_s(entry) - now.timestamp()
                ahead[job.user] = ahead.get(job.user, 0.0) + committed(
                    self._ledger.rate_of(lease), left_s, self._settings.half_life_s
                )
        return ahead
