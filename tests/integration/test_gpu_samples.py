"""What a job took of its GPUs, as a driver tells it: a mean, a peak, or why nobody knows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dopq import gpu_watch as gpu_watch_module
from dopq.config import GpuSettings
from dopq.container_handler.container import container_name
from dopq.gpu_watch import GpuWatch
from dopq.job import GpuId, Job, ResourceUse
from dopq.sampler import Sampler
from dopq.utils.gpu_probe import NvmlGpus
from tests import fake_gpus
from tests.fake_gpus import NOT_SUPPORTED, FakeDriver
from tests.fakes import FakeEngine
from tests.platforms import ANNA, Home
from tests.waiting import wait_until

SOON_S = 15.0
G0, G1 = GpuId(fake_gpus.uuid(0)), GpuId(fake_gpus.uuid(1))


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fake_gpus.build_library(tmp_path_factory.mktemp("nvml"))


class Bench:
    """A sampler that hears of every look at a fake driver's GPUs."""

    def __init__(self, folder: Path, driver: FakeDriver) -> None:
        self.driver = driver
        self.home = Home(folder, gpu=GpuSettings(slots_per_gpu=4))
        self.watch = GpuWatch(NvmlGpus(deadline_s=SOON_S), self.home.journal, self.home.clock, "all")
        self.sampler = Sampler(self.home.platform, FakeEngine(), lambda job: container_name("cafe", job.id, 1))
        self.watch.subscribe(self.sampler.see_gpus)
        self.watch.start(SOON_S)

    def close(self) -> None:
        self.watch.stop(5.0)
        self.home.close()

    def look(self, times: int = 1) -> None:
        """That many whole looks from now on."""
        number = self.watch._begun + times
        wait_until(lambda: self.watch._done >= number, SOON_S)

    def begin(self, gpus: set[GpuId], slots: int | None = None) -> Job:
        job = self.home.queued(ANNA, gpus=0 if slots else len(gpus), slots=slots)
        self.home.platform.begin(job.id, frozenset(gpus))
        return self.home.platform.mark_running(job.id, self.home.clock.now())

    def use(self, job: Job) -> ResourceUse:
        use = self.sampler.take(job.id)
        assert use is not None
        return use


@pytest.fixture
def bench(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    driver = FakeDriver(library, tmp_path / "mood")
    for name, value in driver.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(gpu_watch_module, "LOOK_S", 0.05)
    bench = Bench(tmp_path, driver)
    yield bench
    bench.close()


def test_utilisation_is_a_mean_over_time_and_memory_a_peak(bench: Bench) -> None:
    bench.driver.value("utilisation", 20)
    bench.driver.value("memory_used_mb", 4096)
    bench.look(2)
    job = bench.begin({G0})
    bench.look(2)
    bench.driver.value("utilisation", 80)
    bench.driver.value("memory_used_mb", 1024)
    bench.look(2)
    use = bench.use(job)
    assert use.gpu_utilisation_percent is not None
    assert 20 < use.gpu_utilisation_percent < 80
    assert use.gpu_memory_peak_bytes == 4096 << 20
    assert use.gpu_memory_bytes is not None
    assert use.gpu_memory_bytes > 4096 << 20
    assert use.gpu_missing is None


def test_of_several_gpus_all_count_for_the_mean_and_the_fullest_for_the_peak(bench: Bench) -> None:
    for gpu, (percent, memory_mb) in enumerate([(10, 100), (90, 300)]):
        bench.driver.value("utilisation", percent, gpu=gpu)
        bench.driver.value("memory_used_mb", memory_mb, gpu=gpu)
    bench.look(2)
    job = bench.begin({G0, G1})
    bench.look(2)
    use = bench.use(job)
    assert (use.gpu_utilisation_percent, use.gpu_memory_peak_bytes) == (50.0, 300 << 20)


def test_what_the_driver_does_not_tell_is_unknown_with_its_reason_and_never_0(bench: Bench) -> None:
    bench.driver.error("utilisation", NOT_SUPPORTED)
    bench.driver.value("memory_used_mb", 512)
    bench.look(2)
    job = bench.begin({G0})
    bench.look(2)
    use = bench.use(job)
    assert use.gpu_utilisation_percent is None
    assert use.gpu_memory_peak_bytes == 512 << 20
    assert use.gpu_missing


def test_of_a_shared_gpu_nobody_knows_whose_work_it_does(bench: Bench) -> None:
    bench.driver.value("utilisation", 70)
    job = bench.begin({G0}, slots=1)
    bench.look(2)
    use = bench.use(job)
    assert (use.gpu_utilisation_percent, use.gpu_memory_peak_bytes) == (None, None)
    assert use.gpu_missing is not None
    assert "shared" in use.gpu_missing


def test_a_job_without_gpus_and_one_that_nobody_saw_have_no_samples(bench: Bench) -> None:
    cpu_job = bench.begin(set())
    bench.look(2)
    assert bench.sampler.take(cpu_job.id) is None


def test_what_a_job_took_is_told_once_and_forgotten_with_it(bench: Bench) -> None:
    job = bench.begin({G0})
    bench.look(2)
    assert bench.use(job).gpu_utilisation_percent is not None
    bench.home.platform.cancel(job.id, "anna")
    bench.look(2)
    taken = bench.sampler.take(job.id)
    assert taken is None or taken.gpu_utilisation_percent is None
