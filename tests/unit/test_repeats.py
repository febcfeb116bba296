"""Asked twice, done once."""

from __future__ import annotations

import threading
import traceback
import tracemalloc

import pytest

from dopq.boundary.repeats import MOST, MOST_BYTES, Repeats
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


def test_however_large_the_answers_are_they_take_little_memory() -> None:
    repeats, size = Repeats(), MOST_BYTES // 4
    tracemalloc.start()
    try:
        for number in range(40):
            repeats.once("anna", str(number), [], lambda: bytes(size))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < MOST_BYTES * 1.1


def test_nobody_pushes_out_the_answers_of_others() -> None:
    repeats, work = Repeats(), Counter()
    repeats.once("anna", "k", [], work)
    for number in range(MOST * 2):
        repeats.once("bert", str(number), [], work)
    assert repeats.once("anna", "k", [], work) == b"1"


def test_a_call_that_is_under_way_is_not_forgotten_however_many_come_after_it() -> None:
    repeats, work = Repeats(), Counter()

    def slow() -> bytes:
        for number in range(MOST * 2):
            repeats.once("anna", str(number), [], work)
        return b"done"

    repeats.once("anna", "slow", [], slow)
    assert repeats.once("anna", "slow", [], work) == b"done"


def test_a_refusal_that_is_told_time_and_again_does_not_grow() -> None:
    """An exception remembers every place where it was raised, and all that was at hand there."""
    repeats = Repeats()

    def refuse() -> bytes:
        raise NotFound("no", "look", wanted=1)

    lengths = []
    for _ in range(10):
        with pytest.raises(NotFound, match="no look") as refused:
            repeats.once("anna", "k", [], refuse)
        assert refused.value.details == {"wanted": 1}
        lengths.append(len(list(traceback.walk_tb(refused.value.__traceback__))))
    assert len(set(lengths[1:])) == 1
