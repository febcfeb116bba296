"""The log of a run: whole below its limit, whatever happens; of a longer one the beginning and the end."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dopq.container_handler.engine import ContainerName, ContainerRequest, LogPiece
from dopq.run_log import NOTICE, RunLog
from tests.fakes import FakeEngine, Program

LIMIT = 1000  # ten lines, in an engine that takes 80 bytes more for each
NAME = ContainerName("chatter")


class Bench:
    """A container that says numbered lines, and its log on our disk."""

    def __init__(self, folder: Path, attempt: int = 1) -> None:
        self.engine, self.path = FakeEngine(), folder / "job.log"
        self.engine.programs[("talk",)] = Program(runs_on=True)
        image = self.engine.add_image("talk:1", ("talk",))
        self.engine.create(ContainerRequest(NAME, image, labels={}, log_bytes=LIMIT))
        self.engine.start(NAME)
        self.attempt = attempt
        self.said = b""

    @property
    def log(self) -> RunLog:
        """As a new life of the node sees it."""
        return RunLog(self.path, self.attempt)

    def say(self, lines: int) -> None:
        for _ in range(lines):
            line = b"line %05d of the job\n" % self.said.count(b"\n")
            self.said += line
            self.engine.say(NAME, line)

    def read(self, at_most: int | None = None) -> Iterator[LogPiece]:
        """The log as far as it goes now; one who is killed meanwhile reads so many pieces."""
        number = begun_at = self.engine._containers[NAME].log.dropped
        yield from islice(self.engine._containers[NAME].log.pieces(begun_at, number), at_most)

    def follow(self, at_most: int | None = None) -> bool:
        return self.log.follow(lambda: self.read(at_most), over=False)

    def end(self) -> bytes:
        """The container is over, and what there is of its log is taken; twice, as after a death in between."""
        self.engine.release(NAME)
        self.log.follow(lambda: self.read(at_most=3), over=True)
        self.log.follow(self.read, over=True)
        return self.path.read_bytes()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_log_below_its_limit_is_whole_and_says_nothing_of_ours(bench: Bench) -> None:
    bench.say(9)
    assert bench.follow()
    assert bench.end() == bench.said
    assert not bench.log.is_full


def test_a_silent_job_has_an_empty_log(bench: Bench) -> None:
    assert bench.end() == b""


def test_a_log_that_reaches_its_limit_says_so_while_the_job_runs_and_grows_no_more(bench: Bench) -> None:
    bench.say(100)
    assert not bench.follow()
    head = bench.path.read_bytes().removesuffix(NOTICE)
    assert bench.path.read_bytes() == head + NOTICE
    bench.say(100)
    assert not bench.follow()
    assert bench.path.read_bytes() == head + NOTICE
    assert bench.log.is_full


def test_of_a_log_far_beyond_its_limit_the_beginning_and_the_end_are_kept(bench: Bench) -> None:
    bench.say(12)
    bench.follow()
    bench.say(1000)
    head, tail = bench.end().split(NOTICE)
    assert bench.said.startswith(head)
    assert head.count(b"\n") >= 9
    assert bench.said.endswith(tail)
    assert tail.count(b"\n") >= 9


def test_a_log_a_little_beyond_its_limit_is_whole_in_the_end(bench: Bench) -> None:
    bench.say(12)
    bench.follow()
    bench.say(4)
    assert bench.end().replace(NOTICE, b"") == bench.said


def test_what_was_written_while_the_node_was_dead_leaves_a_gap_that_is_told(bench: Bench) -> None:
    bench.say(3)
    bench.follow()
    bench.say(1000)
    assert not bench.follow()
    head, tail = bench.end().split(NOTICE)
    assert head == b"".join(bench.said.splitlines(keepends=True)[:3])
    assert bench.said.endswith(tail)
    assert len(tail) > 0


def test_lines_that_are_all_alike_hide_no_gap(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    for _ in range(5):
        bench.engine.say(NAME, b"y\n")
    bench.follow()
    for _ in range(1000):
        bench.engine.say(NAME, b"y\n")
    assert NOTICE in bench.end()


def test_a_further_attempt_goes_on_behind_the_one_before(tmp_path: Path) -> None:
    (tmp_path / "job.log").write_bytes(b"first\n")
    bench = Bench(tmp_path, attempt=2)
    bench.log.begin()
    bench.log.begin()
    bench.say(2)
    assert bench.end() == b"first\n--- attempt 2 ---\n" + bench.said


def test_the_note_of_a_node_from_before_there_were_limits_is_understood(tmp_path: Path) -> None:
    (tmp_path / "job.log").write_bytes(b"first\n--- attempt 2 ---\nline 00000")
    (tmp_path / "job.log.2").write_text("24\n")
    bench = Bench(tmp_path, attempt=2)
    bench.say(2)
    assert bench.end() == b"first\n--- attempt 2 ---\n" + bench.said


lives = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30) | st.none()), max_size=8)


@given(lives)
def test_whenever_a_node_dies_nothing_is_doubled_and_no_gap_goes_untold(lives: list[tuple[int, int | None]]) -> None:
    """Each life: so many lines are said, and so many pieces read before the node is killed."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        for lines, at_most in lives:
            bench.say(lines)
            bench.follow(at_most)
        log = bench.end()
        head, notice, tail = log.partition(NOTICE)
        if not notice:
            assert head == bench.said[len(bench.said) - len(head) :]
        else:
            begins = bench.said.index(head)  # later than at 0 if much was said before the first look
            assert bench.said.endswith(tail)
            assert len(head) + len(tail) <= len(bench.said) - begins
        if len(bench.said) < LIMIT / 4:
            assert log == bench.said
