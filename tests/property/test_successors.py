"""What is foreseen is what happens, if nothing else does."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from dopq.config import QueueSettings
from dopq.job import Job, Reason, StateName, gpus_held, lease_of, work_of
from dopq.queue_model import Start, decide
from dopq.room import Capacity
from dopq.successors import first_distinct, successors
from tests.platforms import ANNA, BERT, OLGA, Home, gpu
from tests.queues import Situation, situations

ROOM = Capacity(frozenset(gpu(n) for n in range(3)), places=4)
MEMORY = Path("/dev/shm")  # on a disk, thousands of commits would wait for it
WHY = Reason("because", "Because.")
FOREVER = 1000

wishes = st.lists(
    st.fixed_dictionaries(
        {
            "user": st.sampled_from([ANNA, BERT, OLGA]),
            "gpus": st.sampled_from([0, 1, 1, 1, 2, 3]),
            "priority": st.sampled_from([0, 0, 5]),
            "time_limit_s": st.integers(60, 100_000),
        }
    ),
    min_size=1,
    max_size=12,
)


def begun(home: Home) -> list[Job]:
    """Those that start at this moment."""
    return [home.platform.begin(it.job, it.gpus) for it in home.platform.decide(ROOM).starts]


def first_to_leave(jobs: list[Job]) -> Job:
    def end_s(job: Job) -> float:
        lease, work = lease_of(job.state), work_of(job.state)
        assert lease is not None
        assert work is not None
        assert work.spec.time_limit_s is not None
        return lease.since.timestamp() + work.spec.time_limit_s

    return min(jobs, key=end_s)


def as_told(jobs: list[Job]) -> list[tuple[object, ...]]:
    return [(job.id, gpus_held(job.state), work_of(job.state)) for job in jobs]


@settings(max_examples=60, deadline=None)
@given(wishes, st.sampled_from(["fairshare", "recency", "fifo"]), st.integers(0, 5000))
def test_what_is_foreseen_is_what_starts_when_that_job_leaves_and_nothing_else_happens(
    jobs: list[Any], policy: Any, after_s: int
) -> None:
    with tempfile.TemporaryDirectory(prefix="dopq-successors-", dir=MEMORY if MEMORY.is_dir() else None) as folder:
        home = Home(Path(folder), QueueSettings(policy=policy))
        for each in jobs:
            home.queued(**each)
            home.clock.advance(1)
        began = begun(home)
        home.clock.advance(after_s)
        assert begun(home) == []
        foreseen = home.platform.foresee(1)
        if began:
            leaving = first_to_leave(began)
            home.platform.finish(leaving.id, StateName.FAILED, WHY, at=home.clock.now())
            assert as_told(foreseen) == as_told(begun(home))[:1]
        home.close()


@settings(max_examples=30, deadline=None)
@given(wishes, st.integers(0, 6))
def test_no_more_are_foreseen_than_were_asked_for_and_none_while_the_queue_is_stopped(
    jobs: list[Any], most: int
) -> None:
    with tempfile.TemporaryDirectory(prefix="dopq-successors-", dir=MEMORY if MEMORY.is_dir() else None) as folder:
        home = Home(Path(folder))
        assert home.platform.foresee(most) == []
        for each in jobs:
            home.queued(**each)
        begun(home)
        home.platform.decide(ROOM)
        foreseen = home.platform.foresee(most)
        assert len(foreseen) <= most
        assert all(isinstance(job.state.name, StateName) and lease_of(job.state) for job in foreseen)
        assert all(home.platform.job(job.id).state.name is StateName.QUEUED for job in foreseen)
        home.platform.drain("olga", "a test")
        assert home.platform.foresee(most) == []
        home.close()


@given(situations().filter(lambda case: case.view.holding))
def test_whoever_leaves_the_answer_is_that_of_the_queue_without_them(case: Situation) -> None:
    queue = case.queue()
    for leaving in case.view.holding:
        left = tuple(it for it in case.view.holding if it.id != leaving.id)
        assert successors(queue, case.view, leaving.id) == decide(case.queue(), replace(case.view, holding=left)).starts
        assert list(queue) == list(case.queue())


starts = st.lists(st.lists(st.builds(Start, st.integers(1, 5), st.frozensets(st.sampled_from("abc"), max_size=2))))


@given(starts, st.integers(0, 6))
def test_the_first_of_several_answers_are_told_once_each(answers: list[list[Start]], most: int) -> None:
    told = first_distinct(answers, most)
    every = list(dict.fromkeys(start for answer in answers for start in answer))
    assert list(told) == every[:most]
