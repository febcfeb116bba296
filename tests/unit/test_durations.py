"""Durations as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dopq.durations import duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2h", 7200), ("90m", 5400), ("20min", 1200), ("45s", 45), ("1.5h", 5400), ("2d", 172800), (" 3 H ", 10800)],
)
def test_durations_have_units(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "1", "1x", "-1h", "1.h", "1e3h", "٣h", "1h1h", "nan", "1_0h", "1mins"])
def test_what_is_none_is_told_apart(text: str) -> None:
    assert parse_duration(text) is None


@given(st.integers(0, 10**9 - 1))
def test_what_is_written_is_read_back(seconds: int) -> None:
    assert parse_duration(duration(seconds)) == seconds
