"""Which images go, and which never do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dopq.disk import Floor
from dopq.errors import EngineRefused, EngineUnavailable
from dopq.image_sweep import ImageSweep, unneeded
from dopq.images import Images, MadeImage
from dopq.job import ImageId, Job, JobId, Reason, StateName
from dopq.utils.cpu import Disk
from tests.fakes import FakeClock, FakeEngine
from tests.platforms import ANNA, Home

DAY_S = 86400.0


class Bench:
    def __init__(self, folder: Path) -> None:
        self.home = Home(folder)
        self.engine = FakeEngine(self.home.clock)
        self.images = Images(self.home.database)
        self.free: list[int] = [100]
        self.base = self.engine.add_image("base:1")

    def probe(self, folder: Path) -> Disk:
        return Disk(folder, 1000, self.free.pop(0) if len(self.free) > 1 else self.free[0])

    def sweep(self, keep_days: int = 30) -> None:
        sweep = ImageSweep(self.images, self.engine, keep_days, Floor(10, 0), self.probe)
        sweep.sweep(self.home.clock.now())

    def job(self, image: ImageId | None = None, *, ended: bool = True) -> tuple[Job, ImageId]:
        """A job whose image is made, or is that of another job."""
        job = self.home.building()
        tag = f"dopq/{job.user}/{job.id}"
        if image is None:
            image = self.engine.add_image(tag)
        else:
            assert self.engine.tag(image, tag)
        self.images.add(job.id, image, "")
        if ended:
            self.home.platform.reject(job.id, StateName.BUILD_FAILED, Reason("x", "x"))
        return job, image

    def there(self, image: ImageId) -> bool:
        return self.engine.image(image) is not None


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.home.close()


def test_an_image_goes_when_its_days_are_over(bench: Bench) -> None:
    _, image = bench.job()
    bench.home.clock.advance(30 * DAY_S - 1)
    bench.sweep()
    assert bench.there(image)
    bench.home.clock.advance(1)
    bench.sweep()
    assert not bench.there(image)
    assert bench.images.all() == []


def test_an_image_that_a_live_job_needs_stays_however_old_and_low(bench: Bench) -> None:
    _, image = bench.job(ended=False)
    bench.free = [0]
    bench.home.clock.advance(1000 * DAY_S)
    bench.sweep()
    assert bench.there(image)


def test_an_old_image_that_a_new_job_uses_again_stays(bench: Bench) -> None:
    _, image = bench.job()
    bench.home.clock.advance(29 * DAY_S)
    bench.job(image)
    bench.home.clock.advance(29 * DAY_S)
    bench.sweep()
    assert bench.there(image)
    bench.home.clock.advance(1 * DAY_S)
    bench.sweep()
    assert not bench.there(image)


def test_on_a_low_disk_the_longest_unneeded_goes_first_until_there_is_space(bench: Bench) -> None:
    images = []
    for _ in range(3):
        images.append(bench.job()[1])
        bench.home.clock.advance(60)
    bench.free = [5, 5, 20]
    bench.sweep()
    assert [bench.there(image) for image in images] == [False, False, True]


def test_keep_days_of_zero_keeps_until_the_disk_is_low(bench: Bench) -> None:
    _, image = bench.job()
    bench.home.clock.advance(10_000 * DAY_S)
    bench.sweep(keep_days=0)
    assert bench.there(image)
    bench.free = [5]
    bench.sweep(keep_days=0)
    assert not bench.there(image)


def test_a_base_image_stays_even_where_a_job_bears_its_very_id(bench: Bench) -> None:
    bench.job(bench.base)
    bench.home.clock.advance(100 * DAY_S)
    bench.sweep()
    assert bench.engine.image("base:1") == bench.base
    assert bench.engine.image("dopq/anna/1") is None


def test_a_name_that_means_another_nodes_image_by_now_is_left_alone(bench: Bench) -> None:
    job, _ = bench.job()
    others = bench.engine.add_image(f"dopq/{ANNA}/{job.id}", ("another", "node's"))
    bench.home.clock.advance(100 * DAY_S)
    bench.sweep()
    assert bench.there(others)
    assert bench.images.all() == []


def test_an_image_that_the_engine_does_not_let_go_is_tried_again(bench: Bench) -> None:
    _, image = bench.job()
    bench.home.clock.advance(100 * DAY_S)
    bench.engine.fail_next("remove_image", EngineRefused("A container uses it."))
    bench.sweep()
    assert bench.there(image)
    bench.sweep()
    assert not bench.there(image)


def test_an_engine_that_is_away_leaves_everything_for_later(bench: Bench) -> None:
    _, image = bench.job()
    bench.home.clock.advance(100 * DAY_S)
    bench.engine.fail_next("remove_image", EngineUnavailable("It is away."), after=True)
    with pytest.raises(EngineUnavailable):
        bench.sweep()
    bench.sweep()
    assert not bench.there(image)
    assert bench.images.all() == []


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.one_of(st.none(), st.integers(0, 9))), max_size=12),
)
def test_no_image_of_a_live_job_is_unneeded_and_every_other_is(entries: list[tuple[str, int | None]]) -> None:
    begin = FakeClock().now()
    made = [
        MadeImage(JobId(n), ANNA, ImageId(image), "", None if end is None else begin + timedelta(days=end))
        for n, (image, end) in enumerate(entries)
    ]
    found = unneeded(made)
    needed = {entry.image for entry in made if entry.unneeded_since is None}
    assert {item.image for item in found} == {entry.image for entry in made} - needed
    assert [item.since for item in found] == sorted(item.since for item in found)
