"""The README's first command, as a newcomer types it: from a checkout to results, again and again."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
SCRIPT = CHECKOUT / "scripts" / "quickstart.sh"

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]  # the first run of all makes a base image


def quickstart(*arguments: str) -> dict[str, Any]:
    """The summary of a run."""
    done = subprocess.run([SCRIPT, *arguments, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


def left_running() -> list[str]:
    """Command lines of the processes that work below the quickstart's state folder."""
    here = str(CHECKOUT / ".dopq" / "quickstart")
    commands = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().decode().replace("\0", " ")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if here in command:
            commands.append(command)
    return commands


def wait_until(condition: Callable[[], bool], limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


@pytest.fixture(scope="module", autouse=True)
def first() -> dict[str, Any]:
    return quickstart()


def test_it_ends_with_a_succeeded_job_and_its_outputs_and_leaves_nothing_running(first: dict[str, Any]) -> None:
    assert first["state"] == "succeeded"
    assert first["exit_code"] == 0
    assert "output/metrics.json" in first["output_files"]
    assert all((Path(first["folder"]) / name).is_file() for name in first["output_files"])
    assert left_running() == []


def test_another_run_takes_less_than_20_seconds() -> None:
    began = time.monotonic()
    quickstart()
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("sign", ["a private one", "[", "job |"])
def test_a_run_killed_in_between_leaves_nothing_running_and_the_next_one_works(sign: str) -> None:
    """`sign` is what the run has said last: the engine is up; the job has been seen; the job runs."""
    with subprocess.Popen([SCRIPT], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert any(sign in line for line in run.stdout), "the sign never came"
        run.kill()
    wait_until(lambda: left_running() == [], 30)
    assert quickstart()["state"] == "succeeded"


def test_ctrl_c_stops_everything_that_was_started() -> None:
    with subprocess.Popen([SCRIPT], stdout=subprocess.PIPE, text=True, start_new_session=True) as run:
        assert run.stdout is not None
        assert any("dropped" in line for line in run.stdout)
        os.killpg(run.pid, signal.SIGINT)  # as a terminal does it: to the whole group
    assert run.returncode == 130
    assert left_running() == []


def test_a_kept_node_serves_the_next_run_until_it_is_told_to_stop() -> None:
    quickstart("--keep")
    try:
        kept = sorted(left_running())
        assert [command for command in kept if "dopq serve" in command] != []
        quickstart()
        assert sorted(left_running()) == kept
    finally:
        subprocess.run([SCRIPT, "--stop"], check=True)
    assert left_running() == []
