"""Jobs that share a GPU: from the decision to the account, also where the size of a slot changes under them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dopq.config import GpuSettings
from dopq.errors import WrongState
from dopq.job import Job, Queued, lease_of
from dopq.room import Capacity
from tests.platforms import ANNA, BERT, OLGA, Home, gpu


def parted(slots: int) -> Capacity:
    """One GPU of so many slots."""
    return Capacity(frozenset({gpu(0)}), slots_per_gpu=slots, places=9)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path, gpu=GpuSettings(slots_per_gpu=4))
    yield home
    home.platform.assert_consistent()
    home.close()


def schedule(home: Home, slots_per_gpu: int = 4) -> list[int]:
    """One round of the scheduler; who was started."""
    starts = home.platform.decide(parted(slots_per_gpu)).starts
    for start in starts:
        home.platform.begin(start.job, start.gpus)
    return [start.job for start in starts]


def waits(home: Home, job: Job) -> bool:
    return isinstance(home.platform.job(job.id).state, Queued)


def test_jobs_share_a_gpu_as_long_as_their_slots_fit(home: Home) -> None:
    first, second, third = (home.queued(user, gpus=1, slots=slots) for user, slots in ((ANNA, 3), (BERT, 1), (OLGA, 1)))
    assert sorted(schedule(home)) == [first.id, second.id]
    assert waits(home, third)
    for job in (first, second):
        lease = lease_of(home.platform.job(job.id).state)
        assert lease is not None
        assert lease.gpus == {gpu(0)}


def test_a_whole_gpu_is_not_shared(home: Home) -> None:
    home.running(ANNA, frozenset({gpu(0)}))
    home.queued(BERT, gpus=1, slots=1)
    assert schedule(home) == []


def test_slots_that_were_given_away_since_the_decision_are_refused(home: Home) -> None:
    home.platform.begin(home.queued(ANNA, gpus=1, slots=3).id, frozenset({gpu(0)}))
    late = home.queued(BERT, gpus=1, slots=2)
    with pytest.raises(WrongState, match="GPU-0 is held"):
        home.platform.begin(late.id, frozenset({gpu(0)}))


def test_a_part_of_a_gpu_is_charged_and_told_as_a_part(home: Home) -> None:
    shared = home.queued(ANNA, gpus=1, slots=1)
    schedule(home)
    home.clock.advance(100.0)
    told = home.platform.describe([home.platform.job(shared.id)])[0]
    assert (told["num_gpus"], told["num_slots"], told["gpus"], told["gpu_seconds"]) == (1, 1, [gpu(0)], 25.0)
    usage = {row["user"]: row["usage_gpu_seconds"] for row in home.platform.get_user_statistics()}
    assert usage[ANNA] == pytest.approx(25.0, rel=1e-3)


def test_a_whole_gpu_is_told_with_all_its_slots(home: Home) -> None:
    assert home.platform.describe([home.queued(ANNA, gpus=1)])[0]["num_slots"] == 4


@pytest.mark.parametrize(
    ("slots_now", "fits"),
    [(2, True), (3, True), (8, True), (1, False)],
)
def test_what_runs_keeps_its_part_when_the_size_of_a_slot_changes(home: Home, slots_now: int, fits: bool) -> None:
    """One of four slots is one of two, one of three, and two of eight; of a GPU that is not parted any more it is all."""
    home.queued(ANNA, gpus=1, slots=1)
    schedule(home)
    home.restart(gpu=GpuSettings(slots_per_gpu=slots_now))
    late = home.queued(BERT, gpus=1, slots=1 if slots_now > 1 else None)
    assert schedule(home, slots_now) == ([late.id] if fits else [])
    home.platform.assert_consistent()


def test_larger_slots_are_never_given_twice(home: Home) -> None:
    for _ in range(2):
        home.queued(ANNA, gpus=1, slots=2)
    schedule(home)
    home.restart(gpu=GpuSettings(slots_per_gpu=3))
    home.queued(BERT, gpus=1, slots=1)
    assert schedule(home, 3) == [], "two halves are all of it, of whatever size its slots are"


def test_a_job_that_waits_for_more_slots_than_there_are_by_now_says_so(home: Home) -> None:
    job = home.queued(ANNA, gpus=1, slots=3)
    home.restart(gpu=GpuSettings(slots_per_gpu=2))
    assert schedule(home, 2) == []
    reason = home.platform.describe([home.platform.job(job.id)])[0]["reason"]
    assert "3 slots" in reason["sentence"]
