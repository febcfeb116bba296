"""Children that answer questions, and are given up on."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dopq.utils.deadline import ImpatientChild, NoAnswer
from tests.waiting import wait_until

ECHO = "import sys\nfor line in sys.stdin: "
Make = Callable[..., ImpatientChild]


@pytest.fixture
def python() -> Iterator[Make]:
    children: list[ImpatientChild] = []

    def make(script: str, deadline_s: float = 30.0) -> ImpatientChild:
        children.append(ImpatientChild([sys.executable, "-c", script], deadline_s))
        return children[-1]

    yield make
    for child in children:
        child.close()


def test_the_answer_is_the_line_that_the_child_wrote(python: Make) -> None:
    assert python(ECHO + "print('yes', flush=True)").ask() == b"yes\n"


def test_one_child_answers_every_question(python: Make) -> None:
    child = python("import os\n" + ECHO + "print(os.getpid(), flush=True)")
    assert child.ask() == child.ask()


def test_an_answer_longer_than_a_pipe_arrives_whole(python: Make) -> None:
    assert len(python(ECHO + "print('x' * 1_000_000, flush=True)").ask()) == 1_000_001


def test_a_failure_is_told_in_the_childs_own_last_words(python: Make) -> None:
    with pytest.raises(NoAnswer, match="exit code 3: out of luck"):
        python("import sys; input(); print('out of luck', file=sys.stderr); sys.exit(3)").ask()


def test_a_child_that_has_ended_is_replaced(python: Make) -> None:
    child = python("import os; input(); print(os.getpid(), flush=True)")
    first = child.ask()
    assert child._process is not None
    child._process.wait(10)
    assert child.ask() != first


def test_a_command_that_is_not_there_is_no_answer() -> None:
    child = ImpatientChild(["/nowhere/at-all"], 1.0)
    with pytest.raises(NoAnswer, match="could not be started"):
        child.ask()
    child.close()


def test_the_child_finds_the_modules_that_we_find(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, python: Make
) -> None:
    (tmp_path / "only_here.py").write_text("WORD = 'found'")
    monkeypatch.syspath_prepend(tmp_path)
    assert python("import only_here; input(); print(only_here.WORD, flush=True)").ask() == b"found\n"


def test_a_slow_child_is_ended_and_the_next_one_gets_its_chance(tmp_path: Path, python: Make) -> None:
    mark = tmp_path / "slow"
    mark.touch()
    slow = f"time.sleep(60 * os.path.exists({str(mark)!r}))"
    child = python(f"import os, time; input(); {slow}; print('quick', flush=True)", 2.0)
    before = time.monotonic()
    with pytest.raises(NoAnswer, match="no answer within 2 s"):
        child.ask()
    assert time.monotonic() - before < 10
    mark.unlink()
    assert child.ask() == b"quick\n"


def test_one_that_cannot_be_killed_is_waited_for_by_nobody_and_never_joined_by_a_second(
    monkeypatch: pytest.MonkeyPatch, python: Make
) -> None:
    child = python("import time; time.sleep(60)", 0.5)
    with monkeypatch.context() as unkillable:
        unkillable.setattr("subprocess.Popen.kill", lambda _: None)  # as in uninterruptible sleep
        with pytest.raises(NoAnswer, match="no answer within"):
            child.ask()
        with pytest.raises(NoAnswer, match="still hangs"):
            child.ask()
    hanging = child._process
    assert hanging is not None
    hanging.kill()
    hanging.wait(10)


def test_one_that_closes_its_answers_and_lives_on_is_ended(python: Make) -> None:
    child = python("import os, time; os.close(1); time.sleep(60)")
    with pytest.raises(NoAnswer, match="says nothing"):
        child.ask()
    assert child._process is not None
    assert child._process.poll() is not None


def test_who_waits_for_an_answer_is_told_at_once_when_the_child_is_closed(python: Make) -> None:
    child, told = python("import time; time.sleep(60)"), list[str]()

    def ask() -> None:
        with pytest.raises(NoAnswer) as trouble:
            child.ask()
        told.append(str(trouble.value))

    thread = threading.Thread(target=ask)
    thread.start()
    wait_until(lambda: child._process, 10.0)
    child.close()
    thread.join(10)
    assert told == ["it was ended by SIGKILL"]


def test_who_comes_while_another_waits_is_sent_away_in_time(tmp_path: Path, python: Make) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    child = python(f"open({str(gate)!r}).read(); print('through', flush=True)", 1.0)
    answers: list[str] = []

    def ask() -> None:
        try:
            answers.append(child.ask().decode())
        except NoAnswer as trouble:
            answers.append(str(trouble))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    before = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(answers) == 3
    assert "through\n" not in answers
    assert time.monotonic() - before < 10
