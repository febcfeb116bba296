"""The scheduler thread: it answers changes, not a clock; it stops what is overdue; no error ends it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dopq import scheduler as scheduler_module
from dopq.config import QueueSettings
from dopq.errors import WrongState
from dopq.gpu_offer import Offer
from dopq.job import GpuId, Job, JobId, Reason, StateName, Stopping, lease_of
from dopq.room import Capacity
from dopq.scheduler import Scheduler
from dopq.utils.clock import SystemClock
from dopq.utils.gpu_probe import SimulatedGpus
from tests.fakes import FakeClock
from tests.platforms import ANNA, BERT, Home
from tests.waiting import wait_until

NEVER_S = 3600.0


class ClockOfNow(FakeClock):
    """The machine's clock, which can also be set."""

    def now(self) -> datetime:
        return SystemClock().now() + timedelta(seconds=self._elapsed_s)


class OnPaper:
    """GPUs on paper."""

    def __init__(self, count: int) -> None:
        self.count = count

    def offer(self) -> Offer:
        return Offer({GpuId(gpu.uuid): gpu.model for gpu in SimulatedGpus(self.count).survey().gpus})


class Bench:
    """A scheduler that looks at the clock once an hour: whatever it does sooner, a change has made it do."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder, QueueSettings(default_time_limit_s=1000), ClockOfNow())
        self.gpus = OnPaper(2)
        self.carried: list[Job] = []
        self.scheduler = Scheduler(
            self.home.platform,
            self.gpus.offer,
            self.carried.append,
            self.home.settings,
            Capacity(places=3),
            self.home.clock,
        )
        self.scheduler.start()

    def close(self) -> None:
        self.scheduler.stop(5.0)
        assert not self.scheduler._thread.is_alive()
        self.home.platform.assert_consistent()
        self.home.close()

    def state(self, job: Job) -> StateName:
        return self.home.platform.job(job.id).state.name

    def until(self, job: Job, state: StateName) -> None:
        wait_until(lambda: self.state(job) is state, 5.0)

    def until_held(self, job: Job, code: str) -> None:
        wait_until(lambda: (reason := self.told(job)["reason"]) and reason["code"] == code, 5.0)

    def told(self, job: Job) -> dict[str, Any]:
        return self.home.platform.describe([self.home.platform.job(job.id)])[0]

    def end(self, job: Job) -> None:
        now = self.home.clock.now()
        self.home.platform.mark_running(job.id, now)
        self.home.platform.finish(job.id, StateName.SUCCEEDED, Reason("succeeded", "Well."), at=now, exit_code=0)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(scheduler_module, "ROUND_S", NEVER_S)
    bench = Bench(tmp_path)
    yield bench
    bench.close()


# --- events ---


def test_a_job_starts_when_it_joins_the_queue_and_is_carried_once(bench: Bench) -> None:
    job = bench.home.queued(gpus=1)
    bench.until(job, StateName.STARTING)
    wait_until(lambda: bench.carried, 5.0)
    assert [carried.id for carried in bench.carried] == [job.id]
    assert len(bench.told(job)["gpus"]) == 1


def test_what_waited_at_the_start_of_the_node_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler_module, "ROUND_S", NEVER_S)
    before = Home(tmp_path)
    job = before.queued()
    carried: list[Job] = []
    scheduler = Scheduler(before.restart(), Offer, carried.append, before.settings, Capacity(), before.clock)
    scheduler.start()
    wait_until(lambda: [it.id for it in carried] == [job.id], 5.0)
    scheduler.stop(5.0)
    before.close()


def test_a_waiting_job_is_told_why_and_starts_when_gpus_are_freed(bench: Bench) -> None:
    first = bench.home.queued(ANNA, gpus=2)
    bench.until(first, StateName.STARTING)
    second = bench.home.queued(BERT, gpus=1)
    bench.until_held(second, "waits_for_gpus")
    assert bench.told(second)["position"] == 1
    assert f"job {first.id} of anna has 2 GPUs" in bench.told(second)["reason"]["sentence"]
    bench.end(first)
    bench.until(second, StateName.STARTING)
    assert bench.told(second)["position"] is None


def test_a_place_that_a_cancelled_job_leaves_is_taken(bench: Bench) -> None:
    holding = [bench.home.queued(gpus=0) for _ in range(3)]
    for job in holding:
        bench.until(job, StateName.STARTING)
    waiting = bench.home.queued(BERT)
    bench.until_held(waiting, "waits_for_place")
    bench.home.platform.cancel(holding[0].id, "anna")
    assert bench.state(waiting) is StateName.QUEUED, "its container may still run"
    bench.home.platform.finish(holding[0].id, StateName.CANCELLED, Reason("x", "x"), at=bench.home.clock.now())
    bench.until(waiting, StateName.STARTING)


def test_a_job_moves_up_when_the_one_before_it_is_cancelled(bench: Bench) -> None:
    bench.until(bench.home.queued(gpus=2), StateName.STARTING)
    first, second = bench.home.queued(gpus=2), bench.home.queued(gpus=2)
    wait_until(lambda: bench.told(second)["position"] == 2, 5.0)
    bench.home.platform.cancel(first.id, "anna")
    wait_until(lambda: bench.told(second)["position"] == 1, 5.0)


def test_a_locked_queue_starts_again_when_it_is_unlocked(bench: Bench) -> None:
    bench.home.platform.exec_dopq_lock_state("olga", "new disks", timedelta(hours=1))
    job = bench.home.queued()
    bench.until_held(job, "locked")
    bench.home.platform.exec_dopq_lock_state("olga", "", None)
    bench.until(job, StateName.STARTING)


def test_a_locked_queue_starts_again_when_the_lock_runs_out(bench: Bench) -> None:
    bench.home.platform.exec_dopq_lock_state("olga", "a moment", timedelta(seconds=0.4))
    job = bench.home.queued()
    bench.until_held(job, "locked")
    bench.until(job, StateName.STARTING)


def test_a_draining_node_starts_nothing_and_says_so(bench: Bench) -> None:
    bench.home.platform.drain("olga", "new disks")
    job = bench.home.queued()
    bench.until_held(job, "draining")
    assert bench.carried == []
    bench.home.platform.undrain()
    bench.until(job, StateName.STARTING)


def test_a_gpu_that_appears_is_used(bench: Bench) -> None:
    bench.gpus.count = 0
    job = bench.home.queued(gpus=1)
    bench.until_held(job, "never_fits")
    bench.gpus.count = 1
    bench.scheduler.wake()
    bench.until(job, StateName.STARTING)


def test_a_node_that_fails_every_job_drains_itself_until_it_is_undrained(bench: Bench) -> None:
    for user in (ANNA, BERT, ANNA, BERT, ANNA):
        job = bench.home.queued(user)
        bench.until(job, StateName.STARTING)
        bench.home.platform.finish(job.id, StateName.FAILED, Reason("start_failed", "x"), at=bench.home.clock.now())
    waiting = bench.home.queued()
    bench.until_held(waiting, "draining")
    assert "died within 10 s of their start" in bench.told(waiting)["reason"]["sentence"]
    bench.home.platform.undrain()
    bench.until(waiting, StateName.STARTING)


def test_a_stopped_scheduler_starts_nothing(bench: Bench) -> None:
    bench.scheduler.stop(5.0)
    job = bench.home.queued()
    assert bench.state(job) is StateName.QUEUED
    assert bench.carried == []


# --- deadlines ---


@pytest.mark.parametrize(
    ("asked_s", "limit_s", "in_words"),
    [(60, 60, " 1 min."), (None, 1000, " 16 min 40 s.")],
    ids=["its own", "the node's"],
)
def test_a_job_that_is_over_its_time_limit_is_stopped(
    bench: Bench, asked_s: int | None, limit_s: int, in_words: str
) -> None:
    job = bench.home.queued(time_limit_s=asked_s)
    bench.until(job, StateName.STARTING)
    began = bench.home.clock.now() - timedelta(seconds=limit_s - 0.2)
    bench.home.platform.mark_running(job.id, began)
    bench.until(job, StateName.STOPPING)
    assert bench.home.clock.now() - began >= timedelta(seconds=limit_s)
    state = bench.home.platform.job(job.id).state
    assert isinstance(state, Stopping)
    assert (state.becomes, state.reason.code) == (StateName.TIMED_OUT, "time_limit")
    assert in_words in state.reason.sentence


def test_a_job_within_its_time_limit_goes_on(bench: Bench) -> None:
    job = bench.home.queued(time_limit_s=60)
    bench.until(job, StateName.STARTING)
    bench.home.platform.mark_running(job.id, bench.home.clock.now() - timedelta(seconds=30))
    bench.until(bench.home.queued(), StateName.STARTING)  # a whole round has gone by
    assert bench.state(job) is StateName.RUNNING


def test_a_job_that_ended_in_the_moment_of_its_deadline_disturbs_nobody(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def too_late(job_id: JobId, *_: object) -> Job:
        raise WrongState(f"Job {job_id} has ended.")

    monkeypatch.setattr(bench.home.platform, "request_stop", too_late)
    job = bench.home.queued(time_limit_s=1)
    bench.until(job, StateName.STARTING)
    bench.home.platform.mark_running(job.id, bench.home.clock.now() - timedelta(seconds=2))
    bench.until(bench.home.queued(), StateName.STARTING)
    assert "scheduler_defect" not in caplog.text


# --- trouble ---


def test_a_decision_that_is_stale_is_taken_anew(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    begin, refusals = bench.home.platform.begin, iter([WrongState("GPU-0 is held by another job.")])

    def stale_once(*args: Any) -> Job:
        for refusal in refusals:
            raise refusal
        return begin(*args)

    monkeypatch.setattr(bench.home.platform, "begin", stale_once)
    bench.home.queued()
    second = bench.home.queued()  # the change that would have made it stale
    bench.until(second, StateName.STARTING)
    wait_until(lambda: len(bench.carried) == 2, 5.0)


def test_an_error_in_one_round_is_not_the_end_of_all_rounds(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(bench.home.platform, "decide", lambda _capacity: 1 / 0)
        bench.home.queued()
        wait_until(lambda: "scheduler_defect" in caplog.text, 5.0)
    job = bench.home.queued()
    bench.until(job, StateName.STARTING)


def test_the_gpus_of_a_model_that_counts_double_are_charged_double(tmp_path: Path) -> None:
    home, carried = Home(tmp_path, clock=ClockOfNow()), list[Job]()
    scheduler = Scheduler(
        home.platform,
        OnPaper(2).offer,
        carried.append,
        home.settings,
        Capacity(places=3),
        home.clock,
        {"simul": 2.0},
    )
    scheduler.start()
    home.queued(gpus=2)
    wait_until(lambda: bool(carried), 5.0)
    scheduler.stop(5.0)
    lease = lease_of(carried[0].state)
    assert lease is not None
    assert lease.rate == 4.0
    home.close()
