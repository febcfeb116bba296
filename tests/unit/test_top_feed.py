"""What `dopq-client top` asks a node, when, and what it makes of the answers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dopq.errors import ServiceUnreachable
from dopq.job import StateName
from dopq_client.top.app import Top
from dopq_client.top.facts import Facts, View
from dopq_client.top.feed import Feed
from dopq_client.top.tail import LINES, Lines, pieces
from dopq_client.top.timetable import CALM_S, LIVE_S, NEWS_S, Timetable
from tests.hostile_text import HOSTILE, shows_only_itself
from tests.in_memory_node import InMemoryNode, MemoryLink
from tests.waiting import wait_until


@pytest.fixture
def node(tmp_path: Path) -> Iterator[InMemoryNode]:
    node = InMemoryNode(tmp_path)
    yield node
    node.close()


# --- when ---


def run_for(timetable: Timetable, seconds: float) -> list[tuple[float, View]]:
    """What is asked in so many seconds, by a node that answers at once."""
    now, asked = 0.0, []
    while True:
        view, due_s = timetable.next()
        now = max(now, due_s)
        if now > seconds:
            return asked
        timetable.asked(view, now)
        asked.append((now, view))


def test_what_is_looked_at_and_what_stands_above_it_is_asked_for_at_once() -> None:
    timetable = Timetable()
    timetable.show(View.USERS)
    assert {view for _, view in run_for(timetable, 0.0)} == {View.USERS, View.RUNNING, View.SYSTEM}


def test_while_nothing_happens_little_is_asked() -> None:
    timetable = Timetable()
    timetable.show(View.ENQUEUED)
    assert len(run_for(timetable, 60.0)) <= 3 * (60 / CALM_S + 2)


def test_live_figures_are_asked_for_every_two_seconds_where_anything_runs() -> None:
    timetable = Timetable(anything_runs=True)
    times = [at for at, view in run_for(timetable, 20.0) if view is View.RUNNING]
    assert times == [LIVE_S * number for number in range(11)]


def test_much_news_is_asked_about_once_a_second() -> None:
    timetable = Timetable()
    asked = run_for(timetable, 0.0)
    for _ in range(100):
        timetable.news()
    asked = run_for(timetable, CALM_S - 1.0)
    assert sorted(asked) == sorted([(NEWS_S, View.RUNNING), (NEWS_S, View.SYSTEM)])


# --- what ---


class Heard:
    """What a feed has told."""

    def __init__(self) -> None:
        self.all: list[Facts | Exception] = []
        self.lock = threading.Lock()

    def __call__(self, told: Facts | Exception) -> None:
        with self.lock:
            self.all.append(told)

    @property
    def newest(self) -> Facts | Exception | None:
        with self.lock:
            return self.all[-1] if self.all else None


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def link(node: InMemoryNode) -> MemoryLink:
    return node.link(node.tokens["anna"])


@pytest.fixture
def feed(link: MemoryLink, heard: Heard) -> Iterator[Feed]:
    feed = Feed(link, Facts(me="anna"), heard)
    yield feed
    feed.stop()
    wait_until(lambda: not any(thread.name.startswith("top_") for thread in threading.enumerate()), 10.0)


def test_a_change_on_the_node_is_heard_soon(node: InMemoryNode, feed: Feed, heard: Heard) -> None:
    feed.show(View.ENQUEUED)
    feed.start()
    wait_until(lambda: isinstance(heard.newest, Facts) and heard.newest.system is not None, 5.0)
    node.queued("anna", "newcomer")
    wait_until(lambda: isinstance(heard.newest, Facts) and bool(heard.newest.enqueued), 5.0)


def test_another_view_is_heard_of_without_waiting_for_its_turn(feed: Feed, heard: Heard) -> None:
    feed.start()
    wait_until(lambda: isinstance(heard.newest, Facts) and heard.newest.system is not None, 5.0)
    feed.show(View.USERS)
    wait_until(lambda: isinstance(heard.newest, Facts) and heard.newest.users is not None, 5.0)


def test_a_node_that_does_not_answer_is_told_of_and_asked_again(
    link: MemoryLink, feed: Feed, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> Any:
        raise ServiceUnreachable("Nobody there.")

    monkeypatch.setattr("dopq_client.top.feed.PAUSE_S", 0.01)
    link.answers["get_running_containers_info"] = away
    feed.start()
    wait_until(lambda: isinstance(heard.newest, ServiceUnreachable), 5.0)
    del link.answers["get_running_containers_info"]
    wait_until(lambda: isinstance(heard.newest, Facts), 5.0)


@pytest.mark.parametrize(
    ("method", "answer"), [("get_running_containers_info", [{"id": 1}]), ("wait_for_change", "soon")]
)
def test_an_answer_that_nobody_foresaw_ends_the_screen_and_not_with_a_traceback(
    link: MemoryLink, method: str, answer: object, capsys: pytest.CaptureFixture[str]
) -> None:
    link.answers[method] = lambda *_: answer
    top = Top(link, Facts(me="anna"))

    async def until_it_ends() -> None:
        async with top.run_test() as pilot:
            for _ in range(500):
                if top.defect:
                    return
                await pilot.pause(0.02)

    asyncio.run(until_it_ends())
    assert isinstance(top.defect, KeyError | ValueError)
    assert "Traceback" not in "".join(capsys.readouterr())


# --- logs ---


def shown(*data: bytes) -> list[str]:
    lines = Lines()
    for piece in data:
        lines.add(piece)
    return lines.all()


def test_lines_come_as_they_were_written_however_they_are_cut() -> None:
    assert shown(b"a\nb", b"c\n", "\u00e9".encode()[:1], "\u00e9".encode()[1:], b"\n\nend") == [
        "a",
        "bc",
        "\u00e9",
        "",
        "end",
    ]


@given(st.lists(st.binary(max_size=50)))
def test_where_a_log_is_cut_makes_no_difference(data: list[bytes]) -> None:
    assert shown(*data) == shown(b"".join(data))


def test_of_a_progress_bar_the_newest_is_shown() -> None:
    assert shown(b"10%\r50%\r100%\r\nx\ty\r") == ["100%", "x       y"]


def test_only_the_newest_lines_are_kept_and_no_line_without_end_fills_the_memory() -> None:
    assert len(shown(b"x\n" * (LINES + 5))) == LINES
    assert max(map(len, shown(b"x" * 1_000_000, b"y" * 1_000_000))) < 10_000


@pytest.mark.parametrize("text", list(HOSTILE.values()), ids=list(HOSTILE))
def test_no_log_acts_on_the_screen(text: str) -> None:
    assert all(shows_only_itself(line) for line in shown(text.encode("utf-8", "surrogatepass") + b"\nopen"))


def test_a_long_log_is_read_from_near_its_end_and_to_its_end(node: InMemoryNode, link: MemoryLink) -> None:
    job = node.running("anna")
    node.leaves(job, "job.log", b"0123456789" * 100_000 + b"end")
    node.end(job, StateName.SUCCEEDED)
    data = b"".join(pieces(link, int(job.id), build=False))
    assert data.endswith(b"789end")
    assert len(data) == 256 * 1024
