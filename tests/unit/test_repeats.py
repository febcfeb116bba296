"""Asked twice, done once."""

from __future__ import annotations

import threading

import pytest

from dopq.boundary.repeats import MOST, Repeats
from dopq.errors import DopqError, EngineUnavailable, NotFound, UserError


class Counter:
    """Something that should be done once."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> bytes:
        self.times += 1
        return str(self.times).encode()


def test_the_same_question_with_the_same_key_is_answered_and_not_done_again() -> None:
    repeats, work = Repeats(), Counter()
    assert [repeats.once("anna", "k", ["a", 1], work) for _ in range(3)] == [b"1"] * 3
    assert work.times == 1


def test_another_key_or_another_caller_is_another_call() -> None:
    repeats, work = Repeats(), Counter()
    for who, key in (("anna", "k"), ("anna", "l"), ("bert", "k")):
        repeats.once(who, key, [], work)
    assert work.times == 3


def test_a_key_for_another_question_is_refused() -> None:
    repeats, work = Repeats(), Counter()
    repeats.once("anna", "k", [1], work)
    with pytest.raises(UserError, match="another call"):
        repeats.once("anna", "k", [2], work)
    assert work.times == 1


def test_a_refusal_is_remembered_and_a_passing_trouble_is_not() -> None:
    repeats = Repeats()
    asked: list[str] = []

    def fails(error: DopqError) -> bytes:
        asked.append(error.code)
        raise error

    for error in (NotFound("no"), EngineUnavailable("later")):
        for _ in range(2):
            with pytest.raises(type(error)):
                repeats.once("anna", error.code, [], lambda error=error: fails(error))  # type: ignore[misc]
    assert asked == ["not_found", "engine_unavailable", "engine_unavailable"]


def test_what_failed_by_a_defect_may_be_tried_again() -> None:
    repeats, work = Repeats(), Counter()

    def breaks() -> bytes:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        repeats.once("anna", "k", [], breaks)
    assert repeats.once("anna", "k", [], work) == b"1"


def test_a_repeat_that_comes_while_the_first_is_under_way_waits_for_its_answer() -> None:
    repeats, begun, go_on = Repeats(), threading.Event(), threading.Event()
    answers: list[bytes] = []

    def slow() -> bytes:
        begun.set()
        go_on.wait(10)
        return b"done"

    threads = [threading.Thread(target=lambda: answers.append(repeats.once("anna", "k", [], slow))) for _ in range(2)]
    threads[0].start()
    assert begun.wait(10)
    begun.clear()
    threads[1].start()
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert answers == [b"done", b"done"]
    assert not begun.is_set(), "it was not done a second time"


def test_old_answers_are_forgotten() -> None:
    repeats, work = Repeats(), Counter()
    for number in range(MOST + 1):
        repeats.once("anna", str(number), [], work)
    repeats.once("anna", "0", [], work)
    assert work.times == MOST + 2
