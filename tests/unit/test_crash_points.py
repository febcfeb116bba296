"""Crash points: they stand where the code says, fire once and only when asked, and otherwise are not there."""

from __future__ import annotations

import ast
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dopq.utils import crash_points

ROOT = Path(__file__).parents[2]
PROGRAM = """
import os
from dopq.utils.crash_points import arm, step
arm(os.environ)
for n in range(3):
    with step("journal commit"):
        print(n, flush=True)
"""


def steps_in_code() -> list[str]:
    """The name of every `step(...)` in the service."""
    return [
        ast.literal_eval(node.args[0])
        for path in sorted((ROOT / "dopq").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "step"
    ]


def run(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={"PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_step_is_taken_in_one_place_of_the_code_and_no_other_is() -> None:
    every = (*crash_points.NODE_STEPS, *crash_points.AHEAD_STEPS, *crash_points.PROVIDER_STEPS)
    assert sorted(steps_in_code()) == sorted(every)


@pytest.mark.parametrize(
    ("at", "printed"),
    [("before journal commit", ""), ("after journal commit", "0\n"), ("before journal commit:3", "0\n1\n")],
)
def test_a_process_dies_at_its_crash_point_and_only_once(tmp_path: Path, at: str, printed: str) -> None:
    mark = tmp_path / "mark"
    environment = {crash_points.AT: at, crash_points.MARK: str(mark)}
    died = run(tmp_path, **environment)
    assert (died.returncode, died.stdout) == (-signal.SIGKILL, printed)
    assert mark.exists()
    lived = run(tmp_path, **environment)
    assert (lived.returncode, lived.stdout) == (0, "0\n1\n2\n")


@pytest.mark.parametrize("only", [crash_points.AT, crash_points.MARK])
def test_nobody_dies_unless_both_variables_are_set(tmp_path: Path, only: str) -> None:
    value = {crash_points.AT: "before journal commit", crash_points.MARK: str(tmp_path / "mark")}[only]
    assert run(tmp_path, **{only: value}).returncode == 0


def test_a_point_that_is_not_there_is_no_silent_success(tmp_path: Path) -> None:
    died = run(tmp_path, **{crash_points.AT: "before lunch", crash_points.MARK: str(tmp_path / "mark")})
    assert "there is no crash point 'before lunch'" in died.stderr


def test_a_step_that_raises_has_not_come_to_its_end(tmp_path: Path) -> None:
    seen: list[str] = []

    class Recorder:
        def reached(self, point: str) -> None:
            seen.append(point)

    crash_points._armed.append(Recorder())  # type: ignore[arg-type]
    try:
        with pytest.raises(OSError, match="full"), crash_points.step("log append"):
            raise OSError("full")
    finally:
        crash_points._armed.clear()
    assert seen == ["before log append"]
