"""What every single decision promises: one answer each, nothing handed out twice, nothing idle without a name for it."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from dopq.job import GpuId, JobId
from dopq.lines import Waiting
from dopq.queue_model import Decision, beyond, decide, share_of_gpus
from dopq.why import why
from tests.queues import HOLD, LOCKED, Situation, assert_within_capacity, queue_of, situations


def started(decision: Decision) -> dict[JobId, frozenset[GpuId]]:
    return {start.job: start.gpus for start in decision.starts}


def left_waiting(case: Situation, decision: Decision) -> list[Waiting]:
    return [job for job in case.jobs if job.id not in started(decision)]


# --- what is handed out ---


@given(situations())
def test_no_gpu_or_slot_is_handed_out_twice_and_nothing_beyond_capacity(case: Situation) -> None:
    capacity, decision = case.view.capacity, case.decide()
    assert decision.holding[: len(case.view.holding)] == case.view.holding
    held = {gpu for it in case.view.holding for gpu in it.gpus}
    assert {gpu for on in started(decision).values() for gpu in on} <= capacity.gpus
    if decision.starts:  # a node that lost a GPU may hold more than it has, but hands out nothing more of it
        assert_within_capacity(decision.holding, replace(capacity, gpus=capacity.gpus | held))


@given(situations())
def test_a_job_gets_what_it_asked_for(case: Situation) -> None:
    asked = {job.id: job.demand for job in case.jobs}
    for job, on in started(case.decide()).items():
        assert len(on) == (1 if asked[job].slots else asked[job].gpus)


@given(situations())
def test_no_user_gets_more_than_their_quota(case: Situation) -> None:
    decision, quota = case.decide(), case.view.quota
    by_user: dict[str, list[float]] = {}
    for it in decision.holding:
        by_user.setdefault(it.user, []).append(share_of_gpus(it.demand, case.view.capacity))
    users = {it.user for it in decision.holding[len(case.view.holding) :]}
    assert all(len(by_user[user]) <= quota.jobs for user in users)
    takers = {it.user for it in decision.holding[len(case.view.holding) :] if it.demand.needs_gpu}
    assert all(sum(by_user[user]) <= quota.gpus + 1e-3 for user in takers)


# --- one answer each ---


@given(situations())
def test_every_waiting_job_gets_exactly_one_answer(case: Situation) -> None:
    decision = case.decide()
    assert all(count == 1 for count in Counter(start.job for start in decision.starts).values())
    assert started(decision).keys() <= {job.id for job in case.in_line}
    for job in left_waiting(case, decision):
        answer = why(job, decision, case.aside.get(job.id))
        assert answer.reason.code
        assert answer.reason.code != "undecided"
        assert answer.reason.sentence.endswith(".")
        assert ": ." not in answer.reason.sentence


@given(situations())
def test_nothing_starts_while_the_queue_is_stopped_and_everybody_is_told_why(case: Situation) -> None:
    case = replace(case, view=replace(case.view, stopped=LOCKED))
    decision = case.decide()
    assert not decision.starts
    for job in case.jobs:
        expected = case.aside.get(job.id, LOCKED)
        assert why(job, decision, case.aside.get(job.id)).reason == expected or beyond([job.demand], case.view)


@given(situations())
def test_a_job_that_can_never_run_here_is_told_so_and_no_other_is(case: Situation) -> None:
    decision = case.decide()
    for job in left_waiting(case, decision):
        alone = decide(queue_of([job]), replace(case.view, holding=(), capacity=case.view.capacity.whole()))
        is_told = why(job, decision, case.aside.get(job.id)).reason.code == "never_fits"
        assert is_told == (not alone.starts)
        if job.id not in case.aside:
            assert is_told == (job.demand in decision.beyond)


# --- work conserving ---


@given(situations())
def test_what_might_start_waits_only_for_a_named_reservation_hold_quota_or_lock(case: Situation) -> None:
    decision = case.decide()
    promised = {it.job.id for it in decision.reservations.values()}
    for job in left_waiting(case, decision):
        answer = why(job, decision, case.aside.get(job.id))
        on_its_own = Situation((job,), replace(case.view, holding=decision.holding)).decide()
        if on_its_own.starts and job.id not in case.aside:
            assert answer.reason.code == "reserved"
            assert answer.behind in promised
            assert answer.behind != job.id


@given(situations(quotas=False).filter(lambda case: not case.aside))
def test_somebody_starts_whenever_somebody_may(case: Situation) -> None:
    if any(Situation((job,), case.view).decide().starts for job in case.jobs):
        decision = case.decide()
        assert decision.starts or decision.reservations


# --- the same again ---


@given(situations(), st.integers())
def test_the_same_queue_and_view_give_the_same_decision_whatever_order_jobs_came_in(case: Situation, seed: int) -> None:
    shuffled = list(case.jobs)
    random.Random(seed).shuffle(shuffled)
    # Some are there for a while only, or join a second time: what is left counts, not how it came to be.
    queue = queue_of(shuffled, case.aside, case.turns)
    for job in shuffled[::2]:
        queue.add(replace(job, priority=9), HOLD if job.priority else None)
    for job in shuffled[::3]:
        queue.remove(job.id)
    for job in shuffled:
        queue.add(job, case.aside.get(job.id))
    others = replace(case.view, holding=tuple(reversed(case.view.holding)))
    again, once = decide(queue, others), case.decide()
    assert again.starts == once.starts
    assert [(it.job, it.at_s, it.overdue) for it in again.reservations.values()] == [
        (it.job, it.at_s, it.overdue) for it in once.reservations.values()
    ]
    for job in left_waiting(case, once):
        reason = case.aside.get(job.id)
        assert why(job, again, reason) == why(job, once, reason)


@given(situations())
def test_deciding_changes_neither_queue_nor_view(case: Situation) -> None:
    queue = case.queue()
    first, second = decide(queue, case.view), decide(queue, case.view)
    assert first.starts == second.starts
    assert set(queue) == set(case.jobs)
    assert queue.turns == case.turns
