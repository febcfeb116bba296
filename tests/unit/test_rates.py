"""How many calls one caller may make."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dopq.boundary.rates import BURST_S, LONGEST_WAIT_S, MOST_CALLERS, Rates
from dopq.errors import SlowDown
from tests.fakes import FakeClock


def rates(clock: FakeClock) -> Rates:
    return Rates(clock.monotonic)


def until_refused(rate: Rates, waits: list[float]) -> float:
    """Call until a call is refused; how long it says to wait."""
    for _ in range(1000):
        try:
            waits.append(rate.wait_s("anna", 10.0))
        except SlowDown as error:
            wait_s = error.details["wait_s"]
            assert isinstance(wait_s, float)
            return wait_s
    raise AssertionError("never refused")


def test_a_burst_goes_through_then_calls_wait_and_then_they_are_refused() -> None:
    clock = FakeClock()
    rate = rates(clock)
    waits: list[float] = []
    refused = until_refused(rate, waits)
    free = [wait for wait in waits if wait == 0]
    assert len(free) == pytest.approx(BURST_S * 10 + 1, abs=1)
    assert max(waits) <= LONGEST_WAIT_S
    assert refused > LONGEST_WAIT_S
    assert rate.wait_s("bert", 10.0) == 0, "others are not held up"


def test_who_waits_as_told_goes_on() -> None:
    clock = FakeClock()
    rate = rates(clock)
    clock.advance(until_refused(rate, []))
    assert rate.wait_s("anna", 10.0) <= LONGEST_WAIT_S


@given(st.lists(st.floats(0, 1), min_size=50, max_size=400))
def test_in_no_time_are_there_more_calls_than_the_rate_allows(pauses: list[float]) -> None:
    clock = FakeClock()
    rate = rates(clock)
    done: list[float] = []  # when each call that was not refused is made
    for pause in pauses:
        clock.advance(pause / 20)
        try:
            done.append(clock.monotonic() + rate.wait_s("anna", 10.0))
        except SlowDown:
            continue
    for first in range(0, len(done), 7):
        for last in range(first + 1, len(done), 11):
            assert last - first <= (done[last] - done[first] + BURST_S) * 10 + 1.001


def test_callers_who_are_many_are_forgotten_in_turn() -> None:
    rate = rates(FakeClock())
    for number in range(MOST_CALLERS + 10):
        rate.wait_s(str(number), 1.0)
    assert len(rate._due) == MOST_CALLERS
