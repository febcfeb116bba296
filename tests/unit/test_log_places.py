"""Where in a log to begin: its last lines, and what came since a time."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dopq import log_end
from dopq.log_end import begin_of_lines
from dopq.log_times import LogTimes, size_at

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


@settings(max_examples=200, deadline=None)
@given(log=st.lists(st.sampled_from([b"a", b"\n", b"bc\n"]), max_size=30).map(b"".join), lines=st.integers(0, 12))
def test_the_last_lines_are_those_that_tail_prints(log: bytes, lines: int) -> None:
    with tempfile.TemporaryFile() as file, pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_end, "_READ_BYTES", 3)
        file.write(log)
        file.flush()
        expected = b"".join(log.splitlines(keepends=True)[-lines:]) if lines else b""
        assert log[begin_of_lines(file.fileno(), lines) :] == expected


def test_a_log_without_line_ends_is_not_read_to_its_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_end, "TAIL_BYTES", 100)
    log = tmp_path / "log"
    log.write_bytes(b"x" * 1000)
    with log.open("rb") as file:
        assert begin_of_lines(file.fileno(), 1) == 900


def at(path: Path, seconds: float) -> int:
    with path.open("rb") as file:
        return size_at(file.fileno(), START + timedelta(seconds=seconds))


@given(
    steps=st.lists(st.tuples(st.floats(-5, 50), st.integers(0, 20)), min_size=1, max_size=30),
    lives=st.sets(st.integers(0, 29)),
    asked=st.floats(-10, 600),
)
@settings(max_examples=200, deadline=None)
def test_nothing_that_came_later_is_before_the_place_that_a_time_gives(
    steps: list[tuple[float, int]], lives: set[int], asked: float
) -> None:
    """Whatever the clock does, and wherever the node dies: what is left out had been read by then."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "times"
        times, now, size, came = LogTimes(path), 0.0, 0, list[tuple[float, int]]()
        for number, (seconds, bytes_) in enumerate(steps):
            if number in lives:
                times = LogTimes(path)
            now, size = now + seconds, size + bytes_
            times.grew(START + timedelta(seconds=now), size)
            came.append((now, size))
        place = at(path, asked)
        read_by_then = max((size for when, size in came if when <= asked), default=0)
        assert place <= read_by_then  # no byte of what came after `asked` is left out


def test_the_last_word_before_a_pause_keeps_its_own_time(tmp_path: Path) -> None:
    times = LogTimes(tmp_path / "times")
    for seconds, size in ((0, 10), (0.5, 20), (60, 30)):
        times.grew(START + timedelta(seconds=seconds), size)
    assert [at(tmp_path / "times", seconds) for seconds in (-1, 0.4, 1, 59, 60.1)] == [0, 10, 20, 20, 30]


def test_a_log_that_never_stops_growing_has_about_an_entry_a_second(tmp_path: Path) -> None:
    times = LogTimes(tmp_path / "times")
    for tenth in range(1000):
        times.grew(START + timedelta(seconds=tenth / 10), tenth + 1)
    assert 90 * 16 <= (tmp_path / "times").stat().st_size <= 210 * 16


def test_half_an_entry_that_a_death_left_is_written_over(tmp_path: Path) -> None:
    path = tmp_path / "times"
    LogTimes(path).grew(START, 10)
    with path.open("ab") as file:
        file.write(b"half")
    LogTimes(path).grew(START + timedelta(seconds=5), 20)
    assert (at(path, 1), at(path, 6)) == (10, 20)
    assert path.stat().st_size == 32
