"""How long the node waits before it starts a Provider anew."""

from __future__ import annotations

from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from dopq.supervisor import LONGEST_PAUSE_S, SHORTEST_PAUSE_S, next_pause_s


def pauses(*lives: bool) -> list[float]:
    """The pause after each life, told by whether it came up."""
    return list(accumulate(lives, lambda last, up: next_pause_s(last, came_up=up), initial=SHORTEST_PAUSE_S))[1:]


def test_a_provider_that_never_comes_up_is_tried_less_and_less_often() -> None:
    assert pauses(*[False] * 8) == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]


@given(st.lists(st.booleans()))
def test_a_provider_that_came_up_is_replaced_at_once_whatever_was_before(before: list[bool]) -> None:
    assert pauses(*before, True)[-1] == SHORTEST_PAUSE_S


@given(st.lists(st.booleans()))
def test_no_pause_is_longer_than_the_longest_or_shorter_than_the_shortest(lives: list[bool]) -> None:
    assert all(SHORTEST_PAUSE_S <= pause <= LONGEST_PAUSE_S for pause in pauses(*lives))
