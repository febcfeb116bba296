"""A job that is tried again: after faults of ours only, after a while, and free of charge."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from dopq.job import Actor, Job, JobId, Queued, Reason, StateName, Stopping, gpus_held, lease_of
from dopq.room import Capacity
from tests.platforms import ANNA, Home, gpu

GPUS = frozenset({gpu(0)})
ROOM = Capacity(GPUS, places=1)
GONE = Reason("container_gone", "Its container is gone.")
REFUSED = Reason("start_failed", "The engine would not.")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path)
    yield home
    home.platform.assert_consistent()
    home.close()


def running(home: Home, retries: int) -> Job:
    return run(home, home.queued(gpus=1, retries=retries).id)


def run(home: Home, job: JobId) -> Job:
    home.platform.begin(job, GPUS)
    return home.platform.mark_running(job, home.clock.now())


def starts(home: Home) -> list[JobId]:
    return [start.job for start in home.platform.decide(ROOM).starts]


def test_it_is_back_in_the_queue_without_gpus_and_rests_before_its_next_attempt(home: Home) -> None:
    job = running(home, retries=1)
    again = home.platform.try_again(job.id, GONE)
    assert again is not None
    assert isinstance(again.state, Queued)
    assert gpus_held(again.state) == frozenset()
    assert starts(home) == []
    [told] = home.platform.describe([again])
    assert told["reason"]["code"] == "waits_to_retry"
    assert told["reason"]["sentence"].startswith("Attempt 1 failed: Its container is gone. It is tried again at ")
    home.clock.advance(29)
    assert starts(home) == []
    home.clock.advance(1)
    assert starts(home) == [job.id]
    lease = lease_of(run(home, job.id).state)
    assert lease is not None
    assert lease.attempt == 2


def test_each_rest_is_twice_the_one_before_and_after_the_last_retry_it_ends(home: Home) -> None:
    job, rests = running(home, retries=5), []
    while home.platform.try_again(job.id, REFUSED):
        next_try = home.platform.next_try()
        assert next_try is not None
        rests.append((next_try - home.clock.now()) / timedelta(seconds=1))
        home.clock.advance(rests[-1])
        assert starts(home) == [job.id]
        run(home, job.id)
    assert rests == [30, 60, 120, 240, 480]
    assert home.platform.next_try() is None


def test_a_rest_outlives_a_restart(home: Home) -> None:
    job = running(home, retries=1)
    home.platform.try_again(job.id, GONE)
    home.clock.advance(20)
    home.restart()
    assert starts(home) == []
    home.clock.advance(10)
    assert starts(home) == [job.id]


@pytest.mark.parametrize("code", ["exit_code", "out_of_memory", "killed", "time_limit", "succeeded"])
def test_what_a_job_does_itself_is_not_tried_again(home: Home, code: str) -> None:
    job = running(home, retries=5)
    assert home.platform.try_again(job.id, Reason(code, "So.")) is None
    assert home.platform.job(job.id) == job


def test_without_retries_a_job_is_not_tried_again(home: Home) -> None:
    assert home.platform.try_again(running(home, retries=0).id, GONE) is None


def test_a_job_that_was_asked_to_stop_is_not_tried_again(home: Home) -> None:
    job = running(home, retries=5)
    home.platform.cancel(job.id, "anna")
    assert home.platform.try_again(job.id, GONE) is None


def test_a_job_that_rests_can_be_cancelled_and_held(home: Home) -> None:
    anna = home.user(ANNA)
    job = running(home, retries=5)
    home.platform.try_again(job.id, GONE)
    home.platform.put_on_hold(job.id, anna)
    home.clock.advance(60)
    assert (starts(home), home.platform.next_try()) == ([], None)
    home.platform.release(job.id, anna)
    assert starts(home) == [job.id]
    assert home.platform.cancel(job.id, "anna").state.name is StateName.CANCELLED


def test_an_attempt_that_is_tried_again_is_charged_to_nobody(home: Home) -> None:
    job = running(home, retries=1)
    home.clock.advance(86_400)
    home.platform.try_again(job.id, GONE)
    home.clock.advance(3600)
    assert usage(home) == pytest.approx(0.0, abs=1e-3)
    run(home, job.id)
    home.clock.advance(100)
    assert usage(home) == pytest.approx(100.0, rel=1e-3)


@pytest.mark.parametrize(
    ("reason", "outcome", "charged_s"),
    [
        (GONE, StateName.LOST, 0),
        (REFUSED, StateName.FAILED, 0),
        (Reason("exit_code", "It ended with exit code 1."), StateName.FAILED, 600),
    ],
)
def test_an_end_by_a_fault_of_ours_is_charged_to_nobody(
    home: Home, reason: Reason, outcome: StateName, charged_s: int
) -> None:
    other = home.starting(gpus=frozenset({gpu(1)}))
    job = running(home, retries=0)
    home.clock.advance(600)
    home.platform.finish(job.id, outcome, reason, at=home.clock.now())  # type: ignore[arg-type] # a final one
    assert usage(home) == pytest.approx(600 + charged_s, rel=1e-3)
    assert home.platform.job(other.id) == other


def usage(home: Home) -> float:
    [anna] = [row for row in home.platform.get_user_statistics() if row["user"] == ANNA]
    return float(anna["usage_gpu_seconds"])


FAULT = Reason("gpu_fault", "GPU GPU-0 had a hardware fault (Xid 48).")


def test_a_job_that_is_stopped_since_its_gpu_failed_is_tried_again_free_of_charge(home: Home) -> None:
    job = running(home, retries=1)
    home.clock.advance(3600)
    home.platform.request_stop(job.id, StateName.FAILED, FAULT, Actor.SCHEDULER)
    again = home.platform.try_again(job.id, FAULT)
    assert again is not None
    assert isinstance(again.state, Queued)
    usage = {row["user"]: row["usage_gpu_seconds"] for row in home.platform.get_user_statistics()}
    assert usage[ANNA] == 0.0


def test_a_job_that_is_cancelled_while_it_is_stopped_for_its_gpu_is_not_tried_again(home: Home) -> None:
    job = running(home, retries=1)
    home.platform.request_stop(job.id, StateName.FAILED, FAULT, Actor.SCHEDULER)
    stopping = home.platform.cancel(job.id, "anna").state
    assert isinstance(stopping, Stopping)
    assert (stopping.becomes, stopping.reason.code) == (StateName.CANCELLED, "cancelled")
    assert home.platform.try_again(job.id, FAULT) is None


def test_a_job_that_has_been_tried_often_enough_fails_with_its_gpu(home: Home) -> None:
    job = running(home, retries=0)
    home.platform.request_stop(job.id, StateName.FAILED, FAULT, Actor.SCHEDULER)
    assert home.platform.try_again(job.id, FAULT) is None
    ended = home.platform.finish(job.id, StateName.FAILED, FAULT, at=home.clock.now())
    assert ended.state.name is StateName.FAILED
