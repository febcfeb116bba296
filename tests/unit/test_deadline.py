"""Commands that are given up on."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import pytest

from dopq.utils.deadline import ImpatientCommand, NoAnswer


def python(script: str, deadline_s: float = 30.0) -> ImpatientCommand:
    return ImpatientCommand([sys.executable, "-c", script], deadline_s)


def test_the_answer_is_what_the_command_wrote() -> None:
    assert python("print('yes')").run() == b"yes\n"


def test_an_answer_longer_than_a_pipe_arrives_whole() -> None:
    assert len(python("print('x' * 1_000_000)").run()) == 1_000_001


def test_a_failure_is_told_in_the_commands_own_last_words() -> None:
    with pytest.raises(NoAnswer, match="exit code 3: out of luck"):
        python("import sys; print('out of luck', file=sys.stderr); sys.exit(3)").run()


def test_a_command_that_is_not_there_is_no_answer() -> None:
    with pytest.raises(NoAnswer, match="could not be started"):
        ImpatientCommand(["/nowhere/at-all"], 1.0).run()


def test_the_command_finds_the_modules_that_we_find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "only_here.py").write_text("WORD = 'found'")
    monkeypatch.syspath_prepend(tmp_path)
    assert python("import only_here; print(only_here.WORD)").run() == b"found\n"


def test_a_slow_command_is_ended_and_the_next_one_gets_its_chance(tmp_path: Path) -> None:
    mark = tmp_path / "slow"
    mark.touch()
    command = python(f"import os, time; time.sleep(60 * os.path.exists({str(mark)!r})); print('quick')", 2.0)
    before = time.monotonic()
    with pytest.raises(NoAnswer, match="no answer within 2 s"):
        command.run()
    assert time.monotonic() - before < 10
    mark.unlink()
    assert command.run() == b"quick\n"


def test_one_that_cannot_be_killed_is_waited_for_by_nobody_and_never_joined_by_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command = python("import time; print('here'); time.sleep(60)", 0.5)
    with monkeypatch.context() as unkillable:
        unkillable.setattr("subprocess.Popen.kill", lambda _: None)  # as in uninterruptible sleep
        with pytest.raises(NoAnswer, match="no answer within"):
            command.run()
        with pytest.raises(NoAnswer, match="still hangs"):
            command.run()
    hanging = command._process
    assert hanging is not None
    hanging.kill()
    hanging.wait(10)


def test_who_comes_while_another_waits_is_sent_away_in_time(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    command = python(f"open({str(gate)!r}).read(); print('through')", 1.0)
    answers: list[str] = []

    def ask() -> None:
        try:
            answers.append(command.run().decode())
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
