"""GPUs whose driver hangs, forgets, reorders and fails: what is handed out meanwhile, and what is not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from dopq import gpu_watch as gpu_watch_module
from dopq.cli import main
from dopq.config import load
from dopq.database import Database
from dopq.errors import NotFound
from dopq.gpu_guard import GpuGuard
from dopq.gpu_offer import FRESH_S
from dopq.gpu_watch import GpuWatch, heal
from dopq.job import GpuId, Job, StateName, Stopping, gpus_held
from dopq.job_containers import JobContainers
from dopq.room import Capacity
from dopq.scheduler import Scheduler
from dopq.store import Journal
from dopq.utils.gpu import GpuSurvey
from dopq.utils.gpu_probe import NvmlGpus
from tests import fake_gpus
from tests.fake_gpus import FakeDriver
from tests.fakes import FakeEngine
from tests.platforms import Home
from tests.waiting import wait_until

SOON_S = 15.0  # a busy machine takes its time to start a process
G0, G1 = GpuId(fake_gpus.uuid(0)), GpuId(fake_gpus.uuid(1))


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fake_gpus.build_library(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def driver(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDriver:
    driver = FakeDriver(library, tmp_path / "mood")
    for name, value in driver.environment.items():
        monkeypatch.setenv(name, value)
    return driver


class Bench:
    """A scheduler over the real probe of a fake driver."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder)
        self.begin()

    def begin(self, deadline_s: float = SOON_S) -> None:
        self.watch = GpuWatch(NvmlGpus(deadline_s=deadline_s), self.home.journal, self.home.clock, "all")
        self.scheduler = Scheduler(
            self.home.platform,
            self.watch.offer,
            lambda _job: None,
            self.home.settings,
            Capacity(places=9),
            self.home.clock,
        )
        containers = JobContainers(FakeEngine(), "cafe0001")
        guard = GpuGuard(self.home.platform, self.watch, containers, self.home.gpu_settings, self.home.clock)
        self.watch.subscribe(guard.look)
        self.watch.subscribe(lambda _survey: self.scheduler.wake())
        self.watch.start(SOON_S)
        self.scheduler.start()

    def end(self) -> None:
        self.scheduler.stop(5.0)
        self.watch.stop(5.0)

    def restart(self) -> None:
        self.end()
        self.home.restart()
        self.begin()

    def starts(self, gpus: int, within_s: float = SOON_S) -> Job:
        job = self.home.queued(gpus=gpus)
        wait_until(lambda: self.state(job) is StateName.STARTING, within_s)
        return self.home.platform.job(job.id)

    def waits(self, gpus: int, code: str) -> Job:
        job = self.home.queued(gpus=gpus)
        wait_until(lambda: self.reason(job) == code, SOON_S)
        return job

    def state(self, job: Job) -> StateName:
        return self.home.platform.job(job.id).state.name

    def reason(self, job: Job) -> str | None:
        told = self.home.platform.describe([self.home.platform.job(job.id)])[0]["reason"]
        return str(told["code"]) if told else None

    def until_handed_out(self, *gpus: GpuId) -> None:
        def handed_out() -> set[GpuId]:
            offer = self.watch.offer()
            return set(offer.models) - set(offer.withheld)

        wait_until(lambda: handed_out() == set(gpus), SOON_S)


@pytest.fixture
def bench(driver: FakeDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(gpu_watch_module, "LOOK_S", 0.05)
    monkeypatch.setattr(gpu_watch_module, "IDLE_LOOK_S", 0.05)
    bench = Bench(tmp_path)
    yield bench
    bench.end()
    bench.home.close()


def test_a_listener_that_fails_keeps_no_other_from_hearing(bench: Bench) -> None:
    heard = threading.Event()

    def fails(_survey: GpuSurvey) -> None:
        raise ValueError

    bench.watch.subscribe(fails)
    bench.watch.subscribe(lambda _survey: heard.set())
    assert heard.wait(SOON_S)


def test_no_placement_waits_for_a_driver_that_hangs(bench: Bench, driver: FakeDriver) -> None:
    driver.hang("utilisation", 30)
    newest = bench.watch.newest
    wait_until(lambda: bench.watch._begun > bench.watch._done, SOON_S)
    began = time.monotonic()
    assert gpus_held(bench.starts(gpus=1, within_s=2.0).state)
    bench.starts(gpus=0, within_s=2.0)
    assert time.monotonic() - began < 2.0
    assert bench.watch.newest is newest, "the driver has answered meanwhile"


def test_gpus_of_which_nothing_was_heard_for_too_long_go_to_nobody_and_cpu_jobs_go_on(
    bench: Bench, driver: FakeDriver
) -> None:
    driver.hang("utilisation", 30)
    wait_until(lambda: bench.watch._begun > bench.watch._done, SOON_S)
    bench.home.clock.advance(FRESH_S + 1)
    waiting = bench.waits(1, "gpus_withheld")
    bench.starts(gpus=0, within_s=2.0)
    assert bench.state(waiting) is StateName.QUEUED


def test_a_node_starts_in_time_while_the_driver_hangs_and_remembers_its_gpus(bench: Bench, driver: FakeDriver) -> None:
    driver.hang("init", 30)
    began = time.monotonic()
    bench.restart()
    assert time.monotonic() - began < SOON_S / 2
    waiting = bench.waits(2, "gpus_withheld")
    bench.starts(gpus=0, within_s=2.0)
    assert bench.state(waiting) is StateName.QUEUED


def test_whoever_asks_for_a_look_while_the_driver_hangs_hears_in_time_that_there_is_none(
    bench: Bench, driver: FakeDriver
) -> None:
    driver.hang("count", 30)
    began = time.monotonic()
    assert bench.watch.survey().stale
    assert time.monotonic() - began < 4.0


def test_a_lost_gpu_goes_to_nobody_its_neighbour_does_and_it_comes_back(bench: Bench, driver: FakeDriver) -> None:
    driver.error("handle", fake_gpus.GPU_IS_LOST, gpu=0)
    bench.until_handed_out(G1)
    assert gpus_held(bench.starts(gpus=1).state) == {G1}
    waiting = bench.waits(1, "waits_for_gpus")
    wait_until(lambda: bench.watch.offer().broken.keys() == {G0}, SOON_S)
    driver.recover()
    wait_until(lambda: bench.state(waiting) is StateName.STARTING, SOON_S)
    assert gpus_held(bench.home.platform.job(waiting.id).state) == {G0}


def test_a_job_that_wants_a_gpu_that_is_not_there_now_waits_and_is_not_refused(
    bench: Bench, driver: FakeDriver
) -> None:
    driver.value("count", 1)
    bench.until_handed_out(G0)
    bench.waits(2, "gpus_withheld")
    bench.waits(3, "never_fits")


def test_gpus_that_change_places_stay_who_they_are(bench: Bench, driver: FakeDriver) -> None:
    held = gpus_held(bench.starts(gpus=1).state)
    assert held == {G0}
    driver.value("uuid", 1, gpu=0)
    driver.value("uuid", 0, gpu=1)
    wait_until(lambda: [gpu.uuid for gpu in bench.watch.newest.gpus] == [G1, G0], SOON_S)
    assert gpus_held(bench.starts(gpus=1).state) == {G1}
    bench.until_handed_out(G0, G1)


def test_a_driver_that_fails_as_a_whole_loses_no_gpu(bench: Bench, driver: FakeDriver) -> None:
    driver.error("init", fake_gpus.LIB_RM_VERSION_MISMATCH)
    driver.error("count", fake_gpus.LIB_RM_VERSION_MISMATCH)
    wait_until(lambda: bench.watch.newest.stale, SOON_S)
    assert set(bench.watch.offer().models) == {G0, G1}
    assert bench.watch.offer().broken == {}
    bench.home.clock.advance(FRESH_S + 1)
    assert "reboot" in bench.watch.offer().withheld[G0].sentence


def test_a_machine_without_a_driver_has_no_gpus_and_runs_cpu_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "libnvidia-ml.so.1").write_bytes(b"not a library")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    bench = Bench(tmp_path)
    bench.waits(1, "never_fits")
    bench.starts(gpus=0)
    bench.end()
    bench.home.close()


def test_a_hardware_xid_keeps_its_gpu_back_across_a_restart_until_an_admin_calls_it_healed(
    bench: Bench, driver: FakeDriver
) -> None:
    driver.value("xid", 48, gpu=1)
    bench.until_handed_out(G0)
    driver.value("xid", 0, gpu=1)
    bench.restart()
    bench.until_handed_out(G0)
    assert bench.watch.offer().withheld[G1].code == "gpu_fault"
    heal(bench.home.journal, G1, bench.home.clock.now())
    bench.until_handed_out(G0, G1)


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        (lambda driver: driver.value("count", 1), "gpu_lost"),
        (lambda driver: driver.error("temperature", fake_gpus.GPU_IS_LOST, gpu=1), "gpu_lost"),
        (lambda driver: driver.value("xid", 79, gpu=1), "gpu_fault"),
    ],
    ids=["count shrinks", "lost", "Xid 79"],
)
def test_the_job_of_a_broken_gpu_is_ended_and_its_neighbour_goes_on(
    bench: Bench, driver: FakeDriver, wish: Callable[[FakeDriver], None], code: str
) -> None:
    neighbour, victim = bench.starts(gpus=1), bench.starts(gpus=1)
    assert gpus_held(victim.state) == {G1}
    bench.home.platform.mark_running(victim.id, bench.home.clock.now())
    wish(driver)
    wait_until(lambda: bench.state(victim) is StateName.STOPPING, SOON_S)
    assert bench.reason(victim) == code
    assert bench.state(neighbour) is StateName.STARTING


def test_a_job_with_retries_moves_to_a_healthy_gpu(bench: Bench, driver: FakeDriver) -> None:
    job = bench.home.queued(gpus=1, retries=1)
    wait_until(lambda: bench.state(job) is StateName.STARTING, SOON_S)
    driver.value("xid", 48, gpu=0)
    wait_until(lambda: bench.state(job) is StateName.STOPPING, SOON_S)
    state = bench.home.platform.job(job.id).state
    assert isinstance(state, Stopping)
    bench.home.platform.try_again(job.id, state.reason)  # as the runner does once the container is gone
    bench.home.clock.advance(60)
    bench.scheduler.wake()
    wait_until(lambda: gpus_held(bench.home.platform.job(job.id).state) == {G1}, SOON_S)


def test_a_driver_that_is_silent_ends_no_job(bench: Bench, driver: FakeDriver) -> None:
    job = bench.starts(gpus=1)
    driver.error("count", fake_gpus.DRIVER_NOT_LOADED)
    wait_until(lambda: bench.watch.newest.stale, SOON_S)
    looks = bench.watch._done
    wait_until(lambda: bench.watch._done > looks + 3, SOON_S)
    assert bench.state(job) is StateName.STARTING


def test_a_gpu_that_nobody_knows_cannot_be_called_healed(bench: Bench) -> None:
    with pytest.raises(NotFound, match="knows of no GPU GPU-typo"):
        heal(bench.home.journal, "GPU-typo", bench.home.clock.now())


def test_whoever_asks_which_gpus_are_well_hears_of_an_xid_that_has_just_been_reported(
    bench: Bench, driver: FakeDriver
) -> None:
    driver.value("xid", 79, gpu=0)
    wait_until(lambda: [gpu.uuid for gpu in bench.watch.survey().gpus] == [G1], SOON_S)
    assert not bench.watch.survey().stale


def test_the_owner_of_the_machine_heals_a_gpu_by_a_command(tmp_path: Path) -> None:
    settings = tmp_path / "config.toml"
    settings.write_text("")
    run = CliRunner().invoke
    missing = run(main, ["gpu", "heal", "GPU-1", "--config", str(settings)])
    assert (missing.exit_code, "knows of no GPU GPU-1" in missing.output) == (3, True)
    with closing(Database(load(settings)[1].journal)) as database:
        Journal(database).note("gpus", '{"GPU-1": {"model": "A100", "absent": 0, "back": 0, "fault": null}}')
    done = run(main, ["gpu", "heal", "GPU-1", "--config", str(settings)])
    assert (done.exit_code, "is handed out again" in done.output) == (0, True)


def test_the_xid_of_an_application_keeps_nothing_back(bench: Bench, driver: FakeDriver) -> None:
    heard: list[int] = []
    bench.watch.subscribe(lambda survey: heard.extend(xid.code for xid in survey.xids))
    driver.value("xid", 31, gpu=1)
    wait_until(lambda: heard == [31], SOON_S)
    bench.until_handed_out(G0, G1)


def test_gpus_known_under_another_setting_are_forgotten(bench: Bench, driver: FakeDriver) -> None:
    bench.end()
    watch = GpuWatch(NvmlGpus(only=[G1]), bench.home.journal, bench.home.clock, str([G1]))
    watch.start(SOON_S)
    assert set(watch.offer().models) == {G1}
    watch.stop(5.0)
