"""Who goes before whom: what makes a rank better or worse, and that the order told is the order kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dopq.job import JobId, UserName
from dopq.lines import Queue, Waiting, came
from dopq.order import FairShare, Fifo, Key, Order, Recency, in_order, recency_penalties
from dopq.penalty import penalty
from dopq.queue_model import View, decide, held_in_ties
from dopq.reservation import Holding
from dopq.room import Capacity, Demand
from tests.queues import ANNA, BERT, CLEO, NOW_S, USERS, gpus, orders, penalties, queue_of, waiting

sizes = st.builds(Demand, st.integers(0, 4)) | st.builds(Demand, st.just(0), st.integers(1, 2))


def jobs_of(demand: st.SearchStrategy[Demand], max_size: int = 10) -> st.SearchStrategy[list[Waiting]]:
    one = st.tuples(
        st.sampled_from(USERS),
        demand,
        st.sampled_from([-1, 0, 0, 1]),
        st.sampled_from([0.0, 1.0, 600.0, 999.0]),
        st.sampled_from([60.0, 1000.0]),
    )
    return st.lists(one, max_size=max_size).map(
        lambda rows: [
            waiting(number, user, asked, priority=priority, since_s=since_s, limit_s=limit_s)
            for number, (user, asked, priority, since_s, limit_s) in enumerate(rows)
        ]
    )


held_counts = st.dictionaries(st.sampled_from(USERS), st.integers(0, 4))


def ranks(jobs: list[Waiting], order: Order, held: Mapping[UserName, float]) -> dict[JobId, int]:
    return {job.id: place for place, job in enumerate(in_order(queue_of(jobs), order, held, NOW_S))}


# --- the order that is told is the order that is kept ---


@given(jobs_of(st.just(Demand(1))) | jobs_of(st.just(Demand(0))), orders, st.lists(st.sampled_from(USERS)), st.data())
def test_in_order_is_the_order_in_which_jobs_of_one_size_start(
    jobs: list[Waiting], order: Order, holders: list[UserName], data: st.DataObject
) -> None:
    demand = Demand(0) if not jobs else jobs[0].demand
    free = data.draw(st.integers(0, len(jobs) + 1))
    all_gpus = sorted(gpus(len(holders) + free))
    holding = [
        Holding(JobId(1000 + number), user, Demand(1), frozenset({gpu}), 0.0, 5000.0)
        for number, (user, gpu) in enumerate(zip(holders, all_gpus, strict=False))
    ]
    capacity = Capacity(frozenset(all_gpus), places=len(holders) + free if demand.gpus == 0 else 100)
    queue = queue_of(jobs)
    decision = decide(queue, View(NOW_S, capacity, tuple(holding), order))
    told = [job.id for job in islice(in_order(queue, order, held_in_ties(holding), NOW_S), free)]
    assert [it.job for it in decision.starts] == told


@given(jobs_of(sizes), orders, held_counts)
def test_in_order_names_every_job_once(jobs: list[Waiting], order: Order, held: dict[UserName, int]) -> None:
    told = [job.id for job in in_order(queue_of(jobs), order, held, NOW_S)]
    assert sorted(told) == sorted(job.id for job in jobs)


@given(jobs_of(sizes), orders, held_counts)
def test_one_users_jobs_stand_by_the_users_own_order(
    jobs: list[Waiting], order: Order, held: dict[UserName, int]
) -> None:
    """By a plain sort, which knows no lines."""
    told = list(in_order(queue_of(jobs), order, held, NOW_S))
    for user in USERS:
        mine = [job for job in jobs if job.user == user]
        assert [job for job in told if job.user == user] == sorted(mine, key=lambda job: order.of_job(job, NOW_S))


@given(jobs_of(sizes), penalties, held_counts)
def test_whoever_has_the_smaller_penalty_goes_first(
    jobs: list[Waiting], of: dict[UserName, float], held: dict[UserName, int]
) -> None:
    told = [of.get(job.user, 0.0) for job in in_order(queue_of(jobs), FairShare(of), held, NOW_S)]
    assert told == sorted(told)


# --- what moves a rank ---


@given(jobs_of(sizes), penalties, held_counts, st.sampled_from(USERS), st.floats(0.0, 100.0))
def test_more_past_usage_never_improves_a_rank(
    jobs: list[Waiting], of: dict[UserName, float], held: dict[UserName, int], user: UserName, more: float
) -> None:
    before = ranks(jobs, FairShare(of), held)
    after = ranks(jobs, FairShare({**of, user: of.get(user, 0.0) + more}), held)
    assert all(after[job.id] >= before[job.id] for job in jobs if job.user == user)


@given(jobs_of(sizes), penalties, held_counts, st.sampled_from(USERS), st.floats(1.0, 100.0))
def test_more_weight_never_worsens_a_rank(
    jobs: list[Waiting], usage: dict[UserName, float], held: dict[UserName, int], user: UserName, weight: float
) -> None:
    before = ranks(jobs, FairShare({it: penalty(used, 1.0) for it, used in usage.items()}), held)
    heavier = {it: penalty(used, weight if it == user else 1.0) for it, used in usage.items()}
    after = ranks(jobs, FairShare(heavier), held)
    assert all(after[job.id] <= before[job.id] for job in jobs if job.user == user)


@given(jobs_of(sizes), orders, held_counts, st.sampled_from(USERS), sizes)
def test_another_users_extra_job_never_improves_mine(
    jobs: list[Waiting], order: Order, held: dict[UserName, int], other: UserName, demand: Demand
) -> None:
    """At the end of their own line: if they let it go before others of theirs, these go later, as they chose."""
    extra = waiting(999, other, demand, priority=-9, since_s=NOW_S)
    before, after = ranks(jobs, order, held), ranks([*jobs, extra], order, held)
    assert all(after[job.id] >= before[job.id] for job in jobs)


@given(jobs_of(st.just(Demand(1))), orders, st.integers(0, 8), st.sampled_from(USERS))
def test_another_users_extra_job_never_starts_mine(
    jobs: list[Waiting], order: Order, free: int, other: UserName
) -> None:
    extra = waiting(999, other, 1, priority=-9, since_s=NOW_S)
    view = View(NOW_S, Capacity(gpus(free), places=100), order=order)
    before = {it.job for it in decide(queue_of(jobs), view).starts}
    after = {it.job for it in decide(queue_of([*jobs, extra]), view).starts}
    assert after - {extra.id} <= before


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 9), st.sampled_from([0, 1]))
def test_equal_users_take_turns_with_gpus_and_without(annas: int, berts: int, free: int, asked: int) -> None:
    jobs = [waiting(n, ANNA, asked) for n in range(annas)] + [waiting(100 + n, BERT, asked) for n in range(berts)]
    view = View(NOW_S, Capacity(gpus(free), places=free))
    count = Counter(ANNA if it.job < 100 else BERT for it in decide(queue_of(jobs), view).starts)
    short = min(annas, berts)
    if free <= 2 * short:  # both still have jobs: neither is ahead by more than one
        assert abs(count[ANNA] - count[BERT]) <= 1
    else:
        assert min(count[ANNA], count[BERT]) == short


def test_a_user_whose_newer_job_went_first_still_goes_by_their_older_one() -> None:
    """Anna's newer job has the higher priority; once it has started, her next is the oldest of all."""
    jobs = [
        waiting(1, ANNA, since_s=1.0),
        waiting(2, BERT, since_s=2.0),
        waiting(3, CLEO, since_s=3.0),
        waiting(4, ANNA, since_s=4.0, priority=1),
    ]
    view = View(NOW_S, Capacity(gpus(4), places=9), order=Recency({BERT: 0.0}))
    assert [it.job for it in decide(queue_of(jobs), view).starts] == [2, 3, 4, 1]


# --- lazy ---


class Counting:
    """An order that counts how often it is asked."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self.calls = 0

    def of_user(self, user: UserName, held_gpus: float, job: Waiting) -> Key:
        self.calls += 1
        return self._order.of_user(user, held_gpus, job)

    def of_job(self, job: Waiting, now_s: float) -> Key:
        self.calls += 1
        return self._order.of_job(job, now_s)


@pytest.fixture(scope="module")
def long_queue() -> Queue:
    """100,000 jobs of 500 users, three kinds of jobs each."""
    return queue_of(
        waiting(number, UserName(f"user-{number % 500}"), 1 + number // 500 % 3, since_s=float(number))
        for number in range(100_000)
    )


@pytest.mark.parametrize("order", [FairShare({}), Recency({}), Fifo()])
def test_the_first_ten_of_a_hundred_thousand_jobs_are_told_without_looking_at_the_rest(
    long_queue: Queue, order: Order
) -> None:
    counting = Counting(order)
    first = list(islice(in_order(long_queue, counting, {}, NOW_S), 10))
    assert [job.id for job in first] == list(range(10))
    assert counting.calls <= 500 * (1 + 3) + 10 * (200 + 1), (
        "each user's first; all jobs of the ten users who come first"
    )


@pytest.mark.parametrize("order", [FairShare({}), Recency({}), Fifo()])
def test_a_start_among_a_hundred_thousand_jobs_looks_at_lines_and_not_at_jobs(long_queue: Queue, order: Order) -> None:
    counting = Counting(order)
    decision = decide(long_queue, View(1e6, Capacity(gpus(1), places=9), order=counting))
    assert [it.job for it in decision.starts] == [0]
    assert counting.calls <= 500 * (1 + 3)


# --- by hand ---


@pytest.mark.parametrize(
    ("finished", "expected"),
    [
        ([], {}),
        ([ANNA], {ANNA: 1.0}),
        ([ANNA, BERT, ANNA], {ANNA: 1.1353352832366128, BERT: 0.36787944117144233}),  # 1 + e^-2, e^-1
        ([BERT, BERT, BERT, CLEO], {BERT: 1.5032147244080551, CLEO: 0.049787068367863944}),  # 1 + e^-1 + e^-2, e^-3
    ],
)
def test_recency_is_the_sum_of_e_to_the_minus_place(finished: list[UserName], expected: dict[UserName, float]) -> None:
    assert recency_penalties(finished) == pytest.approx(expected, rel=1e-15)


def test_recency_lets_the_least_recently_finished_go_first_whatever_they_used() -> None:
    order = Recency(recency_penalties([ANNA, BERT, ANNA, ANNA]))
    jobs = [
        waiting(1, ANNA),
        waiting(2, ANNA, priority=1),
        waiting(3, BERT, since_s=9.0),
        waiting(4, CLEO, since_s=99.0),
    ]
    assert list(ranks(jobs, order, {CLEO: 64})) == [4, 3, 2, 1]


def test_fifo_is_the_order_of_coming_whoever_it_is_and_whatever_they_wish() -> None:
    jobs = [
        waiting(1, ANNA, since_s=5.0, priority=9),
        waiting(2, BERT, 4, since_s=3.0),
        waiting(3, ANNA, since_s=3.0),
        waiting(4, CLEO, since_s=1.0, priority=-9),
    ]
    assert list(ranks(jobs, Fifo(), {CLEO: 64})) == [4, 2, 3, 1]


def test_inside_a_user_priority_goes_before_the_response_ratio_and_that_before_age() -> None:
    jobs = [
        waiting(1, since_s=0.0, limit_s=1000.0),  # (1000 + 1000) / 1000 = 2
        waiting(2, since_s=900.0, limit_s=50.0),  # (100 + 50) / 50 = 3
        waiting(3, since_s=500.0, limit_s=500.0),  # (500 + 500) / 500 = 2, and younger than 1
        waiting(4, since_s=1000.0, limit_s=9.0, priority=1),
    ]
    assert list(ranks(jobs, FairShare({}), {})) == [4, 2, 1, 3]


def test_the_response_ratio_goes_by_what_is_expected_of_a_job_where_something_is() -> None:
    jobs = [waiting(1, since_s=0.0, limit_s=100.0), waiting(2, since_s=0.0, limit_s=5000.0, name="short")]
    order = FairShare({}, lambda job: 10.0 if job.name == "short" else job.limit_s)
    assert list(ranks(jobs, order, {})) == [2, 1]


def test_among_equals_whoever_holds_fewer_gpus_goes_first() -> None:
    jobs = [waiting(1, ANNA, since_s=1.0), waiting(2, BERT, since_s=2.0)]
    assert list(ranks(jobs, FairShare({}), {ANNA: 2, BERT: 1})) == [2, 1]
    assert list(ranks(jobs, FairShare({}), {})) == [1, 2]


@settings(max_examples=20)
@given(jobs_of(sizes), st.integers(0, 3))
def test_a_line_keeps_the_order_of_coming_for_whoever_comes_back(jobs: list[Waiting], gone: int) -> None:
    queue = queue_of(jobs)
    for job in jobs[:gone]:
        queue.remove(job.id)
    for job in reversed(jobs[:gone]):
        queue.add(replace(job))
    for lines in queue.users.values():
        for line in lines.within(()):
            assert list(line) == sorted(line, key=came)
