"""Places in the queue as people are told them."""

from __future__ import annotations

from dopq.job import GpuId, JobId, UserName
from dopq.lines import Waiting
from dopq.queue_model import View, decide
from dopq.reservation import Holding
from dopq.room import Capacity, Demand
from dopq.standing import Standing
from tests.queues import ANNA, BERT, CLEO, HOLD, NOW_S, gpus, queue_of, waiting

CPU = Demand(0)


def positions(capacity: Capacity, jobs: list[Waiting], *held: Holding, aside: JobId | None = None) -> list[JobId]:
    queue = queue_of(jobs, {aside: HOLD} if aside is not None else None)
    decision = decide(queue, View(NOW_S, capacity, held))
    assert not decision.starts
    standing = Standing(queue, decision)
    places = {job.id: standing.position(job.id) for job in jobs}
    return sorted(places, key=lambda job_id: places[job_id] or 0)


def held_by(user: UserName, demand: Demand, *on: GpuId) -> Holding:
    return Holding(JobId(9), user, demand, frozenset(on), 0.0, 5000.0)


def test_jobs_on_the_cpu_count_as_turns_in_the_places_too() -> None:
    """Among equals whoever holds less is next, and will be started so: a job without GPUs counts as one that has one."""
    jobs = [waiting(1, ANNA, CPU, since_s=1.0), waiting(2, BERT, CPU, since_s=2.0)]
    assert positions(Capacity(places=1), jobs, held_by(ANNA, CPU)) == [JobId(2), JobId(1)]


def test_whatever_can_never_run_is_told_to_come_after_all_that_can() -> None:
    one = gpus(1)
    jobs = [waiting(1, ANNA, 8, since_s=1.0), waiting(2, ANNA, 1, since_s=2.0), waiting(3, BERT, 1, since_s=3.0)]
    busy = held_by(CLEO, Demand(1), *one)
    assert positions(Capacity(one, places=4), jobs, busy) == [JobId(2), JobId(3), JobId(1)]


def test_what_is_set_aside_comes_last() -> None:
    one = gpus(1)
    jobs = [waiting(1, ANNA, 1), waiting(2, ANNA, 8), waiting(3, BERT, 1)]
    busy = held_by(CLEO, Demand(1), *one)
    assert positions(Capacity(one, places=4), jobs, busy, aside=JobId(1)) == [JobId(3), JobId(2), JobId(1)]
