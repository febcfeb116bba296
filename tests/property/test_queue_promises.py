"""What a reservation promises: nothing that starts before delays it, and nobody who is overdue waits for ever."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import example, given, settings
from hypothesis import strategies as st

from dopq.job import JobId, UserName
from dopq.lines import Waiting
from dopq.queue_model import POOLS, View, decide
from dopq.reservation import Holding
from dopq.room import Capacity, Demand, Room
from tests.queues import ANNA, BERT, CLEO, NOW_S, USERS, Situation, VirtualNode, gpus, queue_of, situations, waiting

LONGEST_S = 1000.0

ANOTHER_POOL_TAKES_WHAT_WAS_PROMISED = Situation(
    # At 1100 there is memory for either of the two, not for both: only one can be promised that moment.
    (
        waiting(1, ANNA, Demand(1, memory_bytes=2), since_s=0.0, limit_s=3000.0),
        waiting(2, BERT, Demand(0, memory_bytes=2), since_s=1.0, limit_s=3000.0),
    ),
    View(
        NOW_S,
        Capacity(gpus(1), places=9, memory_bytes=3),
        (Holding(JobId(10), CLEO, Demand(1, memory_bytes=2), gpus(1), 0.0, 1100.0),),
        overdue_s=10.0,
    ),
)


@given(situations())
@example(ANOTHER_POOL_TAKES_WHAT_WAS_PROMISED)
def test_backfill_never_delays_a_reservation_when_limits_hold(case: Situation) -> None:
    """All that occupies the node once everybody has started, to the end of its limit: the promised still fit in time."""
    decision = case.decide()
    room, ends = decision.room.copy(), [(it.until_s(NOW_S), it.demand, it.gpus) for it in decision.holding]
    for promised in sorted(decision.reservations.values(), key=lambda it: it.at_s):
        for end in [it for it in ends if it[0] <= promised.at_s]:
            ends.remove(end)
            room.give_back(end[1], end[2])
        assert room.fits(promised.job.demand)
        on = room.choose(promised.job.demand)
        room.take(promised.job.demand, on)
        ends.append((promised.at_s + promised.job.limit_s, promised.job.demand, on))


@given(situations(overdue=st.just(300.0)), st.data())
def test_an_overdue_job_starts_by_the_moment_that_it_was_promised(case: Situation, data: st.DataObject) -> None:
    """Whatever runs ends by its limit, some of it sooner, and others keep coming."""
    decision = case.decide()
    promised = {it.job.id: it.at_s for it in decision.reservations.values() if it.overdue}
    queue, now_s, ends = case.queue(), NOW_S, {}
    latest_s = max(promised.values(), default=NOW_S)
    holding = {it.id: it for it in case.view.holding}
    ends = {it.id: it.until_s(NOW_S) for it in case.view.holding}
    for _ in range(100):
        for start in decision.starts:
            job = queue.get(start.job)
            assert job is not None
            queue.start(job.id, now_s, decision.beyond)
            holding[job.id] = Holding(job.id, job.user, job.demand, start.gpus, now_s, job.limit_s)
            ends[job.id] = now_s + data.draw(st.sampled_from([0.2, 1.0, 1.0])) * job.limit_s
            assert now_s <= promised.pop(job.id, math.inf)
        if not promised or not ends:
            break
        now_s = min(ends.values())
        for job_id in [job for job, end_s in ends.items() if end_s <= now_s]:
            del ends[job_id], holding[job_id]
        if data.draw(st.booleans()) and now_s <= latest_s:
            user, gpus_asked = data.draw(st.sampled_from(USERS)), data.draw(st.integers(0, 2))
            queue.add(waiting(5000 + len(queue) + int(now_s * 10), user, gpus_asked, since_s=now_s, limit_s=700.0))
        decision = decide(queue, replace(case.view, now_s=now_s, holding=tuple(holding.values())))
    assert not promised


# --- the bound on every wait ---

arrivals = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.0, 10.0, 300.0]),  # seconds after the one before
        st.sampled_from(USERS),
        st.builds(Demand, st.integers(0, 3), st.just(0), st.just(0.0), st.sampled_from([0, 2, 4]))
        | st.builds(Demand, st.just(0), st.integers(1, 2), st.just(0.0), st.sampled_from([0, 2])),
        st.sampled_from([50.0, 400.0, LONGEST_S]),  # limit
        st.sampled_from([0.3, 1.0, 2.0]),  # how much of that it would run
    ),
    min_size=4,
    max_size=16,
)


class Watch:
    """How many went before each job when it became overdue, and when that was."""

    def __init__(self, node: VirtualNode) -> None:
        self._node = node
        self.since: dict[JobId, tuple[float, int]] = {}

    def look(self) -> None:
        due = sorted((due_s, job.id) for job, due_s in self.due().items() if due_s <= self._node.now_s)
        for place, (_, job) in enumerate(due):
            self.since.setdefault(job, (self._node.now_s, place))

    def due(self) -> dict[Waiting, float]:
        """The oldest job of each user in each pool, and when it is due; counted anew, without the queue's own lines."""
        due = {}
        for user in USERS:
            for needs_gpu in POOLS:
                mine = [it for it in self._node.queue if it.user == user and it.demand.needs_gpu is needs_gpu]
                if oldest := min(mine, key=lambda it: (it.queued_at_s, it.id), default=None):
                    turn_s = self._node.queue.turns.get((user, needs_gpu), -math.inf)
                    due[oldest] = max(oldest.queued_at_s, turn_s) + self._node.overdue_s
        return due

    def next_s(self) -> float:
        return min((it for it in self.due().values() if it > self._node.now_s), default=math.inf)


@settings(max_examples=60)
@given(arrivals, st.sampled_from([100.0, 900.0]))
def test_an_overdue_job_with_k_older_overdue_ones_starts_within_k_plus_1_times_the_longest_limit(
    coming: list[tuple[float, UserName, Demand, float, float]], overdue_s: float
) -> None:
    node = VirtualNode(Capacity(gpus(3), 2, places=6, memory_bytes=5), overdue_s=overdue_s)
    watch, events, at_s = Watch(node), [], 0.0
    for number, (after_s, user, demand, limit_s, part) in enumerate(coming):
        at_s += after_s
        events.append((at_s, waiting(number, user, demand, since_s=at_s, limit_s=limit_s), part * limit_s))
    while events or len(node.queue):
        ends_s = min((node.end_s(it) for it in node.occupying.values()), default=math.inf)
        now_s = min(ends_s, watch.next_s(), events[0][0] if events else math.inf)
        assert now_s < math.inf, "somebody waits for ever"
        while events and events[0][0] <= now_s:
            node.submit(*events.pop(0)[1:])
        node.now_s = now_s
        for it in [it for it in node.occupying.values() if node.end_s(it) <= now_s]:
            node.end(it.id)
        watch.look()
        node.round()
        watch.look()
    for job, (overdue_at_s, older) in watch.since.items():
        assert node.starts[job][0] - overdue_at_s <= (older + 1) * LONGEST_S


def test_a_job_without_gpus_is_not_starved_by_gpu_jobs_that_are_always_overdue() -> None:
    """All memory goes to whoever is longest overdue, whichever pool they wait in."""
    node = VirtualNode(Capacity(gpus(4), places=9, memory_bytes=4), overdue_s=10.0)
    for number in range(40):
        node.submit(waiting(number, USERS[number % 3], Demand(1, memory_bytes=1), since_s=float(number)), 3600.0)
    node.pass_time(50.0)
    node.submit(waiting(99, USERS[3], Demand(0, memory_bytes=4), since_s=50.0), 10.0)
    node.pass_time(60.0)
    node.pass_time(60.0 + 3 * 3600.0)
    assert JobId(99) in node.starts


def test_a_job_that_can_never_start_does_not_stand_in_the_way_of_its_users_turn() -> None:
    node = VirtualNode(Capacity(gpus(2), places=9), overdue_s=100.0)
    node.submit(waiting(0, ANNA, 50, since_s=0.0), 1.0)
    node.submit(waiting(1, ANNA, 2, since_s=1.0), 1.0)
    node.submit(waiting(2, ANNA, 2, since_s=2.0), 1.0)
    held = Holding(JobId(50), BERT, Demand(1), frozenset({min(gpus(2))}), 0.0, 500.0)
    view = replace(node.view(), now_s=150.0, holding=(held,))
    decision = decide(node.queue, view)
    assert decision.reservations[True].job.id == 1
    assert decision.reservations[True].overdue
    node.now_s = 500.0
    decision = node.round()
    assert [it.job for it in decision.starts] == [1]
    assert node.queue.turns == {(ANNA, True): 500.0}, "or else all of them would be overdue, one after the other"


def test_slots_are_found_on_whichever_gpu_leaves_the_promise_untouched() -> None:
    """The fullest GPU would be first, and is the one which the promised job needs."""
    first, second = sorted(gpus(2))
    half = Demand(slots=2)
    view = View(
        NOW_S,
        Capacity(gpus(2), slots_per_gpu=4, places=9),
        (
            Holding(JobId(10), BERT, half, frozenset({first}), 0.0, NOW_S + 100),  # leaves soon: then the GPU is whole
            Holding(JobId(11), BERT, Demand(slots=1), frozenset({second}), 0.0, NOW_S + 9000),
        ),
        overdue_s=10.0,
    )
    jobs = [waiting(1, ANNA, 1), waiting(2, CLEO, half, since_s=NOW_S, limit_s=9000.0)]
    decision = decide(queue_of(jobs), view)
    assert [(it.job, it.gpus) for it in decision.starts] == [(2, frozenset({second}))]
    assert Room(view.capacity).choose(half) == {first}
