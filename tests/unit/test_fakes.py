"""The fakes misbehave exactly as ordered."""

from __future__ import annotations

import pytest

from dopq.container_handler.engine import Absent, Alive, ContainerName, ContainerRequest, Created, Exited
from dopq.errors import EngineUnavailable
from tests.fakes import FakeClock, FakeEngine, Program

NAME = ContainerName("dopq-1-1")
COMMAND = ("train",)


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def request_(engine: FakeEngine) -> ContainerRequest:
    return ContainerRequest(NAME, engine.add_image("base:1"), labels={}, command=COMMAND)


def test_ordered_trouble_comes_as_often_as_ordered(engine: FakeEngine, request_: ContainerRequest) -> None:
    engine.fail_next("create", EngineUnavailable("No answer."), times=2)
    for _ in range(2):
        with pytest.raises(EngineUnavailable):
            engine.create(request_)
        assert engine.observe(NAME) == Absent()
    engine.create(request_)
    assert engine.observe(NAME) == Created()


def test_a_late_answer_hides_work_that_was_done(engine: FakeEngine, request_: ContainerRequest) -> None:
    engine.fail_next("create", EngineUnavailable("No answer in time."), after=True)
    with pytest.raises(EngineUnavailable):
        engine.create(request_)
    assert engine.observe(NAME) == Created()


def test_trouble_can_only_be_ordered_for_what_an_engine_does(engine: FakeEngine) -> None:
    with pytest.raises(AssertionError):
        engine.fail_next("strat", EngineUnavailable("No answer."))


def test_a_program_runs_until_it_is_released(engine: FakeEngine, request_: ContainerRequest) -> None:
    engine.programs[COMMAND] = Program(log=b"epoch 1\n", runs_on=True)
    engine.create(request_)
    engine.start(NAME)
    began = engine.clock.now()
    alive = engine.observe(NAME)
    assert isinstance(alive, Alive)
    assert alive.started_at == began
    engine.clock.advance(90)
    engine.say(NAME, b"epoch 2\n")
    engine.release(NAME, exit_code=3)
    assert engine.observe(NAME) == Exited(3, began, engine.clock.now())
    assert b"".join(engine.log(NAME)) == b"epoch 1\nepoch 2\n"


def test_the_clock_passes_only_when_told() -> None:
    clock = FakeClock()
    then = clock.now()
    assert (clock.now(), clock.monotonic()) == (then, 0.0)
    clock.advance(3600)
    assert ((clock.now() - then).total_seconds(), clock.monotonic()) == (3600, 3600)
