"""The runner, on an engine that does its worst: each attempt starts once, ends once, and nothing of it is lost."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dopq import runner as runner_module
from dopq.config import ContainerSettings, TemplatesSettings
from dopq.container_handler.container import container_name
from dopq.container_handler.engine import Absent, Alive, ContainerName, ContainerRequest, Created, Exited
from dopq.container_handler.proof import MAC_LABEL, Proof, node_key
from dopq.errors import EngineRefused, EngineUnavailable, OperatorError
from dopq.job import Actor, Ended, Job, JobId, Reason, Running, StateName, lease_of
from dopq.publisher import Publisher
from dopq.runner import Runner, RunnerSettings
from dopq.utils.gpu import Gpu, GpuSurvey
from tests.fakes import FakeEngine, Program
from tests.platforms import ANNA, Home, gpu
from tests.waiting import wait_until

NODE_ID = "abcd"
COMMAND = ("train",)
AWAY = EngineUnavailable("The engine does not answer.")
VERBS = ["observe", "create", "start", "wait", "log", "remove"]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits that only spare an engine are not worth a test's time."""
    for name in ("RETRY_S", "DEFECT_S"):
        monkeypatch.setattr(runner_module, name, 0.01)


class Interrupted(FakeEngine):
    """An engine at whose first "before <verb>" or "after <verb>" something happens, once."""

    def __init__(self, moment: str) -> None:
        super().__init__()
        self._moment = moment
        self.happens: Callable[[], object] = lambda: None

    def reached(self, moment: str) -> None:
        if moment == self._moment:
            self._moment = ""
            self.happens()


def _interrupted(verb: str) -> Callable[..., Any]:
    real = getattr(FakeEngine, verb)

    def method(engine: Interrupted, *arguments: Any) -> Any:
        engine.reached(f"before {verb}")
        result = real(engine, *arguments)
        engine.reached(f"after {verb}")
        return result

    return method


for _verb in VERBS:
    setattr(Interrupted, _verb, _interrupted(_verb))


class Bench:
    """A home, an engine that outlives the node, and the runner of one life of the node after the other."""

    def __init__(self, folder: Path, engine: FakeEngine | None = None, *, ready_namespaces: int = 0) -> None:
        self.engine = engine or FakeEngine()
        self.ready_namespaces = ready_namespaces
        self.home = Home(folder, clock=self.engine.clock)
        self.image = self.engine.add_image("train:1", COMMAND)
        self.gpus = GpuSurvey(tuple(Gpu(gpu(n), n) for n in range(4)))
        self.runner = self._runner()

    def _runner(self) -> Runner:
        container = ContainerSettings(stop_grace_s=3, ready_namespaces=self.ready_namespaces)
        return Runner(
            self.home.platform,
            self.engine,
            self.home.results,
            self,
            RunnerSettings(NODE_ID, self.home.paths, container, TemplatesSettings()),
            self.home.clock,
        )

    def survey(self) -> GpuSurvey:
        """What the runner sees of the GPUs."""
        return self.gpus

    def restart(self) -> None:
        """kill -9 and a new life: nothing is told to anybody. Only the old threads are gone for sure."""
        self.let_go()
        self.home.restart()
        self.runner = self._runner()

    def let_go(self) -> None:
        def gone() -> bool:
            self.engine.interrupt_logs()
            return not self.runner._carried

        self.runner._stopping.set()
        self.runner._mirror.stop(5.0)
        wait_until(gone, 5.0)

    def close(self) -> None:
        self.let_go()
        if self.runner._sampler._thread.is_alive():
            self.runner.stop()
        self.home.platform.assert_consistent()
        self.home.close()

    # --- jobs ---

    def program(self, **program: Any) -> None:
        self.engine.programs[COMMAND] = Program(**program)

    def begin(self, gpus: int = 1) -> Job:
        job = self.home.starting(ANNA, frozenset(gpu(n) for n in range(gpus)), image=self.image)
        self.runner.carry(job)
        return job

    def name(self, job: Job) -> ContainerName:
        return container_name(NODE_ID, job.id, 1)

    def mac(self, name: ContainerName) -> str:
        """The proof that this node has made a container of that name."""
        return Proof(self.engine, node_key(self.home.paths.container_key)).mac(name, self.image)

    def state(self, job: Job) -> StateName:
        return self.home.platform.job(job.id).state.name

    def until(self, job: Job, state: StateName) -> None:
        wait_until(lambda: self.state(job) is state, 5.0)

    def ended(self, job: Job) -> Ended:
        wait_until(lambda: isinstance(self.home.platform.job(job.id).state, Ended), 5.0)
        wait_until(lambda: job.id not in self.runner._carried, 5.0)
        state = self.home.platform.job(job.id).state
        assert isinstance(state, Ended)
        return state

    def log(self, job: Job) -> bytes:
        return (self.home.outbox.folder(job) / "job.log").read_bytes()

    def take_share_away(self) -> None:
        self.home.paths.outbox.rename(self.home.paths.share / "away")
        self.home.paths.outbox.write_text("a file where the share was mounted")

    def bring_share_back(self) -> None:
        self.home.paths.outbox.unlink()
        (self.home.paths.share / "away").rename(self.home.paths.outbox)

    def publish(self) -> None:
        """A publisher tells everything that is to be told, which it does before it stops."""
        publisher = Publisher(self.home.platform, self.home.outbox, self.home.results, self.home.paths)
        publisher.start()
        publisher.stop(5.0)
        assert self.home.platform.unpublished() == []

    def output(self, job: Job) -> Path:
        return self.home.paths.jobs / str(job.id) / "output"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


# --- one life ---


def test_a_job_runs_and_everything_of_it_comes_home(bench: Bench) -> None:
    bench.program(log=b"epoch 1\nepoch 2\n", runs_on=True)
    job = bench.begin()
    bench.until(job, StateName.RUNNING)
    (bench.output(job) / "metrics.json").write_text("{}")
    bench.home.clock.advance(60)
    bench.engine.release(bench.name(job))
    end = bench.ended(job)
    assert (end.outcome, end.exit_code, end.reason.code) == (StateName.SUCCEEDED, 0, "succeeded")
    assert (end.at - end.started_at).total_seconds() == 60  # type: ignore[operator]
    assert bench.log(job) == b"epoch 1\nepoch 2\n"
    assert (bench.home.outbox.folder(job) / "output" / "metrics.json").read_text() == "{}"
    assert bench.engine.observe(bench.name(job)) == Absent()
    assert bench.engine.starts == [bench.name(job)]
    story = [event.new for event in bench.home.platform.story(job.id)]
    assert story[-3:] == [StateName.STARTING, StateName.RUNNING, StateName.SUCCEEDED]


def test_a_container_is_created_from_the_lease_and_the_spec(bench: Bench) -> None:
    job = bench.begin(gpus=2)
    bench.ended(job)
    (request,) = bench.engine.requests
    assert request.gpus == {gpu(0), gpu(1)}
    assert request.image == bench.image
    assert {mount.target for mount in request.mounts if not mount.read_only} == {"/output", "/outdir"}


@pytest.mark.parametrize(
    ("program", "outcome", "code", "exit_code"),
    [
        ({"exit_code": 3}, StateName.FAILED, "exit_code", 3),
        ({"exit_code": 137, "out_of_memory": True}, StateName.FAILED, "out_of_memory", 137),
        ({"exit_code": 137}, StateName.FAILED, "killed", 137),
        ({"start_error": "no such executable: train"}, StateName.FAILED, "start_failed", None),
    ],
)
def test_how_a_job_ends_is_told_with_what_to_do(
    bench: Bench, program: dict[str, Any], outcome: StateName, code: str, exit_code: int | None
) -> None:
    bench.program(log=b"last words\n", **program)
    job = bench.begin()
    end = bench.ended(job)
    assert (end.outcome, end.reason.code, end.exit_code) == (outcome, code, exit_code)
    assert len(end.reason.sentence) > 20
    assert bench.engine.observe(bench.name(job)) == Absent()
    assert len(bench.engine.starts) == (code != "start_failed")


def test_an_image_that_is_gone_fails_the_job_with_the_engines_words(bench: Bench) -> None:
    bench.engine.remove_image(bench.image)
    end = bench.ended(bench.begin())
    assert end.reason.code == "start_failed"
    assert "No such image" in end.reason.sentence


# --- an engine that is away, or says no ---


@pytest.mark.parametrize("after", [False, True], ids=["before it acted", "after it acted"])
@pytest.mark.parametrize("verb", VERBS)
def test_an_engine_that_is_away_at_any_step_changes_nothing_but_the_time(bench: Bench, verb: str, after: bool) -> None:
    bench.program(log=b"epoch 1\n", exit_code=3)
    bench.engine.fail_next(verb, AWAY, times=3, after=after)
    job = bench.begin()
    end = bench.ended(job)
    assert (end.outcome, end.exit_code) == (StateName.FAILED, 3)
    assert bench.log(job) == b"epoch 1\n"
    assert bench.engine.starts == [bench.name(job)]
    assert bench.engine.observe(bench.name(job)) == Absent()


troubles = st.lists(
    st.tuples(st.sampled_from([*VERBS, "stop"]), st.integers(1, 4), st.booleans()), min_size=1, max_size=6
)


@settings(max_examples=25)
@given(troubles, st.booleans(), st.binary(max_size=40))
def test_whatever_an_engine_does_no_attempt_starts_twice(
    ordered: list[tuple[str, int, bool]], cancelled: bool, log: bytes
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        bench.program(log=log, runs_on=cancelled, exit_code=0)
        for verb, times, after in ordered:
            bench.engine.fail_next(verb, AWAY, times=times, after=after)
        job = bench.begin()
        bench.runner.start()
        if cancelled:
            bench.home.platform.cancel(job.id, "anna")
        end = bench.ended(job)
        assert end.outcome is (StateName.CANCELLED if cancelled else StateName.SUCCEEDED)
        assert len(bench.engine.starts) <= 1
        if bench.engine.starts:
            assert bench.log(job) == log.decode(errors="replace").encode()
        bench.engine.recover()  # what it had in store and nobody met
        assert bench.engine.observe(bench.name(job)) == Absent()
        bench.close()


def test_a_log_that_the_engine_refuses_does_not_keep_a_job_from_ending(bench: Bench) -> None:
    bench.program(runs_on=True)
    bench.engine.fail_next("log", EngineRefused("This log driver does not support reading."), times=2)
    job = bench.begin()
    bench.until(job, StateName.RUNNING)
    bench.engine.release(bench.name(job))
    assert bench.ended(job).outcome is StateName.SUCCEEDED


def test_a_container_that_cannot_be_removed_is_no_reason_to_hold_gpus(bench: Bench) -> None:
    bench.engine.fail_next("remove", EngineRefused("Device busy."))
    job = bench.begin()
    assert bench.ended(job).outcome is StateName.SUCCEEDED
    bench.restart()
    bench.runner.start()
    wait_until(lambda: bench.engine.observe(bench.name(job)) == Absent(), 5.0)


def test_a_container_that_somebody_removed_while_it_ran_is_lost(bench: Bench) -> None:
    bench.program(runs_on=True)
    job = bench.begin()
    bench.until(job, StateName.RUNNING)
    bench.engine.remove(bench.name(job))
    end = bench.ended(job)
    assert (end.outcome, end.exit_code, end.reason.code) == (StateName.LOST, None, "container_gone")
    assert len(bench.engine.starts) == 1


# --- tried again ---


def retried(bench: Bench) -> tuple[Job, ContainerName, ContainerName]:
    """A job whose container somebody removed while it ran, when its second attempt has begun."""
    bench.program(log=b"epoch 1\n", runs_on=True)
    job = bench.home.queued(ANNA, gpus=1, image=bench.image, retries=1)
    names = container_name(NODE_ID, job.id, 1), container_name(NODE_ID, job.id, 2)
    bench.runner.carry(bench.home.platform.begin(job.id, frozenset({gpu(0)})))
    wait_until(lambda: bench.home.results.log_file(job).exists(), 5.0)
    wait_until(lambda: bench.home.results.log_file(job).read_bytes() == b"epoch 1\n", 5.0)
    (bench.output(job) / "checkpoint").write_text("1")
    bench.engine.remove(names[0])
    bench.until(job, StateName.QUEUED)
    bench.home.clock.advance(30)
    bench.runner.carry(bench.home.platform.begin(job.id, frozenset({gpu(1)})))
    wait_until(lambda: isinstance(bench.engine.observe(names[1]), Alive), 5.0)
    return job, *names


def test_a_lost_container_is_followed_by_another_whose_log_goes_on_behind(bench: Bench) -> None:
    job, first, second = retried(bench)
    bench.engine.release(second)
    assert bench.ended(job).outcome is StateName.SUCCEEDED
    assert bench.engine.starts == [first, second]
    assert bench.log(job) == b"epoch 1\n--- attempt 2 ---\nepoch 1\n"
    assert (bench.home.outbox.folder(job) / "output" / "checkpoint").read_text() == "1"
    assert not bench.engine.containers({})
    assert bench.engine.requests[-1].environment["DOPQ_ATTEMPT"] == "2"


def test_a_restart_in_the_second_attempt_doubles_nothing_of_the_log(bench: Bench) -> None:
    job, _, second = retried(bench)
    bench.restart()
    bench.runner.start()
    bench.engine.say(second, b"epoch 2\n")
    bench.engine.release(second)
    assert bench.ended(job).outcome is StateName.SUCCEEDED
    assert bench.log(job) == b"epoch 1\n--- attempt 2 ---\nepoch 1\nepoch 2\n"


@pytest.mark.parametrize(
    ("seen", "exit_code", "code"),
    [
        (GpuSurvey((Gpu(gpu(1), 1),)), 1, "gpu_lost"),
        (GpuSurvey((Gpu(gpu(1), 1),)), 0, "succeeded"),
        (GpuSurvey((Gpu(gpu(1), 1),), stale=True), 1, "exit_code"),
    ],
)
def test_a_job_that_fails_with_its_gpu_is_told_from_one_that_fails_by_itself(
    bench: Bench, seen: GpuSurvey, exit_code: int, code: str
) -> None:
    bench.program(exit_code=exit_code)
    bench.gpus = seen
    assert bench.ended(bench.begin()).reason.code == code


def test_a_job_that_lost_its_gpu_is_tried_again(bench: Bench) -> None:
    bench.program(exit_code=1)
    bench.gpus = GpuSurvey()
    job = bench.home.queued(ANNA, gpus=1, image=bench.image, retries=1)
    bench.runner.carry(bench.home.platform.begin(job.id, frozenset({gpu(0)})))
    bench.until(job, StateName.QUEUED)


def test_a_job_runs_all_the_same_when_somebody_has_pruned_the_network_of_the_jobs(bench: Bench) -> None:
    assert bench.ended(bench.begin()).outcome is StateName.SUCCEEDED
    bench.engine.networks.clear()
    job = bench.begin()
    assert bench.ended(job).outcome is StateName.SUCCEEDED
    assert bench.engine.starts.count(bench.name(job)) == 1


def test_a_network_that_cannot_be_had_again_ends_the_job(bench: Bench) -> None:
    bench.ended(bench.begin())
    bench.engine.networks.clear()
    bench.engine.fail_next("provide_network", EngineRefused("No address is left for a network."))
    end = bench.ended(bench.begin())
    assert (end.outcome, end.reason.code) == (StateName.FAILED, "start_failed")


def test_the_next_attempt_may_begin_while_the_engine_does_not_yet_remove_the_last_one(bench: Bench) -> None:
    bench.program(start_error="no such device")
    job = bench.home.queued(ANNA, image=bench.image, retries=1)
    bench.engine.fail_next("remove", AWAY, times=10**6)
    bench.runner.carry(bench.home.platform.begin(job.id, frozenset()))
    bench.until(job, StateName.QUEUED)
    bench.runner.carry(bench.home.platform.begin(job.id, frozenset()))
    assert bench.state(job) is StateName.STARTING
    bench.engine.recover()
    assert bench.ended(job).reason.code == "start_failed"
    assert not bench.engine.containers({})


def test_a_container_that_cannot_be_started_is_tried_again_and_then_given_up(bench: Bench) -> None:
    bench.program(start_error="no such device")
    job = bench.home.queued(ANNA, image=bench.image, retries=1)
    bench.runner.carry(bench.home.platform.begin(job.id, frozenset()))
    bench.until(job, StateName.QUEUED)
    wait_until(lambda: job.id not in bench.runner._carried, 5.0)
    bench.runner.carry(bench.home.platform.begin(job.id, frozenset()))
    assert bench.ended(job).reason.code == "start_failed"
    assert not bench.engine.containers({})


def test_a_journal_that_cannot_be_written_for_a_while_loses_no_end(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish, failures = bench.home.platform.finish, iter([OperatorError("The disk is full."), RuntimeError("odd")])

    def finishes_in_the_end(*args: Any, **kwargs: Any) -> Job:
        for failure in failures:
            raise failure
        return finish(*args, **kwargs)

    monkeypatch.setattr(bench.home.platform, "finish", finishes_in_the_end)
    job = bench.begin()
    assert bench.ended(job).outcome is StateName.SUCCEEDED
    assert len(bench.engine.starts) == 1


def test_carrying_a_job_twice_starts_it_once(bench: Bench) -> None:
    bench.program(runs_on=True)
    job = bench.begin()
    bench.runner.carry(job)
    bench.until(job, StateName.RUNNING)
    bench.runner.carry(job)
    bench.engine.release(bench.name(job))
    bench.ended(job)
    assert len(bench.engine.requests) == len(bench.engine.starts) == 1


def test_what_a_job_took_is_sampled(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dopq.sampler.SAMPLE_S", 0.01)
    bench.program(runs_on=True)
    bench.runner.start()
    job = bench.begin()
    bench.until(job, StateName.RUNNING)
    bench.home.clock.advance(5)
    wait_until(lambda: (use := bench.runner._sampler._seen.get(job.id)) and use.sample.cpu_s == 5.0, 5.0)
    bench.engine.release(bench.name(job))
    use = bench.ended(job).use
    assert (use.cpu_s, use.memory_peak_bytes) == (5.0, 64 << 20)
    assert bench.runner.capacity is not None


def test_a_running_job_has_a_load_until_it_ends_or_nobody_could_look_for_ten_seconds(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dopq.sampler.SAMPLE_S", 0.01)
    bench.program(runs_on=True)
    bench.runner.start()
    job = bench.begin()
    bench.until(job, StateName.RUNNING)
    wait_until(lambda: bench.runner.load(job.id), 5.0)
    bench.home.clock.advance(5)
    wait_until(lambda: (load := bench.runner.load(job.id)) and load.cpu_cores == 1.0, 5.0)
    load = bench.runner.load(job.id)
    assert load is not None
    assert load.memory_bytes == 48 << 20
    bench.runner._sampler.stop(5.0)
    bench.home.clock.advance(11)
    assert bench.runner.load(job.id) is None


# --- being stopped ---


@pytest.fixture
def listening(bench: Bench) -> Bench:
    bench.runner.start()
    return bench


@pytest.mark.parametrize("ignores_stop", [False, True])
def test_a_running_job_is_cancelled(listening: Bench, ignores_stop: bool) -> None:
    bench = listening
    bench.program(runs_on=True, ignores_stop=ignores_stop, log=b"epoch 1\n")
    job = bench.begin()
    bench.until(job, StateName.RUNNING)
    bench.home.platform.cancel(job.id, "anna")
    end = bench.ended(job)
    assert (end.outcome, end.reason.code) == (StateName.CANCELLED, "cancelled")
    assert end.exit_code == (137 if ignores_stop else 143)
    assert bench.log(job) == b"epoch 1\n"


def test_a_job_is_cancelled_though_the_engine_is_away_at_first(listening: Bench) -> None:
    bench = listening
    bench.program(runs_on=True)
    job = bench.begin()
    bench.until(job, StateName.RUNNING)
    bench.engine.fail_next("stop", AWAY, times=3)
    bench.home.platform.cancel(job.id, "anna")
    assert bench.ended(job).outcome is StateName.CANCELLED


def test_a_job_at_its_time_limit_is_timed_out(listening: Bench) -> None:
    bench = listening
    bench.program(runs_on=True)
    job = bench.begin()
    bench.until(job, StateName.RUNNING)
    reason = Reason("time_limit", "It reached its time limit.")
    bench.home.platform.request_stop(job.id, StateName.TIMED_OUT, reason, Actor.SCHEDULER)
    end = bench.ended(job)
    assert (end.outcome, end.reason) == (StateName.TIMED_OUT, reason)


@pytest.mark.parametrize("verb", ["create", "start"])
def test_a_job_that_is_cancelled_before_its_process_ran_never_runs(listening: Bench, verb: str) -> None:
    bench = listening
    bench.program(runs_on=True)
    bench.engine.fail_next(verb, AWAY, times=10_000)
    job = bench.begin()
    wait_until(lambda: bench.runner.trouble, 5.0)
    bench.home.platform.cancel(job.id, "anna")
    bench.engine.recover()
    assert bench.ended(job).outcome is StateName.CANCELLED
    assert bench.engine.starts == []
    assert bench.engine.observe(bench.name(job)) == Absent()


@pytest.mark.parametrize("moment", ["before create", "after create", "before start", "after start"])
def test_a_job_that_is_cancelled_in_the_midst_of_its_start_ends_cancelled(tmp_path: Path, moment: str) -> None:
    engine = Interrupted(moment)
    bench = Bench(tmp_path, engine)
    engine.happens = lambda: bench.home.platform.cancel(JobId(1), "anna")
    bench.program(runs_on=True)
    bench.runner.start()
    job = bench.begin()
    assert bench.ended(job).outcome is StateName.CANCELLED
    assert len(engine.starts) <= 1
    bench.close()


def test_a_process_that_ended_by_itself_before_the_stop_keeps_its_own_result(listening: Bench) -> None:
    bench = listening
    bench.program(runs_on=True)
    job = bench.begin()
    bench.until(job, StateName.RUNNING)
    bench.engine.fail_next("wait", AWAY, times=10_000)
    bench.engine.release(bench.name(job), 3)
    bench.home.clock.advance(1)
    bench.home.platform.cancel(job.id, "anna")
    bench.engine.recover()
    end = bench.ended(job)
    assert (end.outcome, end.exit_code) == (StateName.FAILED, 3)


# --- a new life of the node ---


def test_a_container_that_ran_on_is_adopted_with_its_whole_log_and_its_exit_code(bench: Bench) -> None:
    bench.program(log=b"epoch 1\n", runs_on=True)
    bench.runner.start()
    job = bench.begin()
    wait_until(lambda: (bench.home.outbox.folder(job) / "job.log").exists() and bench.log(job) == b"epoch 1\n", 5.0)
    for epoch in (2, 3):
        bench.restart()
        bench.engine.say(bench.name(job), b"epoch %d\n" % epoch)
        bench.runner.start()
        wait_until(lambda epoch=epoch: bench.log(job).endswith(b"epoch %d\n" % epoch), 5.0)  # type: ignore[misc]
    bench.engine.release(bench.name(job), 3)
    end = bench.ended(job)
    assert (end.outcome, end.exit_code) == (StateName.FAILED, 3)
    assert bench.log(job) == b"epoch 1\nepoch 2\nepoch 3\n"
    assert bench.engine.starts == [bench.name(job)]
    running = [event for event in bench.home.platform.story(job.id) if event.new is StateName.RUNNING]
    assert len(running) == 1


def test_a_container_that_ended_while_the_node_was_down_is_finished_with_the_engines_times(bench: Bench) -> None:
    bench.program(log=b"epoch 1\n", runs_on=True)
    job = bench.begin()
    bench.until(job, StateName.RUNNING)
    bench.restart()
    bench.home.clock.advance(100)
    bench.engine.say(bench.name(job), b"epoch 2\n")
    bench.engine.release(bench.name(job))
    bench.home.clock.advance(3600)
    bench.runner.start()
    end = bench.ended(job)
    assert end.outcome is StateName.SUCCEEDED
    assert (end.at - end.started_at).total_seconds() == 100  # type: ignore[operator]
    assert bench.log(job) == b"epoch 1\nepoch 2\n"
    assert len(bench.engine.starts) == 1


def test_a_container_that_went_away_while_the_node_was_down_is_lost_and_not_run_again(bench: Bench) -> None:
    bench.program(runs_on=True)
    job = bench.begin()
    bench.until(job, StateName.RUNNING)
    bench.restart()
    bench.engine.remove(bench.name(job))
    bench.runner.start()
    assert bench.ended(job).outcome is StateName.LOST
    assert len(bench.engine.starts) == 1


SHORT, LONG = {"exit_code": 3}, {"runs_on": True}
MOMENTS = [f"{when} {verb}" for verb in VERBS for when in ("before", "after")]


@pytest.mark.parametrize(
    ("moment", "program"),
    [(moment, LONG) for moment in MOMENTS] + [(moment, SHORT) for moment in MOMENTS if not moment.endswith("wait")],
)
def test_killed_at_any_step_a_job_is_carried_on_from_where_it_stood(
    tmp_path: Path, moment: str, program: dict[str, Any]
) -> None:
    engine = Interrupted(moment)
    bench = Bench(tmp_path, engine)

    def kill() -> None:
        bench.runner._stopping.set()
        raise AWAY

    engine.happens = kill
    bench.program(log=b"once\n", **program)
    job = bench.begin()
    if "runs_on" in program and moment.endswith(("wait", "remove")):
        bench.until(job, StateName.RUNNING)
        engine.release(bench.name(job), 3)
    wait_until(lambda: bench.runner._stopping.is_set() and not bench.runner._carried, 5.0)
    bench.restart()
    bench.runner.start()
    wait_until(lambda: engine.starts, 5.0)
    if isinstance(engine.observe(bench.name(job)), Alive):
        engine.release(bench.name(job), 3)
    assert bench.ended(job).exit_code == 3
    assert bench.log(job) == b"once\n"
    assert engine.starts == [bench.name(job)]
    wait_until(lambda: engine.observe(bench.name(job)) == Absent(), 5.0)
    bench.close()


def test_a_start_that_was_refused_when_nobody_heard_it_is_told_in_the_engines_words(bench: Bench) -> None:
    bench.program(start_error="no such executable: train")
    job = bench.home.starting(ANNA, image=bench.image)
    labels = {"dopq.node": NODE_ID, MAC_LABEL: bench.mac(bench.name(job))}
    request = ContainerRequest(bench.name(job), bench.image, labels)
    bench.engine.create(request)
    with suppress(EngineRefused):
        bench.engine.start(bench.name(job))
    assert isinstance(bench.engine.observe(bench.name(job)), Exited)
    bench.runner.start()
    end = bench.ended(job)
    assert end.reason.code == "start_failed"
    assert "no such executable" in end.reason.sentence
    assert end.exit_code is None


def test_a_container_that_only_bears_our_name_is_neither_adopted_nor_removed(bench: Bench) -> None:
    bench.program(runs_on=True)
    job = bench.home.starting(ANNA, image=bench.image)
    labels = {"dopq.node": NODE_ID, "dopq.job": str(job.id), "dopq.attempt": "1", MAC_LABEL: "00"}
    bench.engine.create(ContainerRequest(bench.name(job), bench.image, labels))
    bench.engine.start(bench.name(job))
    bench.runner.start()
    end = bench.ended(job)
    assert end.reason.code == "start_failed"
    assert "not this node's" in end.reason.sentence
    assert isinstance(bench.engine.observe(bench.name(job)), Alive)


def test_a_job_that_was_asked_to_stop_in_a_former_life_is_stopped_in_this_one(bench: Bench) -> None:
    bench.program(runs_on=True)
    job = bench.begin()
    bench.until(job, StateName.RUNNING)
    bench.restart()
    bench.home.platform.cancel(job.id, "anna")  # written, and killed before anybody was told
    bench.restart()
    bench.runner.start()
    assert bench.ended(job).outcome is StateName.CANCELLED


def test_a_job_that_was_cancelled_and_had_no_container_yet_gets_none(bench: Bench) -> None:
    job = bench.home.starting(ANNA, image=bench.image)
    bench.home.platform.cancel(job.id, "anna")
    bench.restart()
    bench.runner.start()
    assert bench.ended(job).outcome is StateName.CANCELLED
    assert bench.engine.requests == []


def test_outputs_that_were_half_collected_are_collected(bench: Bench) -> None:
    bench.program(runs_on=True)
    job = bench.begin()
    bench.until(job, StateName.RUNNING)
    for name in ("a", "b"):
        (bench.output(job) / name).write_text(name)
    bench.restart()
    partial = bench.home.outbox.folder(job) / ".output.partial"
    partial.mkdir()
    (bench.output(job) / "a").rename(partial / "a")
    bench.engine.release(bench.name(job))
    bench.runner.start()
    bench.ended(job)
    output = bench.home.outbox.folder(job) / "output"
    assert {path.name: path.read_text() for path in output.iterdir()} == {"a": "a", "b": "b"}


def test_letting_go_leaves_the_container_running(bench: Bench) -> None:
    bench.program(runs_on=True)
    bench.runner.start()
    job = bench.begin()
    bench.until(job, StateName.RUNNING)
    bench.runner.stop()
    assert isinstance(bench.engine.observe(bench.name(job)), Alive)
    assert isinstance(bench.home.platform.job(job.id).state, Running)


# --- a share that is away ---


def test_a_share_that_is_away_keeps_no_job_from_ending_and_nothing_of_it_is_lost(listening: Bench) -> None:
    bench = listening
    bench.program(log=b"epoch 1\n", runs_on=True)
    job = bench.begin()
    bench.until(job, StateName.RUNNING)
    (bench.output(job) / "metrics.json").write_text("{}")
    bench.take_share_away()
    bench.engine.say(bench.name(job), b"epoch 2\n")
    bench.engine.release(bench.name(job), 3)
    assert bench.ended(job).outcome is StateName.FAILED
    assert bench.home.platform.occupying() == []
    assert bench.engine.observe(bench.name(job)) == Absent()
    assert bench.home.results.read(bench.home.platform.job(job.id), "job.log", 0, 100) == b"epoch 1\nepoch 2\n"
    bench.bring_share_back()
    bench.publish()
    assert bench.log(job) == b"epoch 1\nepoch 2\n"
    assert (bench.home.outbox.folder(job) / "output" / "metrics.json").read_text() == "{}"
    assert list(bench.home.paths.jobs.iterdir()) == []


def test_a_job_is_carried_from_its_begin_to_its_end_without_a_share(listening: Bench) -> None:
    bench = listening
    bench.take_share_away()
    bench.program(log=b"epoch 1\n", runs_on=True)
    job = bench.begin()
    bench.until(job, StateName.RUNNING)
    local = bench.home.results.log_file(job)
    wait_until(lambda: local.exists() and bench.home.results.read(job, "job.log", 0, 100) == b"epoch 1\n", 5.0)
    bench.home.platform.cancel(job.id, "anna")
    assert bench.ended(job).outcome is StateName.CANCELLED
    bench.bring_share_back()
    bench.publish()
    assert bench.log(job) == b"epoch 1\n"


def test_a_share_that_hangs_keeps_no_job_from_ending(listening: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = listening
    monkeypatch.setattr(runner_module, "ANSWER_S", 0.05)
    answers = threading.Event()
    monkeypatch.setattr(bench.home.outbox, "check_share", answers.wait)
    bench.program(log=b"epoch 1\n")
    job = bench.begin()
    assert bench.ended(job).outcome is StateName.SUCCEEDED
    answers.set()
    bench.publish()
    assert bench.log(job) == b"epoch 1\n"


def test_a_share_that_is_slow_is_waited_for(listening: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = listening
    monkeypatch.setattr(runner_module, "ANSWER_S", 0.05)
    bring, goes_on, asked = bench.home.results.bring, threading.Event(), threading.Semaphore(0)
    monkeypatch.setattr(bench.home.results, "bring", lambda job: (goes_on.wait(), bring(job)))
    monkeypatch.setattr(bench.home.results, "check_share", asked.release)
    job = bench.begin()
    for _ in range(3):
        assert asked.acquire(timeout=5.0)
    assert not lease_of(bench.home.platform.job(job.id).state), "others may have its GPUs meanwhile"
    assert bench.engine.containers({}), "it is removed when all of it has been brought"
    goes_on.set()
    assert bench.ended(job).outcome is StateName.SUCCEEDED


LAST_STEPS = [f"{when} {verb}" for verb in ("wait", "log", "remove") for when in ("before", "after")]


@pytest.mark.parametrize("moment", LAST_STEPS)
def test_killed_at_any_step_while_the_share_is_away_everything_comes_in_the_end(tmp_path: Path, moment: str) -> None:
    engine = Interrupted(moment)
    bench = Bench(tmp_path, engine)

    def kill() -> None:
        bench.runner._stopping.set()
        raise AWAY

    bench.take_share_away()
    engine.happens = kill
    bench.program(log=b"once\n", runs_on=True)
    job = bench.begin()
    if moment != "before log":
        bench.until(job, StateName.RUNNING)
        (bench.output(job) / "a").write_text("a")
        engine.release(bench.name(job), 3)
    wait_until(lambda: bench.runner._stopping.is_set() and not bench.runner._carried, 5.0)
    bench.restart()
    bench.runner.start()
    if isinstance(engine.observe(bench.name(job)), Alive):
        (bench.output(job) / "a").write_text("a")
        engine.release(bench.name(job), 3)
    assert bench.ended(job).exit_code == 3
    bench.restart()
    bench.bring_share_back()
    bench.publish()
    assert bench.log(job) == b"once\n"
    assert [path.name for path in (bench.home.outbox.folder(job) / "output").iterdir()] == ["a"]
    bench.close()


# --- sweeping ---


def test_containers_of_jobs_that_have_ended_are_removed_at_the_start_and_no_others(bench: Bench) -> None:
    bench.program(runs_on=True)
    running = bench.begin()
    bench.until(running, StateName.RUNNING)
    bench.restart()

    def leave(name: str, node: str) -> ContainerName:
        labels = {"dopq.node": node, "dopq.job": "77", MAC_LABEL: bench.mac(ContainerName(name))}
        bench.engine.create(ContainerRequest(ContainerName(name), bench.image, labels))
        return ContainerName(name)

    swept = leave(f"dopq-{NODE_ID}-77-1", NODE_ID)
    of_another_node = leave("dopq-ffff-77-1", "ffff")
    of_a_user_who_tries_the_image = leave("eager_hopper", NODE_ID)  # its labels came with the image
    bench.runner.start()
    wait_until(lambda: bench.engine.observe(swept) == Absent(), 5.0)
    assert bench.engine.observe(of_another_node) == Created()
    assert bench.engine.observe(of_a_user_who_tries_the_image) == Created()
    assert isinstance(bench.engine.observe(bench.name(running)), Alive)


def test_jobs_do_not_wait_for_each_other(bench: Bench) -> None:
    bench.program(runs_on=True)
    jobs = [bench.home.starting(ANNA, frozenset({gpu(n)}), image=bench.image) for n in range(4)]
    for job in jobs:
        bench.runner.carry(job)
    for job in jobs:
        bench.until(job, StateName.RUNNING)
    for job in reversed(jobs):
        bench.engine.release(bench.name(job), job.id)
        assert bench.ended(job).exit_code == job.id


def test_a_job_that_went_down_with_the_engine_did_not_fail_by_itself(bench: Bench) -> None:
    bench.program(runs_on=True)
    job = bench.begin()
    bench.until(job, StateName.RUNNING)
    bench.engine.restart()
    ended = bench.ended(job)
    assert (ended.outcome, ended.reason.code) == (StateName.FAILED, "engine_restarted")
    assert bench.home.journal.accounts()[ANNA].usage == 0.0


def test_a_job_that_was_cancelled_before_the_engine_went_down_is_cancelled(bench: Bench) -> None:
    bench.program(runs_on=True)
    job = bench.begin()
    bench.until(job, StateName.RUNNING)
    bench.engine.fail_next("stop", AWAY, times=1000)
    bench.home.platform.cancel(job.id, "anna")
    bench.engine.restart()
    assert bench.ended(job).outcome is StateName.CANCELLED
