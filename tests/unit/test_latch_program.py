"""The program that holds a command back: it starts nothing before the latch is opened, and then exactly the command."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import compile_latch
from dopq.container_handler.executable import executable
from dopq.container_handler.latch_program import latch_program
from tests.waiting import wait_until

HERE = os.uname().machine
SEARCH = {"PATH": "/usr/bin:/bin"}

# How a program of each machine is run here: directly, or by an emulator where there is one.
RUNS: Mapping[str, tuple[str, ...]] = {"aarch64": ("qemu-aarch64-static",)} | {HERE: ()}


@pytest.fixture(params=["x86_64", "aarch64", "compiled here"])
def latch(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, ...]:
    """The command that runs the program of one machine, or what the compiler at hand makes of the source."""
    machine = HERE if request.param == "compiled here" else request.param
    if any(shutil.which(tool) is None for tool in RUNS.get(machine, ("an emulator for it",))):
        pytest.skip(f"nothing here runs programs for {machine} (Debian: apt install qemu-user-static)")
    program = latch_program(machine)
    if request.param == "compiled here":
        if shutil.which("gcc") is None:
            pytest.skip("there is no gcc to compile it with")
        program = executable(machine, compile_latch.compiled(machine))
    assert program is not None
    file = tmp_path / "latch"
    file.write_bytes(program)
    file.chmod(0o555)
    return (*(str(shutil.which(tool)) for tool in RUNS[machine]), str(file))


class Shut:
    """A latch file that is locked, as the node holds it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "said"
        self._file = self.path.open("wb", buffering=0)
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def open(self, says: bytes = b"go") -> None:
        self._file.write(says)
        self.let_go()

    def let_go(self) -> None:
        """As the kernel does when the node dies."""
        self._file.close()


@pytest.fixture
def shut(tmp_path: Path) -> Iterator[Shut]:
    shut = Shut(tmp_path)
    yield shut
    shut.let_go()


def begin(
    latch: tuple[str, ...], shut: Shut, *command: str, environment: Mapping[str, str] = SEARCH, cwd: Path | None = None
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*latch, str(shut.path), *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, cwd=cwd
    )


def ended(process: subprocess.Popen[bytes]) -> tuple[int, bytes, bytes]:
    with process:
        out, err = process.communicate(timeout=20)
        return process.returncode, out, err


def waits(process: subprocess.Popen[bytes]) -> bool:
    """Whether it is blocked in the lock."""
    return "flock" in Path(f"/proc/{process.pid}/wchan").read_text() or any(
        str(process.pid) in line.split() for line in Path("/proc/locks").read_text().splitlines() if "->" in line
    )


def test_nothing_runs_before_it_is_opened(latch: tuple[str, ...], shut: Shut, tmp_path: Path) -> None:
    process = begin(latch, shut, "touch", str(tmp_path / "ran"))
    wait_until(lambda: waits(process), 10.0)
    assert not (tmp_path / "ran").exists()
    shut.open()
    assert ended(process) == (0, b"", b"")
    assert (tmp_path / "ran").exists()


def test_the_command_has_its_arguments_environment_folder_and_nothing_else(
    latch: tuple[str, ...], shut: Shut, tmp_path: Path
) -> None:
    process = begin(
        latch,
        shut,
        *("sh", "-c", 'echo "$0|$1|$2|$LOSS|$$"; pwd; ls /proc/self/fd', "zero", "a b", ""),
        environment={"LOSS": "0.5", **SEARCH},
        cwd=tmp_path,
    )
    wait_until(lambda: waits(process), 10.0)
    shut.open()
    code, out, err = ended(process)
    assert (code, err) == (0, b"")
    first, second, *descriptors = out.decode().splitlines()
    assert first == f"zero|a b||0.5|{process.pid}"
    assert second == str(tmp_path)
    assert descriptors == ["0", "1", "2", "3"]  # the last is that of `ls`, on /proc/self/fd


def test_one_that_nobody_opened_ends_without_running_anything(
    latch: tuple[str, ...], shut: Shut, tmp_path: Path
) -> None:
    process = begin(latch, shut, "touch", str(tmp_path / "ran"))
    wait_until(lambda: waits(process), 10.0)
    shut.let_go()
    assert ended(process) == (125, b"", b"")
    assert not (tmp_path / "ran").exists()


def test_one_without_its_file_ends_without_running_anything(latch: tuple[str, ...], shut: Shut) -> None:
    shut.path.unlink()
    assert ended(begin(latch, shut, "echo", "ran")) == (125, b"", b"")


def test_one_that_is_opened_already_does_not_wait(latch: tuple[str, ...], shut: Shut) -> None:
    shut.open()
    assert ended(begin(latch, shut, "echo", "ran")) == (0, b"ran\n", b"")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGKILL])
def test_a_signal_ends_it_while_it_waits(latch: tuple[str, ...], shut: Shut, number: signal.Signals) -> None:
    process = begin(latch, shut, "echo", "ran")
    wait_until(lambda: waits(process), 10.0)
    process.send_signal(number)
    assert ended(process) == (-number, b"", b"")


# --- the search for the command, as execvp(3) does it ---


def script(path: Path, text: str, mode: int = 0o755) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def opened(latch: tuple[str, ...], shut: Shut, *command: str, **settings: object) -> tuple[int, bytes, bytes]:
    shut.open()
    return ended(begin(latch, shut, *command, **settings))  # type: ignore[arg-type]


def test_the_first_on_the_search_path_is_taken(latch: tuple[str, ...], shut: Shut, tmp_path: Path) -> None:
    for name in ("first", "second"):
        script(tmp_path / name / "train", f"#!/bin/sh\necho {name}\n")
    path = f"{tmp_path}/nowhere:{tmp_path}/first:{tmp_path}/second"
    assert opened(latch, shut, "train", environment={"PATH": path}) == (0, b"first\n", b"")


def test_an_empty_element_of_the_search_path_is_the_folder_itself(
    latch: tuple[str, ...], shut: Shut, tmp_path: Path
) -> None:
    script(tmp_path / "here" / "train", "#!/bin/sh\necho here\n")
    answer = opened(latch, shut, "train", environment={"PATH": "/nowhere::"}, cwd=tmp_path / "here")
    assert answer == (0, b"here\n", b"")


def test_without_a_search_path_the_usual_folders_are_searched(latch: tuple[str, ...], shut: Shut) -> None:
    assert opened(latch, shut, "echo", "found", environment={}) == (0, b"found\n", b"")


def test_a_name_with_a_slash_is_not_searched_for(latch: tuple[str, ...], shut: Shut, tmp_path: Path) -> None:
    script(tmp_path / "here" / "train", "#!/bin/sh\necho $1\n")
    assert opened(latch, shut, "here/train", "on", cwd=tmp_path) == (0, b"on\n", b"")


def test_a_script_that_names_no_interpreter_is_the_shells(latch: tuple[str, ...], shut: Shut, tmp_path: Path) -> None:
    script(tmp_path / "here" / "train", 'echo "$0 $1 $#"\n')
    answer = opened(latch, shut, "train", "on", environment={"PATH": f"{tmp_path}/here"})
    assert answer == (0, f"{tmp_path}/here/train on 1\n".encode(), b"")


@pytest.mark.parametrize("command", ["nosuch", "/nowhere/nosuch", ""])
def test_what_is_not_there_ends_with_127(latch: tuple[str, ...], shut: Shut, command: str) -> None:
    words = f"exec {command} failed: No such file or directory\n".encode()
    assert opened(latch, shut, command) == (127, b"", words)


def test_what_may_not_be_run_ends_with_126(latch: tuple[str, ...], shut: Shut, tmp_path: Path) -> None:
    script(tmp_path / "first" / "train", "#!/bin/sh\necho no\n", mode=0o644)
    path = f"{tmp_path}/first:{tmp_path}/nowhere"
    answer = opened(latch, shut, "train", environment={"PATH": path})
    assert answer == (126, b"", b"exec train failed: Permission denied\n")


def test_what_may_be_run_is_found_behind_what_may_not(latch: tuple[str, ...], shut: Shut, tmp_path: Path) -> None:
    script(tmp_path / "first" / "train", "#!/bin/sh\necho no\n", mode=0o644)
    script(tmp_path / "second" / "train", "#!/bin/sh\necho yes\n")
    path = f"{tmp_path}/first:{tmp_path}/second"
    assert opened(latch, shut, "train", environment={"PATH": path}) == (0, b"yes\n", b"")


@pytest.mark.parametrize("length", [254, 255, 256, 5000])
def test_long_names_and_search_paths_end_it_in_order(latch: tuple[str, ...], shut: Shut, length: int) -> None:
    code, out, err = opened(latch, shut, "n" * length, environment={"PATH": f"/{'p' * 9000}:/{'q' * 4095}:/bin"})
    assert (code, out) == (127 if length < 256 else 1, b"")
    assert err.startswith(b"exec nnn")


def test_there_is_none_for_a_machine_that_it_is_not_written_for() -> None:
    assert latch_program("sparc64") is None
