"""How many calls of one caller are done at once."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from dopq.boundary.turns import Turns
from dopq.errors import SlowDown


def test_a_caller_has_so_many_turns_and_others_have_their_own() -> None:
    turns = Turns(2, 0.0)
    with ExitStack() as stack:
        for who in ("anna", "anna", "bert"):
            stack.enter_context(turns.turn(who))
        with pytest.raises(SlowDown), turns.turn("anna"):
            pass
        with turns.turn("bert"):
            pass
    with turns.turn("anna"), turns.turn("anna"):
        assert turns._taken == {"anna": 2}, "of who has none nothing is kept"


def test_a_turn_ends_however_it_ends() -> None:
    turns = Turns(1, 0.0)
    for _ in range(3):
        with pytest.raises(KeyError), turns.turn("anna"):
            raise KeyError
