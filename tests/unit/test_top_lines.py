"""Bars, sparklines, trends and tables of `dopq-client top`: what they show, whatever they are given."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from dopq.clean import clean
from dopq_client.top.bars import bar, share, sparkline
from dopq_client.top.table import WIDE, Column, draw
from dopq_client.top.trends import STEP_S, STEPS, Trends

values = st.none() | st.floats(-1e12, 1e12)


@pytest.mark.parametrize(
    ("fraction", "shown"),
    [
        (None, "    "),
        (0.0, "····"),
        (0.0001, "▏···"),
        (0.5, "██··"),
        (0.6, "██▍·"),
        (1.0, "████"),
        (7.0, "████"),
        (-1.0, "····"),
    ],
)
def test_a_bar_is_as_full_as_what_it_tells_of(fraction: float | None, shown: str) -> None:
    assert bar(fraction, 4) == shown


@given(values, st.integers(0, 200))
def test_a_bar_has_the_width_that_it_is_given(fraction: float | None, width: int) -> None:
    assert len(bar(fraction, width)) == width


@given(st.floats(0, 1), st.floats(0, 1))
def test_more_never_makes_a_bar_shorter(a: float, b: float) -> None:
    def eighths(fraction: float) -> int:
        return sum("·▏▎▍▌▋▊▉█".index(character) for character in bar(fraction, 10))

    less, more = sorted((a, b))
    assert eighths(less) <= eighths(more)


def test_a_sparkline_is_blank_where_nothing_is_known() -> None:
    assert sparkline([None, 0.0, 50.0, 100.0, None], 100.0) == " ▁▅█ "
    assert sparkline([0.0, 0.0], 0.0) == "▁▁"


@given(st.lists(values), values.filter(lambda it: it is not None))
def test_a_sparkline_has_a_character_for_each_value(told: list[float | None], most: float) -> None:
    assert len(sparkline(told, most)) == len(told)


@pytest.mark.parametrize(("value", "whole", "part"), [(1, 4, 0.25), (None, 4, None), (1, None, None), (1, 0, None)])
def test_a_share_of_what_is_unknown_is_unknown(value: float | None, whole: float | None, part: float | None) -> None:
    assert share(value, whole) == part


def test_a_trend_has_the_mean_of_each_step_and_gaps_where_nothing_was_told() -> None:
    trends = Trends()
    for at_s, value in ((100.0, 1.0), (101.0, 3.0), (125.0, 7.0), (126.0, None)):
        trends.add("cpu", at_s, value)
    assert trends.last("cpu", 129.0, 4) == [None, 2.0, None, 7.0]
    assert trends.last("gpu", 129.0, 2) == [None, None]


def test_a_trend_is_forgotten_after_its_minutes() -> None:
    trends = Trends()
    trends.add("old", 0.0, 1.0)
    trends.add("new", STEPS * STEP_S, 1.0)
    trends.forget(STEPS * STEP_S)
    assert trends.last("old", 0.0, 1) == [1.0]
    trends.forget(STEPS * STEP_S + STEP_S)
    assert (trends.last("old", 0.0, 1), trends.last("new", STEPS * STEP_S, 1)) == ([None], [1.0])


COLUMNS: tuple[Column[dict[str, Any]], ...] = (
    Column("JOB", lambda row: row["id"], right=True),
    Column("NAME", lambda row: row["name"], most=20, least=6),
    Column("MORE", lambda _row: Text("more", "red"), wide=True),
    Column("WHY", lambda row: row["why"], least=3),
)


def row(name: str = "iris", why: str = "because") -> dict[str, Any]:
    return {"id": "7", "name": name, "why": why}


def test_columns_are_as_wide_as_what_is_in_them_and_figures_stand_to_the_right() -> None:
    heading, lines = draw(COLUMNS, [row(), row("a")], 40)
    assert heading.plain == "JOB  NAME  WHY"
    assert [line.plain for line in lines] == ["  7  iris  because", "  7  a     because"]


def test_what_is_too_long_gives_way_the_last_column_first() -> None:
    _, [line] = draw(COLUMNS, [row("n" * 30, "w" * 30)], 40)
    assert line.plain == f"  7  {'n' * 19}…  {'w' * 12}…"
    _, [line] = draw(COLUMNS, [row("n" * 30, "w" * 30)], 20)
    assert line.plain == "  7  nnnnnnnnn…  ww…"


def test_a_wide_column_is_shown_where_there_is_room() -> None:
    assert "MORE" not in draw(COLUMNS, [row()], WIDE - 1)[0].plain
    heading, [line] = draw(COLUMNS, [row()], WIDE)
    assert "MORE" in heading.plain
    assert "more" in line.plain


@given(st.text(max_size=50), st.text(max_size=50), st.integers(1, 150))
def test_no_line_is_wider_than_the_screen(name: str, why: str, width: int) -> None:
    heading, lines = draw(COLUMNS, [row(clean(name), clean(why))], width)
    assert all(line.cell_len <= width for line in (heading, *lines))
    assert all("\n" not in line.plain for line in lines)
