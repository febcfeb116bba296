"""What the queue promises, for any queue: one answer each, nothing handed out twice, fair turns, true reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dopq.job import GpuId, JobId, Reason, UserName
from dopq.queue_model import Decision, Hold, Holding, Snapshot, Start, Waiting, decide

USERS = [UserName(name) for name in ("anna", "bert", "cleo", "dave")]
LOCKED = Reason("locked", "olga locked the queue.")


@st.composite
def snapshots(
    draw: st.DrawFn, *, sizes: st.SearchStrategy[int] | None = None, stopped: bool = False, max_jobs: int = 12
) -> Snapshot:
    """Any legal view: GPUs held at most once, some of them perhaps of GPUs that the node has lost meanwhile."""
    gpus = [GpuId(f"GPU-{n}") for n in range(draw(st.integers(0, 6)))]
    lost = [GpuId(f"GPU-lost-{n}") for n in range(draw(st.integers(0, 1)))]
    holding, free = [], draw(st.permutations([*gpus, *lost]))
    for number in range(draw(st.integers(0, 3))):
        count = draw(st.integers(0, len(free)))
        holding.append(Holding(JobId(1000 + number), draw(st.sampled_from(USERS)), frozenset(free[:count])))
        free = free[count:]
    waiting = [
        Waiting(
            JobId(number),
            draw(st.sampled_from(USERS)),
            draw(sizes if sizes is not None else st.integers(0, 8)),
            draw(st.integers(-2, 2)),
            draw(st.sampled_from([0.0, 1.0, 2.5, 1e9])),
        )
        for number in range(draw(st.integers(0, max_jobs)))
    ]
    return Snapshot(
        waiting=tuple(waiting),
        holding=tuple(holding),
        gpus=frozenset(gpus),
        max_running=draw(st.integers(0, 8)),
        penalty=draw(st.dictionaries(st.sampled_from(USERS), st.sampled_from([0.0, 1.0, 7.5, 1e6]))),
        stopped=LOCKED if stopped else None,
    )


def starts(decisions: Sequence[Decision]) -> dict[JobId, frozenset[GpuId]]:
    return {d.job: d.gpus for d in decisions if isinstance(d, Start)}


def holds(decisions: Sequence[Decision]) -> dict[JobId, Reason]:
    return {d.job: d.reason for d in decisions if isinstance(d, Hold)}


def free_gpus(view: Snapshot) -> frozenset[GpuId]:
    return view.gpus.difference(*(h.gpus for h in view.holding))


def waiting(number: int, user: UserName, gpus: int = 1, *, priority: int = 0, since_s: float = 0.0) -> Waiting:
    return Waiting(JobId(number), user, gpus, priority, since_s)


# --- answers ---


@given(snapshots() | snapshots(stopped=True))
def test_every_waiting_job_gets_exactly_one_answer(view: Snapshot) -> None:
    assert Counter(d.job for d in decide(view)) == Counter(job.id for job in view.waiting)


@given(snapshots())
def test_no_gpu_is_handed_out_twice_and_none_that_is_not_free(view: Snapshot) -> None:
    given_out = [gpu for gpus in starts(decide(view)).values() for gpu in gpus]
    assert len(given_out) == len(set(given_out))
    assert set(given_out) <= free_gpus(view)


@given(snapshots())
def test_a_job_gets_as_many_gpus_as_it_asked_for(view: Snapshot) -> None:
    asked = {job.id: job.gpus for job in view.waiting}
    assert all(len(gpus) == asked[job] for job, gpus in starts(decide(view)).items())


@given(snapshots())
def test_no_more_jobs_occupy_the_node_than_it_has_places(view: Snapshot) -> None:
    started = len(starts(decide(view)))
    assert started == 0 or started + len(view.holding) <= view.max_running


@given(snapshots(), st.randoms(use_true_random=False))
def test_the_order_of_the_input_is_irrelevant(view: Snapshot, random: object) -> None:
    shuffled = list(view.waiting)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    others = tuple(reversed(view.holding))
    assert decide(replace(view, waiting=tuple(shuffled), holding=others)) == decide(view)


# --- order ---


@given(snapshots())
def test_one_users_jobs_of_one_priority_stand_in_the_order_in_which_they_came(view: Snapshot) -> None:
    place = {d.job: number for number, d in enumerate(decide(view))}
    for user in USERS:
        mine = [job for job in view.waiting if job.user == user]
        came = sorted(mine, key=lambda job: (-job.priority, job.queued_at_s, job.id))
        assert [place[job.id] for job in came] == sorted(place[job.id] for job in mine)


@given(snapshots(sizes=st.just(1)))
def test_among_jobs_of_one_size_none_of_a_user_overtakes_another_of_the_same_user(view: Snapshot) -> None:
    started = starts(decide(view))
    for user in USERS:
        mine = [job for job in view.waiting if job.user == user]
        came = sorted(mine, key=lambda job: (-job.priority, job.queued_at_s, job.id))
        begun = [job.id in started for job in came]
        assert begun == sorted(begun, reverse=True)


@given(snapshots())
def test_whoever_has_the_smaller_penalty_goes_first(view: Snapshot) -> None:
    user_of = {job.id: job.user for job in view.waiting}
    penalties = [view.penalty.get(user_of[d.job], 0.0) for d in decide(view)]
    assert penalties == sorted(penalties)


@given(snapshots(), st.sampled_from(USERS))
def test_a_greater_penalty_never_brings_a_user_forward(view: Snapshot, user: UserName) -> None:
    worse = replace(view, penalty={**view.penalty, user: view.penalty.get(user, 0.0) + 1.0})
    before = {d.job: place for place, d in enumerate(decide(view))}
    after = {d.job: place for place, d in enumerate(decide(worse))}
    mine = sorted(job.id for job in view.waiting if job.user == user)
    assert all(after[job] >= before[job] for job in mine)


@given(snapshots(), st.sampled_from(USERS), st.integers(0, 8))
def test_another_users_extra_job_never_brings_mine_forward(view: Snapshot, other: UserName, gpus: int) -> None:
    extra = Waiting(JobId(999), other, gpus, priority=-9, queued_at_s=2e9)  # at the end of the other's own line
    before = [d.job for d in decide(view)]
    after = [d.job for d in decide(replace(view, waiting=(*view.waiting, extra)))]
    places = {job: place for place, job in enumerate(before)}
    assert [job for job in after if job != extra.id] == before
    assert all(after.index(job) >= places[job] for job in before)


@given(snapshots(sizes=st.just(1)), st.sampled_from(USERS))
def test_another_users_extra_job_never_starts_mine(view: Snapshot, other: UserName) -> None:
    extra = Waiting(JobId(999), other, 1, priority=-9, queued_at_s=2e9)
    before = starts(decide(view))
    after = starts(decide(replace(view, waiting=(*view.waiting, extra))))
    assert set(after) - {extra.id} <= set(before)


@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 12))
def test_equal_users_take_turns(annas: int, berts: int, free: int) -> None:
    jobs = [waiting(n, USERS[0]) for n in range(annas)] + [waiting(100 + n, USERS[1]) for n in range(berts)]
    gpus = frozenset(GpuId(f"GPU-{n}") for n in range(free))
    started = starts(decide(Snapshot(tuple(jobs), (), gpus, max_running=100)))
    count = Counter(USERS[0] if job < 100 else USERS[1] for job in started)
    short = min(annas, berts)
    if free <= 2 * short:  # both still have jobs: neither is ahead by more than one
        assert abs(count[USERS[0]] - count[USERS[1]]) <= 1
    else:
        assert min(count[USERS[0]], count[USERS[1]]) == short


def test_among_equals_whoever_holds_fewer_gpus_goes_first() -> None:
    gpus = frozenset(GpuId(f"GPU-{n}") for n in range(3))
    holding = (Holding(JobId(1), USERS[0], frozenset({GpuId("GPU-0"), GpuId("GPU-1")})),)
    view = Snapshot((waiting(2, USERS[0], since_s=1.0), waiting(3, USERS[1], since_s=2.0)), holding, gpus, 10)
    assert list(starts(decide(view))) == [JobId(3)]


def test_a_job_that_can_never_run_takes_no_turn_from_its_users_other_jobs() -> None:
    gpus = frozenset({GpuId("GPU-0"), GpuId("GPU-1")})
    annas = [waiting(1, USERS[0], gpus=50, since_s=1.0), waiting(2, USERS[0], since_s=2.0)]
    berts = [waiting(n, USERS[1], since_s=float(n)) for n in range(3, 9)]
    assert set(starts(decide(Snapshot((*annas, *berts), (), gpus, 100)))) == {JobId(2), JobId(3)}


# --- reasons ---


@given(snapshots())
def test_a_job_that_can_never_run_here_is_told_so_and_no_other_is(view: Snapshot) -> None:
    too_big = {job.id for job in view.waiting if job.gpus > len(view.gpus)}
    assert {job for job, reason in holds(decide(view)).items() if reason.code == "never_fits"} == too_big


@given(snapshots())
def test_something_starts_whenever_something_may(view: Snapshot) -> None:
    decisions = decide(view)
    given_out = starts(decisions)
    left = len(free_gpus(view)) - sum(len(gpus) for gpus in given_out.values())
    places = view.max_running - len(view.holding) - len(given_out)
    asked = {job.id: job.gpus for job in view.waiting}
    for job, reason in holds(decisions).items():
        assert places <= 0 or asked[job] > left, f"{reason} holds job {job}, which would fit"


@given(snapshots(stopped=True))
def test_nothing_starts_while_the_queue_is_stopped_and_everybody_is_told_why(view: Snapshot) -> None:
    reasons = holds(decide(view))
    assert len(reasons) == len(view.waiting)
    assert {reason.code for reason in reasons.values()} <= {"locked", "never_fits"}


@given(snapshots())
def test_a_job_held_for_gpus_starts_when_they_are_freed_and_nobody_is_ahead(view: Snapshot) -> None:
    waits = [job for job, reason in holds(decide(view)).items() if reason.code == "waits_for_gpus"]
    assume(waits)
    for job in view.waiting:
        if job.id in waits:
            freed = replace(view, waiting=(job,), holding=(), max_running=1)
            assert set(starts(decide(freed))) == {job.id}


@given(snapshots())
def test_a_job_held_for_a_place_starts_when_there_is_one_and_gpus_are_free(view: Snapshot) -> None:
    reasons = holds(decide(view))
    asked = {job.id: job.gpus for job in view.waiting}
    waits = [job for job, reason in reasons.items() if reason.code == "waits_for_place"]
    roomy = replace(view, waiting=tuple(job for job in view.waiting if job.id in waits), max_running=1000)
    after = decide(roomy)
    left = len(free_gpus(view)) - sum(len(gpus) for gpus in starts(after).values())
    assert all(asked[job] > left for job in holds(after))


@given(snapshots(max_jobs=4))
def test_the_reason_names_every_holder_of_gpus(view: Snapshot) -> None:
    for reason in holds(decide(view)).values():
        if reason.code == "waits_for_gpus":
            for holder in view.holding:
                named = f"job {holder.id} of {holder.user} holds {len(holder.gpus)}" in reason.sentence
                assert named == bool(holder.gpus)


@pytest.mark.parametrize(
    ("gpus", "sentence"),
    [
        (1, "Waits for 1 GPU, 0 free; job 7 of bert holds 2."),
        (2, "Waits for 2 GPUs, 0 free; job 7 of bert holds 2."),
        (3, "Asks for 3 GPUs, this node has 2: it can never run here."),
    ],
)
def test_a_reason_is_a_sentence_for_people(gpus: int, sentence: str) -> None:
    both = frozenset({GpuId("GPU-0"), GpuId("GPU-1")})
    view = Snapshot((waiting(8, USERS[0], gpus),), (Holding(JobId(7), USERS[1], both),), both, 10)
    assert holds(decide(view))[JobId(8)].sentence == sentence
