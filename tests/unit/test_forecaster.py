"""The forecaster: what waits gets an ETA, what cannot start none; it learns, and what it learnt survives a restart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dopq.calibration import ENOUGH
from dopq.config import QueueSettings
from dopq.forecaster import NOTE, Forecaster
from dopq.job import Job, Reason, StateName
from dopq.room import Capacity
from tests.platforms import ANNA, BERT, Home, gpu
from tests.waiting import wait_until

CAPACITY = Capacity(frozenset({gpu(0), gpu(1)}), places=9)


class Bench:
    """A node of two GPUs on a clock that stands still; its forecaster looks when told to."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder, QueueSettings(default_time_limit_s=1000))
        self.forecaster = Forecaster(self.home.platform, self.home.journal, self.home.clock)
        self.home.platform.subscribe(self.forecaster.notice)

    def close(self) -> None:
        self.home.close()

    def renew(self) -> None:
        """A decision, which starts nothing by itself, and what follows from it."""
        self.home.platform.decide(CAPACITY)
        self.forecaster.renew()

    def end(self, job: Job) -> None:
        """Its container is over, well."""
        now = self.home.clock.now()
        self.home.platform.finish(job.id, StateName.SUCCEEDED, Reason("succeeded", "Well."), at=now, exit_code=0)

    def width(self, job: Job) -> float:
        return float(self.eta(job)["p90"] - self.eta(job)["p10"])

    def eta(self, job: Job) -> Any:
        return self.home.platform.describe([self.home.platform.job(job.id)])[0]["eta"]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def test_a_job_that_waits_for_another_starts_when_that_ends_give_or_take_a_guess(bench: Bench) -> None:
    bench.home.running(ANNA, frozenset({gpu(0), gpu(1)}))
    waits = bench.home.queued(BERT, gpus=1)
    assert bench.eta(waits) is None
    bench.renew()
    eta = bench.eta(waits)
    assert eta["p10"] < eta["p50"] < eta["p90"]
    assert eta["p50"] == 1000  # its limit: nothing is known of its user


def test_an_eta_comes_closer_as_time_passes_and_never_lies_behind(bench: Bench) -> None:
    bench.home.running(ANNA, frozenset({gpu(0), gpu(1)}))
    waits = bench.home.queued(BERT, gpus=1)
    bench.renew()
    before = bench.eta(waits)
    bench.home.clock.advance(500)
    assert bench.eta(waits) == {level: max(0.0, seconds - 500) for level, seconds in before.items()}


def test_what_cannot_start_has_no_eta(bench: Bench) -> None:
    runs, impossible, building = bench.home.running(ANNA), bench.home.queued(gpus=3), bench.home.building()
    bench.renew()
    assert [bench.eta(job) for job in (runs, impossible, building)] == [None, None, None]
    waits = bench.home.queued(BERT, gpus=1)
    bench.home.platform.drain("olga", "new disks")
    bench.renew()
    assert bench.eta(waits) is None


def test_what_came_of_forecasts_makes_later_ones_narrower_and_survives_a_restart(bench: Bench) -> None:
    widths = []
    for _ in range(ENOUGH + 2):
        holder = bench.home.running(ANNA, frozenset({gpu(0), gpu(1)}))
        waits = bench.home.queued(BERT, gpus=1)
        bench.renew()
        widths.append(bench.width(waits))
        bench.home.clock.advance(100)
        bench.end(holder)
        bench.home.platform.begin(waits.id, frozenset({gpu(0)}))
        bench.end(bench.home.platform.mark_running(waits.id, bench.home.clock.now()))
    assert widths[-1] < widths[2] / 10
    bench.home.running(ANNA, frozenset({gpu(0), gpu(1)}))
    waits = bench.home.queued(BERT, gpus=1)
    bench.renew()
    before = bench.eta(waits)
    bench.forecaster = Forecaster(bench.home.platform, bench.home.journal, bench.home.clock)
    bench.renew()
    assert bench.eta(waits) == before


def test_who_leaves_the_queue_without_a_start_teaches_nothing(bench: Bench) -> None:
    bench.home.running(ANNA, frozenset({gpu(0), gpu(1)}))
    waits = bench.home.queued(BERT, gpus=1)
    bench.renew()
    bench.home.platform.cancel(waits.id, "bert")
    bench.renew()
    assert bench.home.journal.noted(NOTE) is None


def test_the_thread_answers_changes(bench: Bench) -> None:
    bench.forecaster.start()
    try:
        bench.home.running(ANNA, frozenset({gpu(0), gpu(1)}))
        waits = bench.home.queued(BERT, gpus=1)
        bench.home.platform.decide(CAPACITY)
        bench.home.queued(BERT, gpus=1)  # whatever changes rings
        wait_until(lambda: bench.eta(waits) is not None, 10.0)
    finally:
        bench.forecaster.stop(5.0)
