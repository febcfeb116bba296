"""Foreign text shows itself and does nothing else."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from dopq_client.clean import clean


@given(st.text(alphabet=st.characters()))
def test_nothing_that_acts_on_a_screen_comes_through(text: str) -> None:
    shown = clean(text)
    assert len(shown) == len(text)
    assert all(unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Zl", "Zp"} for c in shown)


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "S", "M", "Zs"])))
def test_ordinary_text_comes_through_as_it_is(text: str) -> None:
    assert clean(text) == text


def test_only_what_is_named_is_kept() -> None:
    assert clean("a\tb\n\x1b[31m\u202e", keep="\t") == "a\tb\ufffd\ufffd[31m\ufffd"
