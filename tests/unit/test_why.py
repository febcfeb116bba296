"""Reasons as people read them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dopq.job import JobId, UserName
from dopq.lines import Waiting
from dopq.queue_model import Quota, View, decide
from dopq.reservation import Holding
from dopq.room import Capacity, Demand
from dopq.why import Why, duration, why
from tests.queues import ANNA, BERT, CLEO, HOLD, LOCKED, gpus, queue_of, waiting

G0, G1 = sorted(gpus(2))
HOUR_S = 3600.0
GIB = 2**30
TWO_GPUS = Capacity(gpus(2), slots_per_gpu=4, places=3, cpus=8.0, memory_bytes=32 * GIB)


def holding(number: int, user: UserName, demand: Demand, *on: str, hours: float = 3.0) -> Holding:
    return Holding(JobId(number), user, demand, frozenset(on), 0.0, hours * HOUR_S)  # type: ignore[arg-type]


def answer(job: Waiting, *held: Holding, quota: Quota | None = None, capacity: Capacity = TWO_GPUS) -> Why:
    view = View(0.0, capacity, held, quota=quota or Quota())
    decision = decide(queue_of([job]), view)
    assert not decision.starts
    return why(job, decision)


@pytest.mark.parametrize(
    ("demand", "sentence"),
    [
        (Demand(3), "Asks for 3 GPUs, this node has 2: it can never run here."),
        (Demand(slots=5), "Asks for 5 slots of a GPU, this node has 4: it can never run here."),
        (Demand(cpus=9.5), "Asks for 9.5 cores, this node has 8: it can never run here."),
        (
            Demand(4, memory_bytes=64 * GIB),
            "Asks for 4 GPUs, this node has 2 and 64 GiB, this node has 32 GiB: it can never run here.",
        ),
    ],
)
def test_what_can_never_run_is_told_apart(demand: Demand, sentence: str) -> None:
    told = answer(waiting(1, demand=demand))
    assert (told.reason.code, told.reason.sentence) == ("never_fits", sentence)
    assert (told.waits_for, told.behind, told.at_s) == ((), None, None)


@pytest.mark.parametrize(
    ("demand", "quota", "sentence"),
    [
        (Demand(2), Quota(gpus=1), "Asks for 2 GPUs, one user may have 1 GPU at once: it can never run here."),
        (
            Demand(slots=2),
            Quota(gpus=0.25),
            "Asks for 2 slots of a GPU, one user may have 0.25 GPUs at once: it can never",
        ),
        (Demand(), Quota(jobs=0), "Asks for a place, one user may have no jobs at once: it can never run here."),
    ],
)
def test_what_is_more_than_one_user_may_ever_hold_can_never_run(demand: Demand, quota: Quota, sentence: str) -> None:
    told = answer(waiting(1, demand=demand), quota=quota)
    assert told.reason.code == "never_fits"
    assert told.reason.sentence.startswith(sentence)


def test_a_node_without_places_runs_nothing() -> None:
    told = answer(waiting(1, demand=0), capacity=replace(TWO_GPUS, places=0))
    assert told.reason.sentence == "This node runs no jobs: it can never run here."


@pytest.mark.parametrize(
    ("demand", "held", "code", "sentence"),
    [
        (
            Demand(2),
            (holding(7, BERT, Demand(1), G0, hours=1.5),),
            "waits_for_gpus",
            "Waits for 2 GPUs, 1 free: job 7 of bert has 1 GPU for 1 h 30 min at most.",
        ),
        (
            Demand(slots=3),
            (holding(7, BERT, Demand(1), G0), holding(8, CLEO, Demand(slots=2), G1, hours=1)),
            "waits_for_gpus",
            "Waits for 3 slots of one GPU, 2 free: job 8 of cleo has 2 slots for 1 h at most.",
        ),
        (
            Demand(),
            tuple(holding(number, BERT, Demand(), hours=number) for number in (7, 8, 9)),
            "waits_for_place",
            "Waits for a place, all 3 are taken: job 7 of bert has a place for 7 h at most.",
        ),
    ],
)
def test_a_job_is_told_what_it_lacks_and_who_holds_it_until_when(
    demand: Demand, held: tuple[Holding, ...], code: str, sentence: str
) -> None:
    told = answer(waiting(1, demand=demand), *held)
    assert (told.reason.code, told.reason.sentence) == (code, sentence)


def test_cores_and_memory_have_codes_of_their_own() -> None:
    cores = answer(waiting(1, demand=Demand(cpus=4)), holding(7, BERT, Demand(cpus=6)))
    memory = answer(waiting(1, demand=Demand(memory_bytes=20 * GIB)), holding(7, BERT, Demand(memory_bytes=16 * GIB)))
    assert (cores.reason.code, memory.reason.code) == ("waits_for_cpus", "waits_for_memory")
    assert cores.reason.sentence.startswith("Waits for 4 cores, 2 free: job 7 of bert has ")
    assert memory.reason.sentence.startswith("Waits for 20 GiB of memory, 16 GiB free: job 7 of bert has ")


def test_a_quota_names_the_users_own_jobs() -> None:
    own = (holding(7, ANNA, Demand(1), G0, hours=2), holding(8, ANNA, Demand(), hours=5))
    told = answer(waiting(1, ANNA), *own, quota=Quota(gpus=1))
    assert told == Why(told.reason, waits_for=(JobId(7),), at_s=2 * HOUR_S)
    assert told.reason.sentence == "Waits for your own job 7: one user may have 1 GPU at once."
    assert answer(waiting(1, ANNA), *own, quota=Quota(jobs=1)).reason.sentence == (
        "Waits for your own jobs 7, 8: one user may have 1 job at once."
    )


def test_a_job_that_would_delay_a_promise_is_told_whose_and_how_it_could_pass() -> None:
    big, small = waiting(1, BERT, 2), waiting(2, CLEO, 1, since_s=1.0, limit_s=9 * HOUR_S)
    view = View(2.0, TWO_GPUS, (holding(7, ANNA, Demand(1), G0),))
    decision = decide(queue_of([big, small]), view)
    told = why(small, decision)
    assert (told.reason.code, told.behind, told.waits_for, told.at_s) == ("reserved", 1, (), 3 * HOUR_S)
    assert told.reason.sentence == (
        "Fits now, but job 1 of bert is next and is to start in 2 h 59 min at the latest; "
        "a job with a time limit below that may pass it."
    )
    overdue = why(small, decide(queue_of([big, small]), replace(view, overdue_s=1.0)))
    assert "job 1 of bert is overdue and is to start" in overdue.reason.sentence


def test_what_stops_a_job_of_its_own_goes_before_what_stops_all_and_both_before_gpus() -> None:
    job = waiting(1)
    view = View(0.0, TWO_GPUS, (holding(7, BERT, Demand(2), G0, G1),), stopped=LOCKED)
    decision = decide(queue_of([job]), view)
    assert why(job, decision, HOLD).reason == HOLD
    assert why(job, decision).reason == LOCKED
    assert why(waiting(2, demand=9), decision, HOLD).reason.code == "never_fits"


def test_a_job_that_came_after_the_decision_hears_that_the_next_one_is_being_made() -> None:
    told = why(waiting(5), decide(queue_of([]), View(0.0, TWO_GPUS)))
    assert told == Why(told.reason)
    assert told.reason.code == "undecided"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "0 s"),
        (-5.0, "0 s"),
        (0.4, "0 s"),
        (59.6, "1 min"),
        (3600.0, "1 h"),
        (3725.0, "1 h 2 min"),
        (86400.0 + 59, "1 d 59 s"),
        (2 * 86400 + 3 * 3600 + 4 * 60.0, "2 d 3 h"),
    ],
)
def test_a_span_is_told_as_people_say_it(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_what_no_float_holds_exactly_is_not_told_to_lack() -> None:
    """1.0 - 0.3 - 0.3 is a little less than 0.4: what lacks is memory."""
    held = [holding(number, BERT, Demand(cpus=0.3, memory_bytes=GIB)) for number in (8, 9)]
    told = answer(
        waiting(1, demand=Demand(cpus=0.4, memory_bytes=GIB)),
        *held,
        capacity=Capacity(places=9, cpus=1.0, memory_bytes=2 * GIB),
    )
    assert told.reason.code == "waits_for_memory"
