"""A job between the end of its processes, of which the kernel tells, and the engine's word of how it ended."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dopq import asking, process_watch
from dopq import runner as runner_module
from dopq.container_handler.container import container_name
from dopq.container_handler.engine import Absent, ContainerName
from dopq.errors import EngineUnavailable, WrongState
from dopq.invariants import check
from dopq.job import Actor, Job, Reason, StateName, gpus_held, lease_of
from tests.integration.test_runner import NODE_ID, Bench
from tests.platforms import ANNA, BERT, gpu
from tests.waiting import wait_until

AWAY = EngineUnavailable("The engine does not answer.")
LONG = 10_000  # times
LIMIT = Reason("time_limit", "It reached its time limit.")


class Kernel:
    """Says when no process of a container is left; stands in for pidfds, which the containers of a fake have not."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._lock = threading.Lock()
        self._pipes: dict[str, int] = {}
        self.sees_nothing = False

    def hold(self, pid: int, container: str) -> int | None:
        if self.sees_nothing:
            return None
        read, write = os.pipe()
        with self._lock:
            self._pipes[container] = write
        return read

    def holds(self, name: ContainerName) -> bool:
        return self._id(name) in self._pipes

    def ends(self, name: ContainerName) -> None:
        """The last process of a container is gone."""
        with self._lock:
            os.close(self._pipes.pop(self._id(name)))

    def close(self) -> None:
        for write in self._pipes.values():
            os.close(write)

    def _id(self, name: ContainerName) -> str:
        return next((it for it, its in self._bench.engine.ids({}).items() if its == name), "")


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(asking, "RETRY_S", 0.01)
    monkeypatch.setattr(runner_module, "DEFECT_S", 0.01)
    bench = Bench(tmp_path)
    bench.program(log=b"epoch 1\n", runs_on=True)
    bench.runner.start()
    yield bench
    bench.engine.recover()
    bench.close()


@pytest.fixture
def kernel(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    kernel = Kernel(bench)
    monkeypatch.setattr(process_watch, "hold", kernel.hold)
    yield kernel
    kernel.close()


def running(bench: Bench, kernel: Kernel, retries: int = 0) -> Job:
    """A job that runs on GPU 0, and is seen by the kernel."""
    job = bench.home.queued(ANNA, gpus=1, image=bench.image, retries=retries)
    bench.runner.carry(bench.home.platform.begin(job.id, frozenset({gpu(0)})))
    wait_until(lambda: kernel.holds(bench.name(job)), 5.0)
    return job


def over(bench: Bench, kernel: Kernel, retries: int = 0) -> Job:
    """A job whose processes are gone, and whose container the engine has not seen end."""
    job = running(bench, kernel, retries)
    bench.home.clock.advance(600)
    kernel.ends(bench.name(job))
    wait_until(lambda: lease_of(bench.home.platform.job(job.id).state) is None, 5.0)
    return job


def open_pipes() -> int:
    """How many ends of pipes this process has open."""
    found = 0
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found += str(link.readlink()).startswith("pipe:")
    return found


def story(bench: Bench, job: Job) -> list[str]:
    return [str(event.new) for event in bench.home.platform.story(job.id)][2:]


def test_others_have_the_gpus_when_the_last_process_is_gone_and_the_job_ends_by_the_engines_word(
    bench: Bench, kernel: Kernel
) -> None:
    job = over(bench, kernel)
    assert bench.state(job) is StateName.RUNNING
    after = bench.home.starting(BERT, frozenset({gpu(0)}), image=bench.image)
    bench.runner.carry(after)
    bench.until(after, StateName.RUNNING)
    bench.home.clock.advance(1)
    bench.engine.release(bench.name(job), 3)
    end = bench.ended(job)
    assert (end.outcome, end.exit_code) == (StateName.FAILED, 3)
    assert bench.log(job) == b"epoch 1\n"
    assert story(bench, job) == ["starting", "running", "running", "failed"]
    assert bench.home.platform.describe([bench.home.platform.job(job.id)])[0]["gpu_seconds"] == 600.0
    assert gpus_held(bench.home.platform.job(after.id).state) == {gpu(0)}
    assert check(bench.home.evidence()) == []


def test_where_the_kernel_cannot_be_asked_a_lease_ends_with_its_job(bench: Bench, kernel: Kernel) -> None:
    kernel.sees_nothing = True
    job = bench.begin()
    bench.until(job, StateName.RUNNING)
    bench.engine.release(bench.name(job))
    assert bench.ended(job).lease == bench.home.platform.story(job.id)[2].lease
    assert story(bench, job) == ["starting", "running", "succeeded"]


def test_a_node_that_was_killed_in_between_finishes_the_job_and_runs_it_no_second_time(
    bench: Bench, kernel: Kernel
) -> None:
    job = over(bench, kernel)
    bench.restart()
    bench.engine.release(bench.name(job), 3)
    bench.runner.start()
    assert bench.ended(job).exit_code == 3
    assert bench.engine.starts == [bench.name(job)]
    assert bench.log(job) == b"epoch 1\n"
    wait_until(lambda: bench.engine.observe(bench.name(job)) == Absent(), 5.0)


def test_a_new_life_to_which_the_engine_calls_it_running_waits_with_the_engine(bench: Bench, kernel: Kernel) -> None:
    job = over(bench, kernel)
    bench.restart()
    bench.runner.start()
    wait_until(lambda: bench.runner._carried, 5.0)
    assert lease_of(bench.home.platform.job(job.id).state) is None
    bench.engine.release(bench.name(job))
    assert bench.ended(job).outcome is StateName.SUCCEEDED
    assert bench.engine.starts == [bench.name(job)]


def test_a_container_that_is_gone_in_between_is_lost_and_its_user_is_paid_back(bench: Bench, kernel: Kernel) -> None:
    job = over(bench, kernel)
    bench.restart()
    bench.engine.remove(bench.name(job))
    bench.runner.start()
    assert bench.ended(job).outcome is StateName.LOST
    assert bench.engine.starts == [bench.name(job)]
    assert bench.home.journal.accounts()[ANNA].usage == pytest.approx(0.0, abs=1e-6)
    assert check(bench.home.evidence()) == []


def test_a_container_that_is_to_be_started_yet_is_not_once_its_lease_is_over(bench: Bench, kernel: Kernel) -> None:
    """As if the engine had forgotten that it ever ran."""
    job = over(bench, kernel)
    bench.restart()
    request = bench.engine.requests[-1]
    bench.engine.remove(request.name)
    bench.engine.create(request)
    bench.runner.start()
    assert bench.ended(job).outcome is StateName.LOST
    assert bench.engine.starts == [request.name]


def test_an_engine_that_hangs_in_between_keeps_the_job_and_nobody_else(bench: Bench, kernel: Kernel) -> None:
    job = running(bench, kernel)
    for verb in ("wait", "observe", "log"):
        bench.engine.fail_next(verb, AWAY, times=LONG)
    bench.engine.release(bench.name(job))
    kernel.ends(bench.name(job))
    wait_until(lambda: not bench.home.platform.leased(), 5.0)
    wait_until(lambda: bench.runner.trouble, 5.0)
    assert bench.home.starting(BERT, frozenset({gpu(0)})).state.name is StateName.STARTING
    assert bench.state(job) is StateName.RUNNING
    bench.engine.recover()
    assert bench.ended(job).outcome is StateName.SUCCEEDED


@pytest.mark.parametrize("retries", [0, 1])
def test_a_job_that_went_down_with_the_engine_is_paid_back_and_tried_again(
    bench: Bench, kernel: Kernel, retries: int
) -> None:
    job = over(bench, kernel, retries)
    bench.engine.restart()
    if retries:
        bench.until(job, StateName.QUEUED)
    else:
        assert bench.ended(job).reason.code == "engine_restarted"
    assert bench.home.journal.accounts()[ANNA].usage == pytest.approx(0.0, abs=1e-6)
    assert check(bench.home.evidence()) == []


def test_the_end_of_a_former_attempts_process_ends_no_lease_of_the_next(bench: Bench, kernel: Kernel) -> None:
    job = running(bench, kernel, retries=1)
    bench.engine.restart()
    bench.until(job, StateName.QUEUED)
    bench.home.clock.advance(30)
    bench.runner.carry(bench.home.platform.begin(job.id, frozenset({gpu(1)})))
    second = container_name(NODE_ID, job.id, 2)
    wait_until(lambda: kernel.holds(second), 5.0)
    kernel._pipes, pipes = {}, list(kernel._pipes.values())
    os.close(pipes[0])
    wait_until(lambda: len(bench.runner._processes._held) == 1, 5.0)
    assert gpus_held(bench.home.platform.job(job.id).state) == {gpu(1)}
    os.close(pipes[1])
    wait_until(lambda: not bench.home.platform.leased(), 5.0)
    bench.engine.release(second)
    bench.ended(job)


def test_who_cancels_it_in_between_sees_its_own_result_and_the_engine_is_asked_for_nothing(
    bench: Bench, kernel: Kernel
) -> None:
    job = over(bench, kernel)
    bench.home.clock.advance(1)
    assert bench.home.platform.cancel(job.id, "anna").state.name is StateName.STOPPING
    bench.home.clock.advance(1)
    assert bench.home.platform.cancel(job.id, "anna").state.name is StateName.STOPPING
    assert not [thread for thread in threading.enumerate() if thread.name == f"stop-{job.id}"]
    bench.engine.release(bench.name(job), 3)
    end = bench.ended(job)
    assert (end.outcome, end.exit_code) == (StateName.FAILED, 3)


def test_who_cancels_it_in_between_gets_no_further_attempt(bench: Bench, kernel: Kernel) -> None:
    job = over(bench, kernel, retries=1)
    bench.home.platform.cancel(job.id, "anna")
    bench.engine.restart()
    bench.ended(job)
    assert bench.engine.starts == [bench.name(job)]


def test_a_job_that_is_stopped_gives_its_gpus_back_with_its_process(bench: Bench, kernel: Kernel) -> None:
    bench.engine.fail_next("stop", AWAY, times=LONG)
    job = running(bench, kernel)
    bench.home.platform.cancel(job.id, "anna")
    kernel.ends(bench.name(job))
    wait_until(lambda: not bench.home.platform.leased(), 5.0)
    assert story(bench, job)[-2:] == ["stopping", "stopping"]
    bench.engine.recover()
    assert bench.ended(job).outcome is StateName.CANCELLED


def test_there_is_nothing_to_stop_once_its_process_is_gone(bench: Bench, kernel: Kernel) -> None:
    job = over(bench, kernel)
    with pytest.raises(WrongState, match="nothing to stop"):
        bench.home.platform.request_stop(job.id, StateName.TIMED_OUT, LIMIT, Actor.SCHEDULER)
    bench.engine.release(bench.name(job))
    assert bench.ended(job).outcome is StateName.SUCCEEDED


def test_a_journal_that_takes_nothing_in_that_moment_leaves_the_lease_to_the_end_of_the_job(
    bench: Bench, kernel: Kernel
) -> None:
    job = running(bench, kernel)
    bench.home.database.rows("PRAGMA query_only=ON")
    kernel.ends(bench.name(job))
    wait_until(lambda: not bench.runner._processes._held, 5.0)
    bench.home.database.rows("PRAGMA query_only=OFF")
    assert gpus_held(bench.home.platform.job(job.id).state) == {gpu(0)}
    bench.engine.release(bench.name(job))
    assert bench.ended(job).outcome is StateName.SUCCEEDED
    assert bench.home.platform.leased() == []


def test_no_descriptor_is_left_of_jobs_that_have_ended_nor_of_a_node_that_has_stopped(
    bench: Bench, kernel: Kernel
) -> None:
    before = open_pipes()
    jobs = [bench.begin(gpus=0) for _ in range(5)]
    wait_until(lambda: all(kernel.holds(bench.name(job)) for job in jobs), 5.0)
    for job in jobs[:4]:
        kernel.ends(bench.name(job))
        bench.engine.release(bench.name(job))
        bench.ended(job)
    wait_until(lambda: open_pipes() == before + 2, 5.0)
    bench.runner.stop()
    assert open_pipes() == before + 1  # the other end of the last pipe


moments = st.sampled_from(["never", "before the engine", "after the engine"])


@settings(max_examples=20)
@given(moments, st.booleans(), st.lists(st.sampled_from(["wait", "log", "observe", "remove"]), max_size=4))
def test_whenever_the_kernel_tells_and_whoever_is_away_a_job_ends_once_and_its_lease_too(
    moment: str, killed: bool, away: list[str]
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(asking, "RETRY_S", 0.01)
        bench = Bench(Path(folder))
        kernel = Kernel(bench)
        patch.setattr(process_watch, "hold", kernel.hold)
        bench.program(log=b"once\n", runs_on=True)
        bench.runner.start()
        job = running(bench, kernel)
        for verb in away:
            bench.engine.fail_next(verb, AWAY, times=2)
        if moment == "before the engine":
            kernel.ends(bench.name(job))
        if killed:
            bench.restart()
        bench.engine.release(bench.name(job), 3)
        if killed:
            bench.runner.start()
        end = bench.ended(job)
        if moment == "after the engine":
            with suppress(KeyError):
                kernel.ends(bench.name(job))
        assert (end.outcome, end.exit_code) == (StateName.FAILED, 3)
        assert bench.log(job) == b"once\n"
        assert bench.engine.starts == [bench.name(job)]
        assert bench.home.platform.leased() == []
        assert check(bench.home.evidence()) == []
        bench.engine.recover()
        bench.close()
        kernel.close()
