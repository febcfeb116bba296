"""Containers made ahead of their jobs' leases: each is its attempt's or nobody's, and no command begins before its time."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dopq import ahead as ahead_module
from dopq import asking as asking_module
from dopq import removal as removal_module
from dopq import runner as runner_module
from dopq.asking import NodeStops
from dopq.container_handler.container import is_of_node
from dopq.container_handler.engine import Absent, Alive, ContainerName, Created
from dopq.errors import EngineRefused, EngineUnavailable
from dopq.job import GpuId, Job, StateName, UserName, gpus_held
from dopq.room import Capacity
from tests.fakes import FakeEngine
from tests.integration.test_runner import NODE_ID, Bench
from tests.platforms import ANNA, BERT, OLGA, gpu
from tests.waiting import wait_until

AWAY = EngineUnavailable("The engine does not answer.")
ROOM = Capacity(frozenset({gpu(0)}), places=4)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits that only spare an engine are not worth a test's time."""
    monkeypatch.setattr(asking_module, "RETRY_S", 0.01)
    monkeypatch.setattr(runner_module, "DEFECT_S", 0.01)
    monkeypatch.setattr(removal_module, "GIVE_WAY_S", 0.0)
    for name in ("QUIET_S", "RETRY_S"):
        monkeypatch.setattr(ahead_module, name, 0.01)
    monkeypatch.setattr(ahead_module, "ROUND_S", 0.05)


class Ahead(Bench):
    """A node that makes containers ahead, and whose queue is decided on by the test."""

    def __init__(self, folder: Path, *, standby: bool, engine: FakeEngine | None = None) -> None:
        super().__init__(folder, engine, standby=standby, ready_namespaces=1)
        self.room = ROOM

    def queue(self, user: UserName = ANNA, gpus: int = 1, **settings: object) -> Job:
        return self.home.queued(user, gpus=gpus, image=self.image, **settings)  # type: ignore[arg-type]

    def decide(self) -> list[Job]:
        """Begin whoever may start."""
        begun = [self.home.platform.begin(it.job, it.gpus) for it in self.home.platform.decide(self.room).starts]
        for job in begun:
            self.runner.carry(job)
        return begun

    def run_one(self) -> Job:
        """A job runs on the only GPU."""
        self.queue()
        (job,) = self.decide()
        self.until(job, StateName.RUNNING)
        self.decide()
        return job

    def next_one(self) -> Job:
        """A job waits for that GPU, and its container is there."""
        job = self.queue()
        self.decide()
        wait_until(lambda: self.made_for(job), 5.0)
        return job

    def made_for(self, job: Job) -> list[ContainerName]:
        """Those containers that are there ahead for a job, as its latch or its creation has it."""
        return [it.name for it in self.runner._prepared._ready if it.job.id == job.id]

    def ahead(self) -> set[ContainerName]:
        return {name for name in self.engine.containers({}) if "-ahead-" in name}

    def end(self, job: Job) -> None:
        self.release(job)
        self.ended(job)

    def release(self, job: Job) -> None:
        """Let its process end, unless it has."""
        if isinstance(self.engine._state(self.name(job)), Alive):
            self.engine.release(self.name(job))

    def end_all(self) -> None:
        """Every job there is runs to its end."""
        for _ in range(20):
            if not self.home.platform.alive():
                return
            self.decide()
            for job in self.home.platform.leased():
                self.until(job, StateName.RUNNING)
                self.end(job)


@pytest.fixture(params=[False, True], ids=["created", "standing by"])
def standby(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def bench(tmp_path: Path, standby: bool) -> Iterator[Ahead]:
    bench = Ahead(tmp_path, standby=standby)
    bench.program(log=b"epoch 1\n", runs_on=True)
    bench.runner.start()
    yield bench
    bench.close()


# --- the usual way ---


def test_the_next_jobs_container_is_there_while_its_gpu_is_busy_and_is_no_attempt(bench: Ahead) -> None:
    running = bench.run_one()
    job = bench.next_one()
    (name,) = bench.made_for(job)
    assert isinstance(bench.engine.observe(name), Alive if bench.standby else Created)
    assert not is_of_node(NODE_ID, name)
    assert bench.engine.observe(bench.name(job)) == Absent()
    assert bench.state(job) is StateName.QUEUED
    assert bench.engine.starts[-1] == bench.name(running)


def test_its_attempt_takes_it_when_its_lease_begins(bench: Ahead) -> None:
    running, job = bench.run_one(), bench.next_one()
    made = len(bench.engine.requests)
    bench.end(running)
    (begun,) = bench.decide()
    bench.until(job, StateName.RUNNING)
    assert [it for it in bench.engine.requests[made:] if "-net-" not in it.name] == []
    assert bench.engine.starts[-1] == bench.name(job)
    assert bench.ahead() == set()
    assert gpus_held(begun.state) == ROOM.gpus
    bench.end(job)
    assert bench.log(job) == b"epoch 1\n"
    wait_until(lambda: bench.engine.observe(bench.name(job)) == Absent(), 5.0)


def test_what_it_stood_by_is_no_time_of_the_jobs(bench: Ahead) -> None:
    running, job = bench.run_one(), bench.next_one()
    bench.home.clock.advance(100)
    bench.end(running)
    lease_began = bench.home.clock.now()
    bench.decide()
    bench.until(job, StateName.RUNNING)
    bench.home.clock.advance(7)
    bench.engine.release(bench.name(job))
    ended = bench.ended(job)
    assert ended.started_at == lease_began
    assert (ended.at - ended.started_at).total_seconds() == 7
    assert ended.lease is not None
    assert ended.lease.since == lease_began


def test_a_gpu_is_asked_for_when_it_is_made_and_one_for_another_gpu_is_nobodys(bench: Ahead) -> None:
    running, job = bench.run_one(), bench.next_one()
    bench.room = Capacity(frozenset({gpu(1)}), places=4)  # another has come, and the old one is sick
    bench.end(running)
    (begun,) = bench.decide()
    assert gpus_held(begun.state) == {gpu(1)}
    bench.until(job, StateName.RUNNING)
    (request,) = [it for it in bench.engine.requests if it.name == bench.name(job)]
    assert request.gpus == {gpu(1)}
    wait_until(lambda: bench.ahead() == set(), 5.0)
    assert bench.engine.starts.count(bench.name(job)) == 1


def test_every_gpu_that_it_may_get_is_prepared_for(bench: Ahead) -> None:
    bench.room = Capacity(frozenset({gpu(0), gpu(1)}), places=4)
    bench.queue()
    bench.queue()
    running = bench.decide()
    for each in running:
        bench.until(each, StateName.RUNNING)
    bench.decide()
    job = bench.queue()
    bench.decide()
    wait_until(lambda: len(bench.made_for(job)) == 2, 5.0)
    bench.end(running[1])
    bench.decide()
    bench.until(job, StateName.RUNNING)
    assert bench.engine.starts.count(bench.name(job)) == 1
    wait_until(lambda: bench.ahead() == set(), 5.0)


def test_what_is_taken_while_it_is_looked_what_is_still_wanted_stays_its_jobs(
    bench: Ahead, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, job = bench.run_one(), bench.next_one()
    prepared, looked = bench.runner._prepared, threading.Event()
    bench.runner._ahead.stop(5.0)
    begin = prepared.begin
    monkeypatch.setattr(prepared, "begin", lambda name: looked.wait(5.0) and begin(name))

    def leased() -> list[Job]:
        """As of just before the next lease."""
        bench.end(running)
        before = bench.home.platform.leased()
        bench.decide()
        wait_until(lambda: prepared._taken and bench.engine._containers.get(bench.name(job)), 5.0)
        return before

    prepared.keep([], leased)
    prepared.remove_unwanted()
    looked.set()
    bench.until(job, StateName.RUNNING)
    bench.end(job)
    assert bench.log(job) == b"epoch 1\n"
    assert bench.engine.starts.count(bench.name(job)) == 1


@pytest.mark.parametrize("standby", [True], indirect=True, ids=["standing by"])
def test_a_job_that_is_cancelled_between_taking_it_and_its_begin_leaves_nothing(
    bench: Ahead, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, job = bench.run_one(), bench.next_one()
    prepared = bench.runner._prepared
    bench.end(running)
    bench.engine.fail_next("rename", AWAY, after=True)
    rename = bench.engine.rename

    def cancelled_meanwhile(*names: ContainerName) -> None:
        bench.home.platform.cancel(job.id, "anna")
        rename(*names)

    monkeypatch.setattr(bench.engine, "rename", cancelled_meanwhile)
    bench.decide()
    assert bench.ended(job).outcome is StateName.CANCELLED
    wait_until(lambda: not prepared._taken and not prepared._unwanted, 5.0)
    assert bench.name(job) not in bench.engine.starts
    assert list((bench.home.paths.jobs / str(job.id)).glob("*-ahead-*")) == []


# --- what makes it nobody's ---


def test_a_cancelled_job_leaves_none(bench: Ahead) -> None:
    bench.run_one()
    job = bench.next_one()
    bench.home.platform.cancel(job.id, "anna")
    wait_until(lambda: bench.ahead() == set(), 5.0)
    assert bench.name(job) not in bench.engine.starts


def test_a_job_that_is_cancelled_before_its_lease_has_no_outputs_in_the_share(bench: Ahead) -> None:
    bench.run_one()
    job = bench.next_one()
    bench.home.platform.cancel(job.id, "anna")
    bench.publish()
    assert not (bench.home.outbox.folder(job) / "output").exists()


def test_a_held_job_leaves_none(bench: Ahead) -> None:
    bench.run_one()
    job = bench.next_one()
    bench.home.platform.put_on_hold(job.id, bench.home.user(ANNA))
    wait_until(lambda: bench.ahead() == set(), 5.0)


def test_a_job_that_is_overtaken_leaves_its_place_to_the_other(bench: Ahead) -> None:
    bench.run_one()
    job = bench.next_one()
    other = bench.queue(priority=100)
    bench.decide()
    wait_until(lambda: bench.made_for(other) and not bench.made_for(job), 5.0)
    assert bench.ahead() == set(bench.made_for(other))


@pytest.mark.parametrize("how", ["lock", "drain"])
def test_a_queue_in_which_nothing_starts_has_none(bench: Ahead, how: str) -> None:
    bench.run_one()
    job = bench.next_one()
    if how == "drain":
        bench.home.platform.drain("olga", "a test")
    else:
        bench.home.platform.exec_dopq_lock_state("olga", "a test", timedelta(hours=1))
    wait_until(lambda: bench.ahead() == set(), 5.0)
    assert bench.state(job) is StateName.QUEUED


def test_a_node_that_stops_leaves_none(bench: Ahead) -> None:
    bench.run_one()
    bench.next_one()
    bench.runner.stop()
    assert bench.ahead() == set()


# --- somebody else meddles ---


def test_one_that_somebody_has_ended_or_removed_is_made_anew(bench: Ahead) -> None:
    bench.run_one()
    job = bench.next_one()
    (name,) = bench.made_for(job)
    bench.engine.remove(name)
    wait_until(lambda: bench.made_for(job) not in ([], [name]), 5.0)
    (name,) = bench.made_for(job)
    if bench.standby:
        bench.engine.stop(name, 0)
        wait_until(lambda: bench.made_for(job) not in ([], [name]), 5.0)
        assert bench.engine.observe(name) == Absent()


@pytest.mark.parametrize("how", ["removed", "ended"])
def test_a_job_whose_container_is_gone_when_it_wants_it_runs_all_the_same(
    bench: Ahead, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead_module, "ROUND_S", 60.0)
    running, job = bench.run_one(), bench.next_one()
    wait_until(lambda: not bench.runner._ahead._doorbell.is_set(), 5.0)
    bench.runner._ahead.stop(5.0)
    (name,) = bench.made_for(job)
    if how == "ended" and bench.standby:
        bench.engine.stop(name, 0)
    else:
        bench.engine.remove(name)
    bench.end(running)
    bench.decide()
    bench.until(job, StateName.RUNNING)
    assert bench.engine.starts.count(bench.name(job)) == 1
    bench.end(job)
    assert bench.log(job) == b"epoch 1\n"


# --- trouble ---


@pytest.mark.parametrize("after", [False, True], ids=["before it acted", "after it acted"])
@pytest.mark.parametrize("verb", ["rename", "observe", "start"])
def test_an_engine_that_is_away_when_it_is_wanted_changes_nothing_but_the_time(
    bench: Ahead, verb: str, after: bool
) -> None:
    running, job = bench.run_one(), bench.next_one()
    bench.runner._ahead.stop(5.0)
    bench.end(running)
    bench.engine.fail_next(verb, AWAY, times=3, after=after)
    bench.decide()
    bench.until(job, StateName.RUNNING)
    assert bench.engine.starts.count(bench.name(job)) == 1
    bench.end(job)
    assert bench.log(job) == b"epoch 1\n"
    bench.engine.recover()


def test_an_engine_that_refuses_to_make_it_is_asked_again_and_the_job_runs(bench: Ahead) -> None:
    running = bench.run_one()
    bench.engine.fail_next("create", EngineRefused("no space left on device"), times=2)
    job = bench.next_one()
    bench.end(running)
    bench.decide()
    bench.until(job, StateName.RUNNING)


# --- killed ---


def test_a_new_life_sweeps_those_of_the_former_one(bench: Ahead) -> None:
    running, job = bench.run_one(), bench.next_one()
    (former,) = bench.made_for(job)
    bench.restart()
    bench.runner.start()
    wait_until(lambda: bench.engine.observe(former) == Absent(), 5.0)
    bench.end(running)
    bench.decide()
    bench.until(job, StateName.RUNNING)
    assert bench.engine.starts.count(bench.name(job)) == 1


MOMENTS = [f"{when} {verb}" for verb in ("rename", "observe", "start") for when in ("before", "after")]


@pytest.mark.parametrize("moment", [*MOMENTS, "before latch", "after latch"])
def test_a_node_that_dies_while_the_job_takes_it_runs_it_once(
    tmp_path: Path, standby: bool, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "latch" in moment and not standby:
        return  # there is none
    bench = Ahead(tmp_path, standby=standby)
    bench.program(log=b"epoch 1\n", runs_on=True)
    bench.runner.start()
    running, job = bench.run_one(), bench.next_one()
    bench.runner._ahead.stop(5.0)
    bench.end(running)
    dies_at(bench, moment, monkeypatch)
    bench.decide()
    wait_until(bench.runner._asking.stopping.is_set, 5.0)
    bench.restart()
    bench.runner.start()
    bench.until(job, StateName.RUNNING)
    assert bench.engine.starts.count(bench.name(job)) == 1
    bench.end(job)
    assert bench.log(job) == b"epoch 1\n"
    wait_until(lambda: bench.ahead() == set(), 5.0)
    bench.close()


def dies_at(bench: Ahead, moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the node do nothing more from that moment on."""
    when, verb = moment.split()
    owner, name = (bench.engine, verb) if verb != "latch" else (bench.runner._prepared, "begin")
    real = getattr(owner, name)

    def dies(*arguments: object) -> object:
        if when == "after":
            real(*arguments)
        monkeypatch.undo()
        bench.runner._asking.stopping.set()
        raise NodeStops

    monkeypatch.setattr(owner, name, dies)


steps = st.lists(
    st.sampled_from(["queue", "queue", "end", "end", "cancel", "restart", "trouble", "hold", "other gpu", "decide"]),
    min_size=3,
    max_size=14,
)


@settings(max_examples=30, deadline=None)
@given(steps, st.booleans(), st.data())
def test_whatever_happens_every_attempt_runs_once_and_nothing_stays(
    ordered: list[str], standby: bool, data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        bench = Ahead(Path(folder), standby=standby)
        bench.program(log=b"epoch 1\n", runs_on=True)
        bench.runner.start()
        bench.run_one()
        for step in ordered:
            happens(bench, step, data)
            bench.decide()
        bench.engine.recover()
        bench.end_all()
        assert len(bench.engine.starts) == len(set(bench.engine.starts))
        wait_until(lambda: bench.ahead() == set(), 5.0)
        assert all(is_of_node(NODE_ID, name) or "-net-" in name for name in bench.engine.starts)
        bench.close()


def happens(bench: Ahead, step: str, data: st.DataObject) -> None:
    waiting = [job for job in bench.home.platform.alive() if job.state.name is StateName.QUEUED]
    running = [job for job in bench.home.platform.leased() if job.state.name is StateName.RUNNING]
    match step:
        case "queue":
            bench.queue(data.draw(st.sampled_from([ANNA, BERT, OLGA])), priority=data.draw(st.integers(0, 3)))
        case "end" if running:
            bench.release(running[0])
        case "cancel" if waiting:
            bench.home.platform.cancel(waiting[0].id, "anna")
        case "hold" if waiting:
            bench.home.platform.put_on_hold(waiting[0].id, bench.home.user(ANNA))
            bench.home.platform.release(waiting[0].id, bench.home.user(OLGA))
        case "restart":
            bench.restart()
            bench.runner.start()
        case "trouble":
            verb = data.draw(st.sampled_from(["rename", "create", "start", "observe", "remove"]))
            bench.engine.fail_next(verb, AWAY, times=1, after=data.draw(st.booleans()))
        case "other gpu":
            bench.room = Capacity(frozenset({GpuId(gpu(data.draw(st.integers(0, 1))))}), places=4)
