"""The scheduler thread: woken by every change, deciding nothing itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from dopq import scheduler as scheduler_module
from dopq.config import QueueSettings
from dopq.job import Job, Starting, StateName
from dopq.scheduler import Scheduler
from dopq.utils.gpu import SimulatedGpus
from tests.platforms import ANNA, BERT, Home
from tests.waiting import wait_until


class Cluster:
    """A scheduler over a real platform; jobs that it starts are carried by nobody."""

    def __init__(self, folder: Path, *, gpus: int, places: int) -> None:
        self.home = Home(folder, QueueSettings(default_time_limit_s=100))
        self.carried: list[Job] = []
        self.probe = SimulatedGpus(gpus)
        self.scheduler = Scheduler(
            self.home.platform, self.probe, self.carried.append, self.home.settings, places, self.home.clock
        )

    def state(self, job: Job) -> StateName:
        return self.home.platform.job(job.id).state.name


@pytest.fixture(autouse=True)
def never_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever happens in these tests happens because of a change: the next look by the clock is an hour away."""
    monkeypatch.setattr(scheduler_module, "SURVEY_S", 3600.0)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path, gpus=2, places=2)
    cluster.scheduler.start()
    yield cluster
    cluster.scheduler.stop(5.0)
    cluster.home.platform.assert_consistent()
    cluster.home.close()


def test_a_job_starts_because_it_was_queued(cluster: Cluster) -> None:
    job = cluster.home.queued(gpus=1)
    wait_until(lambda: cluster.carried, 5.0)
    assert [carried.id for carried in cluster.carried] == [job.id]
    assert isinstance(cluster.carried[0].state, Starting)
    assert len(cluster.carried[0].state.lease.gpus) == 1


def test_the_next_job_starts_because_one_ended(cluster: Cluster) -> None:
    first, second = cluster.home.queued(gpus=2), cluster.home.queued(gpus=2)
    wait_until(lambda: cluster.carried, 5.0)
    assert cluster.state(second) is StateName.QUEUED
    now = cluster.home.clock.now()
    cluster.home.platform.mark_running(first.id, now)
    cluster.home.platform.cancel(first.id, "anna")
    reason = cluster.home.platform.job(first.id).state.reason  # type: ignore[union-attr]
    cluster.home.platform.finish(first.id, StateName.CANCELLED, reason, at=now)
    wait_until(lambda: cluster.state(second) is StateName.STARTING, 5.0)


def test_an_unlocked_queue_starts_at_once(cluster: Cluster) -> None:
    platform = cluster.home.platform
    platform.exec_dopq_lock_state("olga", "cleaning", timedelta(minutes=5))
    job = cluster.home.queued()
    wait_until(lambda: platform.describe([platform.job(job.id)])[0]["reason"], 5.0)
    described = platform.describe([platform.job(job.id)])[0]
    assert (described["reason"]["code"], described["position"]) == ("locked", 1)
    platform.exec_dopq_lock_state("olga", "", None)
    wait_until(lambda: cluster.state(job) is StateName.STARTING, 5.0)


def test_a_job_past_its_time_limit_is_asked_to_stop(cluster: Cluster) -> None:
    job = cluster.home.queued(time_limit_s=10)
    other = cluster.home.queued(BERT)
    wait_until(lambda: len(cluster.carried) == 2, 5.0)
    cluster.home.platform.mark_running(job.id, cluster.home.clock.now())
    cluster.home.platform.mark_running(other.id, cluster.home.clock.now())
    cluster.home.clock.advance(11)
    cluster.home.queued(ANNA)  # any change wakes it; with a real clock its own timer does
    wait_until(lambda: cluster.state(job) is StateName.STOPPING, 5.0)
    stopping = cluster.home.platform.job(job.id).state
    assert getattr(stopping, "becomes", None) is StateName.TIMED_OUT
    assert cluster.state(other) is StateName.RUNNING


def test_no_more_jobs_occupy_the_node_than_it_has_places(cluster: Cluster) -> None:
    jobs = [cluster.home.queued() for _ in range(5)]
    wait_until(lambda: len(cluster.carried) == 2, 5.0)
    platform = cluster.home.platform
    waiting = [job for job in jobs if cluster.state(job) is StateName.QUEUED]
    wait_until(lambda: all(j["position"] for j in platform.describe(platform.job(w.id) for w in waiting)), 5.0)
    assert {j["reason"]["code"] for j in platform.describe(platform.job(w.id) for w in waiting)} == {"waits_for_place"}
