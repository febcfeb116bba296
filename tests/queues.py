"""Queues for tests: any legal situation, and a node on a virtual clock that does what the queue decides."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from hypothesis import strategies as st

from dopq.job import GpuId, JobId, Reason, UserName
from dopq.lines import Queue, Waiting
from dopq.order import FairShare, Fifo, Order, Recency
from dopq.penalty import Account, usage_at, with_rate
from dopq.queue_model import Decision, Quota, View, decide
from dopq.reservation import Holding
from dopq.room import Capacity, Demand, Room

USERS = [UserName(name) for name in ("anna", "bert", "cleo", "dave")]
ANNA, BERT, CLEO, DAVE = USERS
HOLD = Reason("held", "Its user holds it.")
SICK = Reason("gpu_fault", "GPU-0 is sick.")
LOCKED = Reason("locked", "olga locked the queue.")
NOW_S = 1000.0
HALF_LIFE_S = 7 * 86400.0


def gpus(count: int) -> frozenset[GpuId]:
    return frozenset(GpuId(f"GPU-{number}") for number in range(count))


def waiting(
    number: int,
    user: UserName = ANNA,
    demand: Demand | int = 1,
    *,
    priority: int = 0,
    since_s: float = 0.0,
    limit_s: float = 3600.0,
    name: str = "",
) -> Waiting:
    demand = demand if isinstance(demand, Demand) else Demand(demand)
    return Waiting(JobId(number), user, demand, priority, since_s, limit_s, name)


def queue_of(
    jobs: Iterable[Waiting],
    aside: Mapping[JobId, Reason] | None = None,
    turns: Mapping[tuple[UserName, bool], float] | None = None,
) -> Queue:
    queue = Queue()
    for job in jobs:
        queue.add(job, (aside or {}).get(job.id))
    queue.turns.update(turns or {})
    return queue


@dataclass(frozen=True)
class Situation:
    """A queue and a view of the node; `queue()` is made anew each time."""

    jobs: tuple[Waiting, ...]
    view: View
    aside: Mapping[JobId, Reason] = field(default_factory=dict)
    turns: Mapping[tuple[UserName, bool], float] = field(default_factory=dict)

    def queue(self) -> Queue:
        return queue_of(self.jobs, self.aside, self.turns)

    def decide(self) -> Decision:
        return decide(self.queue(), self.view)

    @property
    def in_line(self) -> tuple[Waiting, ...]:
        return tuple(job for job in self.jobs if job.id not in self.aside)


def demands(slots_per_gpu: int, most_gpus: int = 5) -> st.SearchStrategy[Demand]:
    cpus = st.sampled_from([0.0, 0.0, 0.1, 0.3, 0.7, 2.0])
    memory = st.sampled_from([0, 0, 1, 3])
    return st.builds(Demand, st.integers(0, most_gpus), st.just(0), cpus, memory) | st.builds(
        Demand, st.just(0), st.integers(1, slots_per_gpu + 1), cpus, memory
    )


penalties = st.dictionaries(st.sampled_from(USERS), st.sampled_from([0.0, 1.0, 7.5, 1e6]))
orders = (
    st.builds(FairShare, penalties) | st.builds(FairShare, penalties) | st.builds(Recency, penalties) | st.just(Fifo())
)


@st.composite
def situations(
    draw: st.DrawFn,
    *,
    demand: st.SearchStrategy[Demand] | None = None,
    order: st.SearchStrategy[Order] = orders,
    max_jobs: int = 9,
    quotas: bool = True,
    overdue: st.SearchStrategy[float] | None = None,
) -> Situation:
    """Any legal situation: what is held was free once; GPUs may be lost since, and limits outlived."""
    slots_per_gpu = draw(st.sampled_from([1, 2, 4]))
    demand = demands(slots_per_gpu) if demand is None else demand
    capacity = Capacity(
        gpus(draw(st.integers(0, 4))),
        slots_per_gpu,
        draw(st.sampled_from([0, 1, 2, 3, 8, 8])),
        draw(st.sampled_from([math.inf, 0.3, 2.0])),
        draw(st.sampled_from([math.inf, 3, 6])),
    )
    room, holding = Room(capacity), []
    for number in range(draw(st.integers(0, 5))):
        wanted = draw(demand)
        if room.fits(wanted):
            on = room.choose(wanted)
            room.take(wanted, on)
            since_s, limit_s = draw(st.sampled_from([0.0, 500.0, NOW_S])), draw(st.sampled_from([100.0, 700.0, 2000.0]))
            holding.append(Holding(JobId(1000 + number), draw(st.sampled_from(USERS)), wanted, on, since_s, limit_s))
    if draw(st.integers(0, 5)) == 0:
        capacity = replace(capacity, gpus=frozenset(sorted(capacity.gpus)[1:]))
    if draw(st.integers(0, 3)) == 0:
        capacity = replace(capacity, withheld={it: SICK for it in sorted(capacity.gpus) if draw(st.booleans())})
    quota = Quota(draw(st.sampled_from([math.inf, 2.0, 4.0])), draw(st.sampled_from([math.inf, 1, 2, 4])))
    jobs = [
        waiting(
            number,
            draw(st.sampled_from(USERS)),
            draw(demand),
            priority=draw(st.sampled_from([0, 0, 1])),
            since_s=draw(st.sampled_from([0.0, 1.0, 600.0, 999.0, 2000.0])),
            limit_s=draw(st.sampled_from([60.0, 400.0, 1000.0, 3000.0])),
        )
        for number in range(draw(st.integers(0, max_jobs)))
    ]
    return Situation(
        tuple(jobs),
        View(
            NOW_S,
            capacity,
            tuple(holding),
            draw(order),
            quota if quotas and draw(st.booleans()) else Quota(),
            overdue_s=draw(overdue if overdue is not None else st.sampled_from([math.inf, 300.0, 900.0])),
        ),
        {job.id: HOLD for job in jobs if draw(st.integers(0, 7)) == 0},
        draw(
            st.dictionaries(
                st.tuples(st.sampled_from(USERS), st.booleans()), st.sampled_from([0.0, 500.0, 950.0]), max_size=3
            )
        ),
    )


def assert_within_capacity(holding: Iterable[Holding], capacity: Capacity) -> None:
    """Counted anew, without Room: no GPU twice, no slot twice, nothing beyond what there is."""
    slots: Counter[GpuId] = Counter()
    places, cpus, memory = 0, 0.0, 0
    for it in holding:
        places += 1
        cpus += it.demand.cpus
        memory += it.demand.memory_bytes
        for gpu in it.gpus:
            slots[gpu] += it.demand.slots or capacity.slots_per_gpu
    assert all(count <= capacity.slots_per_gpu for count in slots.values())
    assert places <= capacity.places
    assert cpus <= capacity.cpus + 1e-3
    assert memory <= capacity.memory_bytes


class VirtualNode:
    """A node without machines: time passes when told, jobs end when they should, and each event is followed by a round.

    Attributes:
        starts: when each job started, and on which GPUs.
        rounds: every decision so far, if they are kept.
    """

    def __init__(
        self,
        capacity: Capacity,
        *,
        overdue_s: float = math.inf,
        quota: Quota | None = None,
        weights: Mapping[UserName, float] | None = None,
    ) -> None:
        self.capacity = capacity
        self.overdue_s = overdue_s
        self.quota = quota or Quota()
        self.weights = weights or {}
        self.now_s = 0.0
        self.queue = Queue()
        self.stopped: Reason | None = None
        self.lost: frozenset[GpuId] = frozenset()
        self.occupying: dict[JobId, Holding] = {}
        self.runs_s: dict[JobId, float] = {}
        self.starts: dict[JobId, tuple[float, frozenset[GpuId]]] = {}
        self.accounts: dict[UserName, Account] = {}

    def submit(self, job: Waiting, runs_s: float) -> None:
        self.runs_s[job.id] = runs_s
        self.queue.add(job)

    def view(self) -> View:
        return View(
            self.now_s,
            replace(self.capacity, gpus=self.capacity.gpus - self.lost),
            tuple(self.occupying.values()),
            FairShare({user: self.usage(user) / self.weights.get(user, 1.0) for user in USERS}),
            self.quota,
            self.stopped,
            self.overdue_s,
        )

    def usage(self, user: UserName) -> float:
        return usage_at(self.accounts.get(user, Account()), self.now_s, HALF_LIFE_S)

    def round(self) -> Decision:
        """Decide, and start what is to start."""
        decision = decide(self.queue, self.view())
        for start in decision.starts:
            job = self.queue.get(start.job)
            assert job is not None
            self.queue.start(start.job, self.now_s, decision.beyond)
            self.occupying[job.id] = Holding(job.id, job.user, job.demand, start.gpus, self.now_s, job.limit_s)
            self.starts[job.id] = self.now_s, start.gpus
            self._charge(job.user, job.demand, 1)
        return decision

    def end(self, job: JobId) -> None:
        it = self.occupying.pop(job)
        self._charge(it.user, it.demand, -1)

    def end_s(self, it: Holding) -> float:
        return it.since_s + min(self.runs_s[it.id], it.limit_s)

    def pass_time(self, until_s: float) -> None:
        """Let jobs end as they do, with a round after each moment at which any did."""
        while ends := sorted((self.end_s(it), it.id) for it in self.occupying.values() if self.end_s(it) <= until_s):
            self.now_s = max(self.now_s, ends[0][0])
            for end_s, job in ends:
                if end_s <= self.now_s:
                    self.end(job)
            self.round()
        self.now_s = max(self.now_s, until_s)
        self.round()

    def restart(self, jobs: Iterable[Waiting] | None = None) -> None:
        """Forget the queue and make it anew from the jobs that waited, in whatever order."""
        self.queue = queue_of(
            list(self.queue) if jobs is None else jobs, dict(self.queue.aside), dict(self.queue.turns)
        )

    def _charge(self, user: UserName, demand: Demand, sign: int) -> None:
        account = self.accounts.get(user, Account())
        parts = (demand.gpus + demand.slots / self.capacity.slots_per_gpu) or 0.05
        rate = account.rate + sign * parts
        self.accounts[user] = with_rate(account, max(0.0, rate), self.now_s, HALF_LIFE_S)
