"""`dopq-client top` in a real terminal, at a node that really answers, is lost, and is found again."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from datetime import timedelta, timezone
from pathlib import Path

import pytest

from dopq.band import Band
from dopq.forecast import Forecast
from dopq.job import GpuId, Job, Problem, StateName
from dopq.room import Capacity
from tests.full_screen import ARROW_DOWN, CTRL_C, ESCAPE, TAB, FullScreen
from tests.reachable_node import ReachableNode, reachable_node

SCREENS = Path(__file__).parents[1] / "unit" / "screens"
HOSTILE = "\x1b[31mred\x1b[0m\u202egnp.exe [bold]x[/bold] [/] :smiley: \x07"
WIDE = "\u597d" * 30
ZONE = timezone(timedelta(hours=1))  # the reader's
KEYS = "? help  q quit"

ANNAS, BERTS, WIDES, NEXT, HOSTILE_ONE, BUILDING = 5, 6, 7, 8, 9, 10


@pytest.fixture
def node(tmp_path: Path) -> Iterator[ReachableNode]:
    """A node with jobs in all lists, hostile names and live figures; its clock stands."""
    with reachable_node(tmp_path / "node") as reachable:
        furnish(reachable)
        yield reachable


def furnish(reachable: ReachableNode) -> None:
    node = reachable.node
    node.ended(name="iris")
    node.ended(StateName.FAILED, 3, user="bert", name="resnet-50-with-a-long-name")
    node.ended(StateName.CANCELLED, 137)
    node.refused((Problem("Dockerfile", "is missing", "Put one into the bundle's top folder."),))
    node.clock.advance(4000)
    gpus = [GpuId(f"GPU-{number}") for number in range(4)]
    annas = node.running(name="training", gpus=frozenset(gpus[:1]))
    berts = node.running("bert", HOSTILE, gpus=frozenset(gpus[1:3]))
    node.running("anna", WIDE)
    node.clock.advance(100)
    node.queued("bert", "next-one", gpus=2)
    node.queued("anna", HOSTILE, gpus=1)
    assert not node.platform.decide(Capacity(frozenset(gpus), places=3)).starts
    eta = Band(2400.0, 7200.0, 18000.0)
    node.platform.tell_forecast(Forecast(node.clock.now(), {job.id: eta for job in node.platform.alive()}))
    node.building(bundle="new.zip")
    node.clock.advance(30)
    node.live = {
        int(annas.id): {"cpu_cores": 3.9, "memory_bytes": 12 * 2**30, "gpus": [gpu(0, 97)]},
        int(berts.id): {"cpu_cores": 1.0, "memory_bytes": 5 * 2**30, "gpus": [gpu(1, 50), gpu(2, None)]},
    }
    node.leaves(annas, "job.log", b"epoch 1\n50%\r100%\n\x1b[2Jcleared? \xff\n")


def gpu(index: int, busy: int | None) -> dict[str, object]:
    return {
        "uuid": f"GPU-{index}",
        "index": index,
        "utilisation_percent": busy,
        "memory_used_bytes": (10 + 10 * index) * 2**30,
        "memory_total_bytes": 40 * 2**30,
    }


def top(node: ReachableNode, user: str = "anna", **more: object) -> FullScreen:
    return FullScreen("top", environment=node.environment(user), at=now(node), **more)  # type: ignore[arg-type]


def now(node: ReachableNode) -> str:
    return node.node.clock.now().astimezone(ZONE).isoformat()


def job(node: ReachableNode, number: int) -> Job:
    return next(job for job in node.node.platform.alive() if job.id == number)


# --- what is seen ---

VIEWS = {"1": "running", "2": "enqueued", "3": "history", "4": "users", "5": "system"}


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (120, 40)])
def test_each_view_is_as_its_file_shows_it(node: ReachableNode, columns: int, rows: int) -> None:
    """After a wanted change: `UPDATE_SCREENS=1 pytest tests/integration/test_top_terminal.py`, then read the difference."""
    seen = {
        "1": "training", "2": "next-one", "3": "resnet", "4": "PENALTY", "5": "ON THE GPUS",
        "?": "Ctrl-C", "q1w": "submitted", "q2w": "EXPECTED",
    }  # fmt: skip
    with top(node, columns=columns, rows=rows) as screen:
        for keys, text in seen.items():
            screen.press(keys)
            screen.expect(text)
            if keys in VIEWS or keys == "?":
                compare(f"top_{VIEWS.get(keys, 'help')}_{columns}", screen.settle(), node)


def compare(name: str, shown: str, node: ReachableNode) -> None:
    shown = shown.replace(node.address, "127.0.0.1:9090".ljust(len(node.address))).replace(" \n", "\n")
    file = SCREENS / f"{name}.txt"
    if os.environ.get("UPDATE_SCREENS"):
        file.write_text(shown, encoding="utf-8")
    assert shown == file.read_text(encoding="utf-8")


def test_names_that_would_act_are_shown_and_do_nothing(node: ReachableNode) -> None:
    with top(node) as screen:
        screen.expect("training", "[31mred")
        screen.press("2")
        screen.expect("next-one", "[31mred")
        screen.settle()
        assert HOSTILE.encode() not in screen.written
        assert b"\x1b[31mred" not in screen.written
        assert b"\x07" not in screen.written.replace(b"\x1b]22;default\x07", b"")  # the pointer's shape (OSC 22)
        assert "\u202e".encode() not in screen.written


def test_nothing_is_written_while_nothing_changes(node: ReachableNode) -> None:
    with top(node) as screen:
        screen.expect("training", KEYS)
        screen.settle(1.0)
        assert screen.silent_for(5.0)  # two looks at the live figures, and the doorbell, in between
        node.node.queued("anna", "newcomer")
        screen.expect("enqueued 4")


def test_live_figures_move_and_leave_a_trace(node: ReachableNode) -> None:
    with FullScreen("top", environment=node.environment("anna")) as screen:
        screen.expect("3.9", "97 %", "12.0 GiB")
        node.node.live[ANNAS] = {"cpu_cores": 7.5, "memory_bytes": 2**30, "gpus": [gpu(0, 3)]}
        screen.expect("7.5", "3 %", "1.0 GiB")
        assert re.search("[▁▂▃▄▅▆▇█]  memory", screen.text)


def test_of_others_jobs_cpu_and_memory_are_not_shown_to_a_user_but_to_an_admin(node: ReachableNode) -> None:
    def row(screen: FullScreen) -> str:
        return next(line for line in screen.text.splitlines() if line.startswith(f"  {BERTS}"))

    with top(node) as screen:
        screen.expect("[31mred")
        assert re.search(r"-\s+-\s+2\s+50 %", row(screen))
    with top(node, "olga") as screen:
        screen.expect("[31mred")
        assert re.search(r"1\.0\s+5\.0 GiB\s+2\s+50 %", row(screen))


@pytest.mark.parametrize("setting", [{"NO_COLOR": "1"}, {}])
def test_no_color_is_honoured(node: ReachableNode, setting: dict[str, str]) -> None:
    with FullScreen("top", environment={**node.environment("anna"), **setting}) as screen:
        screen.expect("training", KEYS)
        screen.settle()
        parameters = {part for sgr in re.findall(rb"\x1b\[([0-9;]*)m", screen.written) for part in sgr.split(b";")}
        colours = {b"3%d" % n for n in range(9)} | {b"4%d" % n for n in range(9)} | {b"9%d" % n for n in range(8)}
        assert bool(parameters & colours) is not bool(setting)
        assert screen.has_style("training", "reverse")


# --- keys ---


def test_views_turn_round_and_round(node: ReachableNode) -> None:
    with top(node) as screen:
        for keys, view in (("", "1 running"), (TAB, "2 enqueued"), ("\x1b[C", "3 history"), ("\x1b[D", "2 enqueued")):
            screen.press(keys)
            screen.until(lambda view=view: view in screen.text and screen.has_style(view, "reverse"))
        screen.press("1\x1b[Z")
        screen.until(lambda: screen.has_style("5 system", "reverse"))


def test_the_selected_job_stays_selected_wherever_it_goes(node: ReachableNode) -> None:
    with top(node) as screen:
        screen.press("2")
        screen.expect("1 of 3")
        screen.press(ARROW_DOWN)
        screen.expect("2 of 3", f"Job {NEXT} (next-one)")
        screen.press("kj")
        screen.expect("2 of 3")
        node.node.platform.cancel(job(node, HOSTILE_ONE).id, by=job(node, HOSTILE_ONE).user)
        screen.expect("1 of 2", f"Job {NEXT} (next-one)")


def test_a_log_is_shown_from_its_end_and_goes_on(node: ReachableNode) -> None:
    training = job(node, ANNAS)
    with top(node) as screen:
        screen.expect("training")
        screen.press("\r")
        screen.expect("epoch 1", "\n100%\n", "cleared?", "it goes on here")
        assert b"\x1b[2Jcleared" not in screen.written
        node.node.leaves(training, "job.log", b"".join(b"line %d\n" % number for number in range(1000)))
        screen.expect("line 999")
        screen.press("\x1b[H")
        screen.expect("epoch 1")
        node.node.leaves(training, "job.log", b"the newest line\n")
        screen.expect("of 1005")
        assert "epoch 1" in screen.text  # who has scrolled up stays there
        screen.press("\x1b[F")
        screen.expect("the newest line")
        screen.press("b")
        screen.expect("the end of the build's log")
        screen.press("q")
        screen.expect(KEYS)


def test_the_log_of_somebody_else_is_refused_in_words(node: ReachableNode) -> None:
    with top(node) as screen:
        screen.expect("training")
        screen.press("jl")
        screen.expect("belongs to bert", "Ask them, or an admin.")


def test_why_says_why_a_job_waits_and_all_of_one_that_runs(node: ReachableNode) -> None:
    with top(node) as screen:
        screen.expect("training")
        screen.press("w")
        screen.expect("Job 5", "submitted", "GPU-0")
        screen.press("q2")
        screen.expect("next-one")
        screen.press("w")
        screen.expect(f"Why job {HOSTILE_ONE} waits", "The smallest expected penalty goes first.")


def test_a_job_is_cancelled_after_a_question_and_not_without(node: ReachableNode) -> None:
    with top(node) as screen:
        screen.expect("training")
        screen.press("c")
        screen.expect("Cancel job 5 (training) of anna? It is stopped", "y yes   n no")
        screen.press("x\r n")
        screen.expect_no("y yes")
        assert job(node, ANNAS).state.name is StateName.RUNNING
        screen.press("c")
        screen.expect("y yes")
        screen.press("y")
        screen.expect("is stopping: Cancelled by anna.")
        assert job(node, ANNAS).state.name is StateName.STOPPING


def test_another_ones_job_is_not_cancelled_and_it_is_said_why(node: ReachableNode) -> None:
    with top(node) as screen:
        screen.expect("training")
        screen.press("jc")
        screen.expect("y yes")
        screen.press("y")
        screen.expect("Job 6 belongs to bert.")
        assert job(node, BERTS).state.name is StateName.RUNNING


def test_a_job_is_held_and_released(node: ReachableNode) -> None:
    with top(node) as screen:
        screen.press("2")
        screen.expect("next-one")
        screen.press("h")
        screen.expect(f"Hold job {HOSTILE_ONE}")
        screen.press("y")
        screen.expect("anna holds it.", "held")
        assert job(node, HOSTILE_ONE).state.name is StateName.HELD
        screen.press("h")
        screen.expect(f"Release job {HOSTILE_ONE}")
        screen.press("y")
        screen.until(lambda: job(node, HOSTILE_ONE).state.name is StateName.QUEUED)


def test_rows_are_filtered_sorted_and_reduced_to_mine(node: ReachableNode) -> None:
    with top(node) as screen:
        screen.expect("training", "bert")
        screen.press("m")
        screen.expect("only mine", "1 of 2")
        assert "bert" not in screen.text
        screen.press("m/")
        screen.expect("show only what has this in it")
        screen.press("TRAIN")
        screen.expect("1 of 1", "with 'TRAIN'")
        screen.press("q\r")  # a letter while one types, not the end
        screen.expect("Nothing like that")
        screen.press(ESCAPE)
        screen.expect("1 of 3")
        screen.press("s")
        screen.expect("JOB▾", "by JOB")
        lines = screen.text.splitlines()
        assert [line.split()[0] for line in lines[3:6]] == ["7", "6", "5"]


# --- size, loss and end ---


def test_another_size_is_filled_at_once(node: ReachableNode) -> None:
    with top(node) as screen:
        screen.expect("training", KEYS)
        screen.resize(120, 40)
        screen.until(lambda: KEYS in screen.text.splitlines()[39] and "STATE" in screen.text)
        screen.resize(60, 12)
        screen.until(lambda: "── 1 of 3" in screen.text and "STATE" not in screen.text)
        assert len(screen.text.splitlines()) == 12
        screen.resize(10, 3)
        screen.resize(80, 24)
        screen.until(lambda: KEYS in screen.text.splitlines()[23] and "training" in screen.text)


def test_a_lost_node_is_said_and_found_again(node: ReachableNode) -> None:
    with FullScreen("top", environment=node.environment("anna")) as screen:
        screen.expect("training", "The disk is nearly full.")
        node.close()
        screen.expect("No answer for", "asking again", "training")
        screen.settle(0.1)
        screen.press("2")
        screen.expect("No answer for", "2 enqueued")
        screen.press("1c")
        screen.expect("y yes")
        screen.press("y")
        screen.expect("cannot be reached", timeout_s=40.0)
        node.node.queued("anna", "meanwhile")
        node.open()
        screen.expect_no("No answer", timeout_s=40.0)
        screen.expect("The disk is nearly full.", "enqueued 4")


def test_a_token_that_ends_meanwhile_is_told(node: ReachableNode) -> None:
    with top(node) as screen:
        screen.expect("training")
        node.node.logins.end_all("anna")
        screen.expect("does not know your token")
        screen.press("q")
        assert screen.end() == 0


@pytest.mark.parametrize(
    ("keys", "number", "code"),
    [
        ("q", None, 0),
        (CTRL_C, None, 130),
        ("c" + CTRL_C, None, 130),
        ("/abc" + CTRL_C, None, 130),
        ("", signal.SIGTERM, 143),
        ("", signal.SIGINT, 130),
    ],
)
def test_the_terminal_is_left_as_it_was(
    node: ReachableNode, keys: str, number: signal.Signals | None, code: int
) -> None:
    with top(node) as screen:
        screen.expect("training", KEYS)
        assert screen.modes != screen.modes_before
        screen.press(keys)
        assert screen.end(number) == code
        assert screen.modes == screen.modes_before
        assert_is_left(screen.written)


def test_the_terminal_is_left_as_it_was_while_the_node_is_lost(node: ReachableNode) -> None:
    with top(node) as screen:
        screen.expect("training", KEYS)
        node.close()
        screen.expect("No answer")
        screen.press(CTRL_C)
        assert screen.end() == 130
        assert screen.modes == screen.modes_before
        assert_is_left(screen.written)


def assert_is_left(written: bytes) -> None:
    """Whatever the terminal was told to do, it was told to do no more."""
    for mode in {int(mode) for mode in re.findall(rb"\x1b\[\?(\d+)[hl]", written)} - {7, 25, 2026}:
        assert written.rfind(b"\x1b[?%dl" % mode) > written.rfind(b"\x1b[?%dh" % mode), f"mode {mode} stays"
    for mode in (7, 25):  # lines wrap, the cursor is seen
        assert written.rfind(b"\x1b[?%dh" % mode) > written.rfind(b"\x1b[?%dl" % mode), f"mode {mode} stays off"
    assert b"Traceback" not in written
