"""The build site: what is begun and when, what is held, and that nothing is begun after the end."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from dopq.build_site import BuildSite
from dopq.handover import Accepted, GoesOn, OnHold
from dopq.job import JobId, Reason
from tests.platforms import ANNA
from tests.waiting import wait_until

FULL = Reason("waiting_for_space", "Waiting for space.")
LONG_S = 10.0


def order(job: int, *, held: bool = False) -> Accepted:
    return Accepted(f"key-{job}", JobId(job), ANNA, "b.zip", "build.log", build=True, held=held)


class Bench:
    """A site whose images are made when the test says so, on a disk as full as the test wants."""

    def __init__(self, places: int = 1) -> None:
        self.space: Reason | None = None
        self.said: list[OnHold | GoesOn] = []
        self.begun: list[int] = []
        self.broken_off: list[int] = []
        self.once_more: set[int] = set()
        self._go = threading.Semaphore(0)
        self.site = BuildSite(places, self._make, lambda: self.space, self.said.append)

    def _make(self, order: Accepted, cancelled: threading.Event) -> bool:
        self.begun.append(order.job)
        while not self._go.acquire(timeout=0.01):
            if cancelled.is_set():
                self.broken_off.append(order.job)
                return False
        if order.job in self.once_more:
            self.once_more.remove(order.job)
            return False
        return True

    def take(self, *jobs: int) -> None:
        for job in jobs:
            self.site.take(order(job))

    def finish_one(self) -> None:
        self._go.release()

    def until_begun(self, *jobs: int) -> None:
        wait_until(lambda: self.begun == list(jobs), LONG_S)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.site.stop()


def test_the_next_begins_when_a_place_is_free(bench: Bench) -> None:
    bench.take(1, 2)
    bench.until_begun(1)
    bench.finish_one()
    bench.until_begun(1, 2)


def test_as_many_begin_as_there_are_places() -> None:
    bench = Bench(places=2)
    bench.take(1, 2, 3)
    wait_until(lambda: sorted(bench.begun) == [1, 2], LONG_S)
    bench.site.stop()
    assert sorted(bench.begun) == [1, 2]


def test_an_order_is_carried_out_once_however_often_it_is_given(bench: Bench) -> None:
    bench.take(1, 1)
    bench.until_begun(1)
    bench.finish_one()
    bench.take(1, 2)
    bench.until_begun(1, 2)


def test_without_space_what_waits_is_held_and_said_so_once(bench: Bench) -> None:
    bench.space = FULL
    bench.take(1, 2)
    bench.site.begin()
    assert bench.said == [OnHold(JobId(1), FULL), OnHold(JobId(2), FULL)]
    assert bench.begun == []
    bench.space = None
    bench.site.begin()
    assert bench.said[2:] == [GoesOn(JobId(1)), GoesOn(JobId(2))]
    bench.until_begun(1)


def test_what_an_earlier_life_held_goes_on_and_is_not_held_twice(bench: Bench) -> None:
    bench.space = FULL
    bench.site.take(order(1, held=True))
    assert bench.said == []
    bench.space = None
    bench.site.begin()
    assert bench.said == [GoesOn(JobId(1))]
    bench.until_begun(1)


def test_what_is_cancelled_while_it_is_held_neither_goes_on_nor_begins(bench: Bench) -> None:
    bench.space = FULL
    bench.take(1, 2)
    bench.site.cancel(JobId(1))
    bench.space = None
    bench.site.begin()
    assert bench.said[2:] == [GoesOn(JobId(2))]
    bench.until_begun(2)


def test_what_is_cancelled_in_the_making_is_broken_off_and_not_begun_once_more(bench: Bench) -> None:
    bench.take(1, 2)
    bench.until_begun(1)
    bench.site.cancel(JobId(1))
    bench.until_begun(1, 2)
    assert bench.broken_off == [1]
    bench.take(3)
    bench.finish_one()
    bench.until_begun(1, 2, 3)


def test_what_is_not_done_is_begun_once_more(bench: Bench) -> None:
    bench.once_more = {1}
    bench.take(1)
    bench.until_begun(1)
    bench.finish_one()
    bench.until_begun(1, 1)


def test_a_job_of_which_nobody_knows_can_be_cancelled(bench: Bench) -> None:
    bench.site.cancel(JobId(4711))
    bench.take(1)
    bench.until_begun(1)


def test_stopping_breaks_off_what_is_in_the_making_and_begins_nothing_more(bench: Bench) -> None:
    bench.take(1, 2)
    bench.until_begun(1)
    bench.site.stop()
    bench.take(3)
    assert bench.site.stopped
    assert (bench.begun, bench.broken_off, bench.said) == ([1], [1], [])
