"""The program of the containers that hold namespaces open: it is one, and it does nothing."""

from __future__ import annotations

import signal
import subprocess
import tarfile
from pathlib import Path

from dopq.container_handler.pause_image import COMMAND, pause_program, pause_root
from tests.waiting import wait_until


def test_it_runs_until_it_is_ended_and_uses_nothing(tmp_path: Path) -> None:
    root = pause_root()
    assert root is not None, "these tests run on a machine that it is written for"
    with tarfile.open(fileobj=root) as tar:
        tar.extractall(tmp_path, filter="data")
    with subprocess.Popen([tmp_path / COMMAND[0].removeprefix("/")]) as process:
        wait_until(lambda: state(process.pid) == "S", 5.0)
        assert Path(f"/proc/{process.pid}/exe").resolve().name == "pause"
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == -signal.SIGTERM


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_there_is_none_for_a_machine_that_it_is_not_written_for() -> None:
    assert pause_program("sparc64") is None
    for machine in ("x86_64", "aarch64"):
        program = pause_program(machine)
        assert program is not None
        assert program.startswith(b"\x7fELF")
