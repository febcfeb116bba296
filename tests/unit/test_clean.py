"""Foreign text shows itself and does nothing else."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dopq.clean import MOST_MARKS, clean, escaped
from tests.hostile_text import HOSTILE, shows_only_itself

any_text = st.text(alphabet=st.characters())


@given(any_text)
def test_nothing_that_acts_on_a_screen_comes_through(text: str) -> None:
    assert shows_only_itself(clean(text))
    assert "\n" not in clean(text)
    assert len(clean(text)) == len(text)


@given(any_text)
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    assert clean(clean(text)) == clean(text)


@given(
    st.text(
        alphabet=st.characters(categories=["L", "N", "P", "S"], exclude_characters="\u115f\u1160\u3164\uffa0\u2800")
    )
)
def test_ordinary_text_comes_through_as_it_is(text: str) -> None:
    assert clean(text) == text


@pytest.mark.parametrize(
    "text", ["Grüße", "e\u0301te\u0301", "Nguyễn".encode().decode(), "שָׁלוֹם", "好", "\u2714\ufe0f", "ก็้"]
)
def test_living_scripts_come_through_as_they_are(text: str) -> None:
    assert clean(unicodedata.normalize("NFD", text)) == unicodedata.normalize("NFD", text)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_becomes_one_harmless_line(name: str) -> None:
    assert shows_only_itself(clean(HOSTILE[name]))
    assert "\n" not in clean(HOSTILE[name])
    assert escaped(HOSTILE[name]).isprintable()


@given(any_text, any_text)
def test_what_is_escaped_can_be_told_apart(one: str, other: str) -> None:
    assert (escaped(one) == escaped(other)) == (one == other)


def test_a_storm_of_marks_is_calmed() -> None:
    assert clean("e" + "\u0301" * 6 + "x") == "e" + "\u0301" * MOST_MARKS + "\ufffd\ufffdx"


def test_other_spaces_become_plain_ones() -> None:
    assert clean("a\u00a0b\u3000c") == "a b c"


def test_only_what_is_named_is_kept() -> None:
    assert clean("a\tb\n\x1b[31m\u202e", keep="\t") == "a\tb\ufffd\ufffd[31m\ufffd"
