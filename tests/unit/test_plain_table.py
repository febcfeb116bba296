"""Tables that are made without rich: columns that stand, and texts that lose nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from dopq.clean import clean
from dopq_client.plain_table import Cell, Column, PlainTable, Row, columns_of, cut, folded

TABLE = PlainTable(
    (Column("JOB", right=True), Column("NAME", widest=6)),
    [Row([Cell("7"), Cell("iris", "32")], "Short."), Row([Cell("12"), Cell("resnet-50")], "A reason that takes more.")],
    "WHY",
)


def drawn(width: int | None, *, colour: bool = False) -> list[str]:
    return list(TABLE.lines(width, colour=colour))


def test_a_text_that_fits_stands_in_its_line() -> None:
    assert drawn(80) == ["JOB  NAME    WHY", "  7  iris    Short.", " 12  resne…  A reason that takes more."]


def test_a_text_that_does_not_fit_goes_below_and_is_whole() -> None:
    assert drawn(22)[2:] == [" 12  resne…", "     A reason that", "     takes more."]


def test_in_a_pipe_nothing_is_cut_and_each_row_is_a_line() -> None:
    assert drawn(None)[2] == " 12  resnet-50  A reason that takes more."


def test_colours_change_nothing_but_colours() -> None:
    assert drawn(80, colour=True)[1] == "  7  \x1b[32miris\x1b[0m    Short."


@pytest.mark.parametrize("width", range(1, 12))
def test_the_narrowest_terminal_shows_something(width: int) -> None:
    assert len(drawn(width)) >= 3


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=80).map(clean)


@given(text, st.integers(2, 40))
def test_what_is_folded_fits_and_has_every_word(text: str, width: int) -> None:
    lines = list(folded(text, width))
    assert all(columns_of(line) <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())


@given(text, st.integers(1, 40))
def test_what_is_cut_fits_and_shows_that_it_was_cut(text: str, width: int) -> None:
    shown = cut(text, width)
    assert columns_of(shown) <= width
    assert shown == text or shown.endswith("…")


@given(st.text(st.characters(categories=["Lu", "Ll", "Lo", "Nd", "Po", "So"], max_codepoint=0xFFFF), max_size=20))
def test_widths_are_at_least_those_that_rich_knows_for_what_names_are_written_in(text: str) -> None:
    assert columns_of(clean(text)) >= sum(cell_len(character) for character in clean(text) if ord(character) < 0x3000)
