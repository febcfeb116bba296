"""Who computes on which GPU, and what follows: strangers, trespassers, idlers, and those who take more than theirs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dopq import gpu_watch as gpu_watch_module
from dopq.config import GpuSettings
from dopq.container_handler.container import NODE_LABEL, container_name
from dopq.container_handler.engine import ContainerRequest
from dopq.errors import EngineUnavailable
from dopq.gpu_guard import ENDING_S, GpuGuard
from dopq.gpu_use import By
from dopq.gpu_watch import GpuWatch
from dopq.job import GpuId, Job, Stopping, lease_of
from dopq.job_containers import JobContainers
from dopq.system import gpus_to_wire
from dopq.utils import processes
from dopq.utils.gpu_probe import NvmlGpus
from tests import fake_gpus
from tests.fake_gpus import FakeDriver
from tests.fakes import FakeEngine
from tests.platforms import ANNA, BERT, Home
from tests.waiting import wait_until

SOON_S = 15.0
G0, G1 = GpuId(fake_gpus.uuid(0)), GpuId(fake_gpus.uuid(1))
NODE_ID = "cafe0001"
ANNAS, BERTS, EVES = 1000, 2000, 3000  # pids


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fake_gpus.build_library(tmp_path_factory.mktemp("nvml"))


class Bench:
    """A guard over a fake driver, the containers of a fake engine, and a /proc of its own."""

    def __init__(self, folder: Path, driver: FakeDriver, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in driver.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(gpu_watch_module, "LOOK_S", 0.05)
        monkeypatch.setattr(processes, "PROC", folder / "proc")
        self.driver, self._proc = driver, folder / "proc"
        self.engine = FakeEngine()
        self.image = self.engine.add_image("train:1")
        self.settings = GpuSettings(slots_per_gpu=4, idle_minutes=10)
        self.home = Home(folder, clock=self.engine.clock, gpu=self.settings)
        self.begin(self.settings)

    def begin(self, settings: GpuSettings) -> None:
        self.watch = GpuWatch(NvmlGpus(deadline_s=SOON_S), self.home.journal, self.home.clock, "all")
        containers = JobContainers(self.engine, NODE_ID)
        self.guard = GpuGuard(self.home.platform, self.watch, containers, settings, self.home.clock)
        self.watch.subscribe(self.guard.look)
        self.watch.start(SOON_S)

    def again(self, settings: GpuSettings) -> None:
        self.watch.stop(5.0)
        self.begin(settings)

    def close(self) -> None:
        self.watch.stop(5.0)
        self.home.close()

    def look(self, times: int = 1) -> None:
        """That many whole looks from now on."""
        number = self.watch._begun + times
        wait_until(lambda: self.watch._done >= number, SOON_S)

    def process(self, pid: int, container: str = "") -> None:
        (self._proc / str(pid)).mkdir(parents=True)
        (self._proc / str(pid) / "cgroup").write_text(f"0::/docker/{container}\n" if container else "0::/user.slice\n")

    def ends(self, pid: int) -> None:
        (self._proc / str(pid) / "cgroup").unlink()
        (self._proc / str(pid)).rmdir()

    def computes(self, pid: int, gpu: int, memory_mb: int = 1) -> None:
        self.driver.value("pid", pid, gpu=gpu)
        self.driver.value("process_memory_mb", memory_mb, gpu=gpu)
        self.driver.value("processes", 1, gpu=gpu)

    def leaves(self, gpu: int) -> None:
        self.driver.value("processes", 0, gpu=gpu)

    def job(self, user: str, gpu: GpuId, pid: int, slots: int | None = None) -> Job:
        """A running job with a process in its container."""
        job = self.home.queued(user, gpus=0 if slots else 1, slots=slots, image=self.image)  # type: ignore[arg-type]
        lease = lease_of(self.home.platform.begin(job.id, frozenset({gpu})).state)
        assert lease is not None
        name = container_name(NODE_ID, job.id, lease.attempt)
        self.engine.create(ContainerRequest(name=name, image=self.image, labels={NODE_LABEL: NODE_ID}))
        (its,) = [it for it, named in self.engine.ids({}).items() if named == name]
        self.process(pid, its)
        return self.home.platform.mark_running(job.id, self.home.clock.now())

    def reason(self, job: Job) -> str | None:
        told = self.home.platform.describe([self.home.platform.job(job.id)])[0]["reason"]
        return str(told["code"]) if told else None

    def until_told(self, job: Job, code: str | None) -> None:
        wait_until(lambda: self.reason(job) == code, SOON_S)

    def used_by(self) -> set[tuple[int, By]]:
        return {(use.process.pid, use.by) for use in self.guard.uses}


@pytest.fixture
def bench(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    bench = Bench(tmp_path, FakeDriver(library, tmp_path / "mood"), monkeypatch)
    yield bench
    bench.close()


# --- past the queue ---


def test_a_gpu_that_a_stranger_uses_is_spared_named_and_given_back(bench: Bench) -> None:
    bench.process(EVES)
    bench.computes(EVES, gpu=1, memory_mb=2048)
    wait_until(lambda: G1 in bench.watch.offer().withheld, SOON_S)
    reason = bench.watch.offer().withheld[G1]
    assert reason.code == "gpu_foreign"
    assert f"process {EVES} of " in reason.sentence
    assert "(2 GiB)" in reason.sentence
    told = gpus_to_wire(bench.watch.newest, bench.watch.offer(), bench.guard.uses, [])[1]
    assert told["withheld"]["code"] == "gpu_foreign"
    assert [(it["pid"], it["by"]) for it in told["processes"]] == [(EVES, "stranger")]
    assert G0 not in bench.watch.offer().withheld
    bench.leaves(gpu=1)
    wait_until(lambda: not bench.watch.offer().withheld, SOON_S)


def test_strangers_can_be_ignored(bench: Bench) -> None:
    bench.again(GpuSettings(foreign="ignore"))
    bench.process(EVES)
    bench.computes(EVES, gpu=1)
    wait_until(lambda: bench.used_by() == {(EVES, By.STRANGER)}, SOON_S)
    assert bench.watch.offer().withheld == {}


def test_the_process_of_a_job_on_its_own_gpu_is_explained_until_it_has_ended(bench: Bench) -> None:
    job = bench.job(ANNA, G0, ANNAS)
    bench.computes(ANNAS, gpu=0)
    wait_until(lambda: bench.used_by() == {(ANNAS, By.JOB)}, SOON_S)
    bench.home.platform.cancel(job.id, "anna")
    bench.home.platform.finish(job.id, *cancelled(bench, job), at=bench.home.clock.now())
    bench.engine.remove(container_name(NODE_ID, job.id, 1))
    bench.look(2)
    assert bench.used_by() == {(ANNAS, By.JOB)}, "it is dying, and nobody's fault"
    bench.ends(ANNAS)
    bench.look(1)
    bench.leaves(gpu=0)
    bench.look(2)
    assert bench.watch.offer().withheld == {}


def test_a_process_that_the_driver_still_lists_when_the_kernel_has_said_that_it_is_gone_is_no_strangers(
    bench: Bench,
) -> None:
    """The lease is over, the engine has not told how the job ended, and another job has the GPU by now."""
    job = bench.job(ANNA, G0, ANNAS)
    bench.computes(ANNAS, gpu=0)
    wait_until(lambda: bench.used_by() == {(ANNAS, By.JOB)}, SOON_S)
    bench.home.platform.end_lease(job.id, 1)
    after = bench.job(BERT, G0, BERTS)
    bench.look(2)
    assert bench.used_by() == {(ANNAS, By.JOB)}
    assert bench.watch.offer().withheld == {}
    assert (bench.reason(job), bench.reason(after)) == (None, None)


def test_the_gpu_of_a_job_that_is_over_is_not_handed_out_while_its_container_runs_on(bench: Bench) -> None:
    job = bench.job(ANNA, G0, ANNAS)
    bench.computes(ANNAS, gpu=0)
    bench.home.platform.cancel(job.id, "anna")
    bench.home.platform.finish(job.id, *cancelled(bench, job), at=bench.home.clock.now())
    bench.look(2)
    assert bench.watch.offer().withheld == {}
    bench.home.clock.advance(ENDING_S)
    wait_until(lambda: G0 in bench.watch.offer().withheld, SOON_S)
    assert f"job {job.id}, which does not hold it" in bench.watch.offer().withheld[G0].sentence
    bench.look(2)
    assert G0 in bench.watch.offer().withheld, "however long it lasts"
    bench.leaves(gpu=0)
    wait_until(lambda: not bench.watch.offer().withheld, SOON_S)


def cancelled(bench: Bench, job: Job) -> tuple[object, object]:
    state = bench.home.platform.job(job.id).state
    assert isinstance(state, Stopping)
    return state.becomes, state.reason


def test_a_process_that_nobody_can_look_into_is_its_gpus_jobs(bench: Bench) -> None:
    bench.job(ANNA, G0, ANNAS)
    bench.computes(7777, gpu=0)  # a number of another PID namespace
    wait_until(lambda: bench.used_by() == {(7777, By.UNKNOWN)}, SOON_S)
    bench.look(3)
    assert bench.watch.offer().withheld == {}


def test_a_process_that_nobody_can_look_into_on_a_free_gpu_is_foreign_once_it_stays(bench: Bench) -> None:
    bench.computes(7777, gpu=0)
    wait_until(lambda: G0 in bench.watch.offer().withheld, SOON_S)
    assert "process 7777 of somebody unknown" in bench.watch.offer().withheld[G0].sentence


def test_an_engine_that_is_away_makes_nobody_a_stranger(bench: Bench) -> None:
    bench.engine.fail_next("ids", EngineUnavailable("away"), times=10**6)
    bench.process(ANNAS, "d" * 64)
    job = bench.home.queued(ANNA, gpus=1)
    bench.home.platform.begin(job.id, frozenset({G0}))
    bench.computes(ANNAS, gpu=0)
    wait_until(lambda: bench.used_by() == {(ANNAS, By.UNKNOWN)}, SOON_S)
    bench.look(2)
    assert bench.watch.offer().withheld == {}


def test_a_job_on_a_gpu_that_it_does_not_hold_is_told_so_and_the_gpu_spared(bench: Bench) -> None:
    job = bench.job(ANNA, G0, ANNAS)
    bench.computes(ANNAS, gpu=1)
    bench.until_told(job, "gpu_trespass")
    assert f"job {job.id}, which does not hold it" in bench.watch.offer().withheld[G1].sentence
    bench.leaves(gpu=1)
    bench.until_told(job, None)


# --- idle ---


def test_a_job_that_leaves_its_gpu_idle_is_warned_and_the_warning_goes_with_the_idleness(bench: Bench) -> None:
    job = bench.job(ANNA, G0, ANNAS)
    bench.driver.value("utilisation", 0)
    bench.look(2)
    bench.home.clock.advance(9 * 60)
    bench.look(2)
    assert bench.reason(job) is None
    bench.home.clock.advance(2 * 60)
    bench.until_told(job, "gpu_idle")
    warned = bench.home.platform.job(job.id)
    bench.home.clock.advance(3600)
    bench.look(3)
    assert bench.home.platform.job(job.id) == warned, "told once, however long it lasts"
    bench.driver.value("utilisation", 3)
    bench.until_told(job, None)


def test_an_idle_job_is_ended_where_the_admin_wants_that(bench: Bench) -> None:
    bench.again(GpuSettings(idle_minutes=10, idle_policy="end"))
    job = bench.job(ANNA, G0, ANNAS)
    bench.driver.value("utilisation", 0)
    bench.look(2)
    bench.home.clock.advance(11 * 60)
    bench.until_told(job, "gpu_idle")
    assert isinstance(bench.home.platform.job(job.id).state, Stopping)


def test_a_gpu_whose_utilisation_cannot_be_read_is_not_called_idle(bench: Bench) -> None:
    job = bench.job(ANNA, G0, ANNAS)
    bench.driver.error("utilisation", fake_gpus.NOT_SUPPORTED)
    bench.look(2)
    bench.home.clock.advance(3600)
    bench.look(3)
    assert bench.reason(job) is None


# --- shares ---


@pytest.mark.parametrize("policy", ["warn", "end"])
def test_who_takes_more_than_their_slots_is_told_or_ended_and_never_a_neighbour(bench: Bench, policy: str) -> None:
    bench.again(GpuSettings(slots_per_gpu=4, overrun_policy=policy))  # type: ignore[arg-type]
    greedy = bench.job(ANNA, G0, ANNAS, slots=1)
    modest = bench.job(BERT, G0, ANNAS + 1, slots=3)
    bench.driver.value("pid", ANNAS, gpu=0)
    bench.driver.value("processes", 2, gpu=0)
    bench.driver.value("process_memory_mb", 4 * 1024, gpu=0)  # a quarter of the GPU, each
    wait_until(lambda: len(bench.guard.uses) == 2, SOON_S)
    bench.look(3)
    assert (bench.reason(greedy), bench.reason(modest)) == (None, None)
    bench.driver.value("process_memory_mb", 5 * 1024, gpu=0)
    bench.until_told(greedy, "gpu_overrun")
    bench.look(2)
    assert bench.reason(modest) is None
    assert isinstance(bench.home.platform.job(greedy.id).state, Stopping) == (policy == "end")
