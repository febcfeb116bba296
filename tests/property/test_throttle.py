"""Buckets: nobody gets more tries than they are given, whatever they do, and nobody wins any by making us forget."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from dopq.throttle import CAPACITY, REFILL_S, Throttle, Try

ROUNDING = 1e-6


@dataclass(frozen=True)
class Attempt:
    """Somebody tries `pause_s` after the last one did; the answer takes `takes_s`, and is right or not."""

    pause_s: float
    address: int
    user: int
    is_right: bool
    takes_s: float = 0.0


pauses = st.one_of(st.just(0.0), st.floats(0, 30), st.sampled_from([REFILL_S, CAPACITY * REFILL_S, 500.0]))
attempts = st.lists(
    st.builds(Attempt, pauses, st.integers(0, 3), st.integers(0, 3), st.booleans(), st.floats(0, 40)), max_size=150
)


def play(attempts: Sequence[Attempt], most_keys: int = 10_000) -> list[tuple[float, Attempt]]:
    """The attempts that were let through, with their times; a right one gives the address's try back."""
    throttle, now_s, passed = Throttle(most_keys), 0.0, list[tuple[float, Attempt]]()
    answers = list[tuple[float, Try, str]]()
    for attempt in attempts:
        now_s += attempt.pause_s
        for answer in sorted((a for a in answers if a[0] <= now_s), key=lambda a: a[0]):
            answers.remove(answer)
            throttle.give_back(*answer)
        address = f"address {attempt.address}"
        pair = f"{address} user {attempt.user}"
        if throttle.wait_s(now_s, address, pair) == 0:
            taken = throttle.take(now_s, address, pair)
            passed.append((now_s, attempt))
            if attempt.is_right:
                answers.append((now_s + attempt.takes_s, taken, address))
        assert len(throttle) <= most_keys
    return passed


def most_in_any_window(times: Sequence[float]) -> bool:
    """Whether no window of any length holds more than a bucket gives."""
    return all(
        last - first + 1 <= CAPACITY + (times[last] - times[first]) / REFILL_S + ROUNDING
        for first in range(len(times))
        for last in range(first, len(times))
    )


def by(passed: Sequence[tuple[float, Attempt]], *fields: str) -> list[list[float]]:
    groups = defaultdict[tuple[object, ...], list[float]](list)
    for at_s, attempt in passed:
        groups[tuple(getattr(attempt, field) for field in fields)].append(at_s)
    return list(groups.values())


@given(attempts)
def test_no_window_holds_more_checks_of_a_pair_than_a_bucket_gives(attempts: list[Attempt]) -> None:
    assert all(most_in_any_window(times) for times in by(play(attempts), "address", "user"))


@given(attempts)
def test_no_window_holds_more_wrong_ones_of_an_address_than_a_bucket_gives(attempts: list[Attempt]) -> None:
    wrong = [(at_s, attempt) for at_s, attempt in play(attempts) if not attempt.is_right]
    assert all(most_in_any_window(times) for times in by(wrong, "address"))


@given(attempts, st.integers(2, 6))
def test_a_small_memory_wins_nobody_a_try(attempts: list[Attempt], most_keys: int) -> None:
    passed = play(attempts, most_keys)
    wrong = [(at_s, attempt) for at_s, attempt in passed if not attempt.is_right]
    assert all(most_in_any_window(times) for times in [*by(passed, "address", "user"), *by(wrong, "address")])


@given(attempts)
def test_who_waits_as_long_as_told_is_let_through_and_no_sooner(attempts: list[Attempt]) -> None:
    throttle, now_s = Throttle(), 0.0
    for attempt in attempts:
        now_s += attempt.pause_s
        wait_s = throttle.wait_s(now_s, attempt.address)
        if wait_s > ROUNDING:
            assert throttle.wait_s(now_s + wait_s - ROUNDING / 2, attempt.address) > 0
        now_s += wait_s + ROUNDING
        assert throttle.wait_s(now_s, attempt.address) == 0
        throttle.take(now_s, attempt.address)


def test_a_key_that_has_tries_left_keeps_them_while_the_memory_is_full() -> None:
    throttle = Throttle(most_keys=3)
    for key in ("a", "b", "c", "a"):
        assert throttle.wait_s(0.0, key) == 0
        throttle.take(0.0, key)
    assert throttle.wait_s(0.0, "a") == 0
    assert throttle.wait_s(0.0, "d") == REFILL_S, "a bucket that lacks one try is full again then"
    assert throttle.wait_s(REFILL_S, "d") == 0


def test_an_answer_that_takes_long_wins_its_address_nothing() -> None:
    slow = Attempt(0.0, 0, 0, is_right=True, takes_s=REFILL_S + 0.5)
    burst = [Attempt(REFILL_S if number == 0 else 0.0, 0, number, is_right=False) for number in range(CAPACITY)]
    passed = play([slow, *burst, Attempt(1.0, 0, 99, is_right=False)])
    assert len(passed) == 1 + CAPACITY


def test_a_hundred_tries_in_a_minute_come_to_fifteen_at_most() -> None:
    passed = play([Attempt(0.6, 0, number % 7, is_right=False) for number in range(100)])
    assert 13 <= len(passed) <= 15
