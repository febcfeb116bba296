"""The reason is true: take away what it names, and the job starts; leave any of it, and it does not."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import example, given

from dopq.job import GpuId, JobId, UserName
from dopq.lines import Waiting
from dopq.queue_model import Decision, Quota, View, decide
from dopq.reservation import Holding
from dopq.room import Capacity, Demand
from dopq.why import Why, why
from tests.queues import ANNA, BERT, CLEO, NOW_S, Situation, gpus, queue_of, situations, waiting

G0, G1 = sorted(gpus(2))


def answers(case: Situation) -> list[tuple[Waiting, Decision, Why]]:
    """The jobs in line that wait, with why."""
    decision = case.decide()
    started = {start.job for start in decision.starts}
    return [(job, decision, why(job, decision)) for job in case.in_line if job.id not in started]


def starts_if_only(job: Waiting, decision: Decision, stay: frozenset[JobId], *ahead: Waiting) -> bool:
    """Whether `job` starts where only these of the holders are left, and only these jobs wait beside it."""
    holding = tuple(it for it in decision.holding if it.id in stay)
    again = decide(queue_of([job, *ahead]), replace(decision.view, holding=holding))
    return any(start.job == job.id for start in again.starts)


def turns_of_two(
    case: Situation, decision: Decision, job: Waiting, first: Waiting
) -> dict[tuple[UserName, bool], float]:
    """The turns with which `job` and `first` wait as before when they are the only ones left.

    A job is not overdue as long as an older one of its user's waits, or has just started. Without that one it would
    be the oldest, so its turn has to be as far off as it was.
    """
    mine = case.queue().users[job.user]
    oldest = mine.oldest(needs_gpu=job.demand.needs_gpu, beyond=decision.beyond)
    not_due = {} if oldest in (job, first) else {(job.user, job.demand.needs_gpu): NOW_S}
    return {**case.turns, **not_due}


def as_named(answer: Why, decision: Decision) -> Decision:
    """The decision with the GPUs handed out that the answer names."""
    if answer.reason.code != "gpus_withheld":
        return decision
    return replace(decision, view=replace(decision.view, capacity=decision.view.capacity.whole()))


def holding(
    number: int, user: str, demand: Demand, *on: GpuId, since_s: float = 0.0, limit_s: float = 2000.0
) -> Holding:
    return Holding(JobId(number), user, demand, frozenset(on), since_s, limit_s)  # type: ignore[arg-type]


OVER_QUOTA_AND_FULL = Situation(
    (waiting(1, ANNA, 2),),
    View(
        NOW_S,
        Capacity(gpus(2), places=9),
        (holding(10, ANNA, Demand(1), G0), holding(11, BERT, Demand(1), G1)),
        quota=Quota(gpus=2),
    ),
)
OVER_BOTH_QUOTAS = Situation(
    (waiting(1, ANNA, 1),),
    View(
        NOW_S,
        Capacity(gpus(3), places=9),
        (holding(10, ANNA, Demand(0), limit_s=1500.0), holding(11, ANNA, Demand(2), G0, G1)),
        quota=Quota(gpus=2, jobs=2),
    ),
)
OTHER_GPUS_SLOTS = Situation(
    (waiting(1, ANNA, Demand(slots=2)),),
    View(
        NOW_S,
        Capacity(gpus(2), slots_per_gpu=2, places=9),
        (
            holding(10, BERT, Demand(slots=1), G0, limit_s=1100.0),
            holding(11, BERT, Demand(slots=1), G1, limit_s=1200.0),
            holding(12, CLEO, Demand(slots=1), G0, limit_s=1900.0),
            holding(13, CLEO, Demand(slots=1), G1, limit_s=1800.0),
        ),
    ),
)
TENTHS_OF_CORES = Situation(
    (waiting(1, ANNA, Demand(0, cpus=0.3)),),
    View(
        NOW_S, Capacity(places=9, cpus=0.3), (holding(10, BERT, Demand(cpus=0.1)), holding(11, BERT, Demand(cpus=0.2)))
    ),
)
AN_OLDER_ONE_HAS_JUST_STARTED = Situation(
    (
        waiting(1, BERT, Demand(slots=1), limit_s=60.0),
        waiting(2, BERT, Demand(slots=1), limit_s=400.0),
        waiting(3, ANNA, 1, since_s=1.0, limit_s=60.0),
    ),
    View(NOW_S, Capacity(gpus(1), slots_per_gpu=2, places=2), overdue_s=300.0),
)
AN_OLDER_ONE_IS_OVER_QUOTA = Situation(
    (waiting(1, BERT, 2), waiting(2, BERT, 1), waiting(3, ANNA, 2, since_s=1.0)),
    View(
        NOW_S,
        Capacity(gpus(3), places=9),
        (holding(10, BERT, Demand(1), G0), holding(11, CLEO, Demand(1), G1)),
        quota=Quota(gpus=2),
        overdue_s=300.0,
    ),
)


@given(situations())
@example(OVER_QUOTA_AND_FULL)
@example(OVER_BOTH_QUOTAS)
@example(OTHER_GPUS_SLOTS)
@example(TENTHS_OF_CORES)
def test_the_reason_is_true_without_whom_it_names_the_job_starts(case: Situation) -> None:
    for job, decision, answer in answers(case):
        if answer.reason.code != "never_fits":
            holders = frozenset(it.id for it in decision.holding)
            assert starts_if_only(job, as_named(answer, decision), holders - set(answer.waits_for))


@given(situations())
def test_a_job_that_waits_for_withheld_gpus_starts_by_nobodys_end(case: Situation) -> None:
    for job, decision, answer in answers(case):
        if answer.reason.code == "gpus_withheld":
            assert not starts_if_only(job, decision, frozenset())


@given(situations())
@example(OVER_QUOTA_AND_FULL)
@example(OVER_BOTH_QUOTAS)
@example(OTHER_GPUS_SLOTS)
def test_none_whom_a_reason_names_is_superfluous(case: Situation) -> None:
    for job, decision, answer in answers(case):
        holders = frozenset(it.id for it in decision.holding)
        for named in answer.waits_for:
            left = holders - set(answer.waits_for) | {named}
            assert not starts_if_only(job, as_named(answer, decision), left)


@given(situations())
@example(AN_OLDER_ONE_HAS_JUST_STARTED)
@example(AN_OLDER_ONE_IS_OVER_QUOTA)
def test_a_job_behind_a_reservation_waits_for_that_and_for_nobody_who_came_later(case: Situation) -> None:
    jobs = {job.id: job for job in case.jobs}
    for job, decision, answer in answers(case):
        if answer.behind is not None:
            first = jobs[answer.behind]
            both = queue_of([job, first], turns=turns_of_two(case, decision, job, first))
            again = decide(both, replace(case.view, holding=decision.holding))
            assert not again.starts
            assert why(job, again).behind == answer.behind


@given(situations())
@example(AN_OLDER_ONE_HAS_JUST_STARTED)
@example(AN_OLDER_ONE_IS_OVER_QUOTA)
def test_a_job_that_ends_in_time_may_pass_a_reservation_as_its_reason_says(case: Situation) -> None:
    jobs = {job.id: job for job in case.jobs}
    for job, decision, answer in answers(case):
        if answer.behind is not None:
            view = replace(case.view, holding=decision.holding)
            first = jobs[answer.behind]
            turns = turns_of_two(case, decision, job, first)
            (promised,) = decide(queue_of([job, first], turns=turns), view).reservations.values()
            in_time = replace(job, limit_s=promised.at_s - NOW_S)
            assert [it.job for it in decide(queue_of([in_time, first], turns=turns), view).starts] == [job.id]


@given(situations())
def test_what_is_waited_for_is_over_when_the_reason_says(case: Situation) -> None:
    """All limits hold from now on, and nothing else starts: then the job could, at that moment."""
    for job, decision, answer in answers(case):
        if answer.at_s is None:
            assert answer.reason.code in {"never_fits", "gpus_withheld"}
        elif answer.waits_for:
            left = frozenset(it.id for it in decision.holding if it.until_s(NOW_S) > answer.at_s)
            assert starts_if_only(job, decision, left)


def test_a_job_is_behind_a_reservation_though_it_came_before_if_its_turn_is_not_due() -> None:
    """Else the examples above would show nothing."""
    for case in (AN_OLDER_ONE_HAS_JUST_STARTED, AN_OLDER_ONE_IS_OVER_QUOTA):
        (answer,) = (answer for job, _, answer in answers(case) if job.id == 2)
        assert answer.behind == 3


def test_whoever_is_over_their_quota_hears_of_others_in_the_way_too() -> None:
    _, _, answer = answers(OVER_QUOTA_AND_FULL)[0]
    assert answer.reason.code == "quota"
    assert set(answer.waits_for) == {10, 11}
    assert "your own job 10: one user may have 2 GPUs at once" in answer.reason.sentence
    assert "job 11 of bert has 1 GPU" in answer.reason.sentence


def test_a_quota_names_none_of_ones_own_jobs_that_would_not_help() -> None:
    _, _, answer = answers(OVER_BOTH_QUOTAS)[0]
    assert answer.waits_for == (11,)


def test_slots_of_one_gpu_are_told_from_slots_of_two() -> None:
    _, _, answer = answers(OTHER_GPUS_SLOTS)[0]
    assert answer.waits_for == (11, 13)
    assert answer.at_s == 1800.0


def test_a_reason_never_speaks_of_a_moment_that_is_over() -> None:
    outlived = holding(10, BERT, Demand(1), G0, since_s=0.0, limit_s=10.0)
    case = Situation((waiting(1),), View(NOW_S, Capacity(gpus(1), places=9), (outlived,)))
    _, _, answer = answers(case)[0]
    assert answer.at_s is not None
    assert NOW_S < answer.at_s < math.inf
