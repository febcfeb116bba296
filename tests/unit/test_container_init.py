"""Only of the first process of the very container that is meant is it believed that its end is the end of all."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dopq.utils import processes
from dopq.utils.container_init import has_ended, hold
from tests.platforms import open_descriptors
from tests.waiting import wait_until

CONTAINER, ANOTHER = "4f" * 32, "5e" * 32

Tell = Callable[[int, str, str], None]


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "600"]) as child:
        yield child
        child.kill()


@pytest.fixture
def tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tell:
    """Have /proc tell of a process in which cgroup it is, and its numbers."""
    monkeypatch.setattr(processes, "PROC", tmp_path)

    def tell(pid: int, cgroup: str, numbers: str) -> None:
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "cgroup").write_text(f"0::{cgroup}\n")
        (tmp_path / str(pid) / "status").write_text(f"Name:\tsleep\nNSpid:\t{numbers}\nNSpgid:\t7\n")

    return tell


def test_the_first_process_of_a_container_is_held_until_it_ends(child: subprocess.Popen[bytes], tell: Tell) -> None:
    tell(child.pid, f"/docker/{CONTAINER}", f"{child.pid}\t1")
    held = hold(child.pid, CONTAINER)
    assert held is not None
    assert not has_ended(held)
    child.kill()
    wait_until(lambda: has_ended(held), 5.0)
    os.close(held)


@pytest.mark.parametrize(
    ("cgroup", "numbers"),
    [
        (f"/docker/{ANOTHER}", "7\t1"),
        ("/user.slice", "7\t1"),
        (f"/docker/{CONTAINER}", "7\t8"),
        (f"/docker/{CONTAINER}", "7"),
        (f"/docker/{CONTAINER}", "1"),
        (f"/docker/{CONTAINER}", ""),
    ],
    ids=["another container", "no container", "a later process", "no namespace", "the machine's init", "old kernel"],
)
def test_what_is_not_seen_to_be_its_first_process_is_not_held(
    child: subprocess.Popen[bytes], tell: Tell, cgroup: str, numbers: str
) -> None:
    tell(child.pid, cgroup, numbers)
    before = open_descriptors()
    assert hold(child.pid, CONTAINER) is None
    assert open_descriptors() == before


def test_a_process_whose_files_cannot_be_read_is_not_held(
    child: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "PROC", tmp_path)
    assert hold(child.pid, CONTAINER) is None


def test_what_was_read_of_a_process_that_has_ended_may_have_been_anothers(
    child: subprocess.Popen[bytes], tell: Tell
) -> None:
    """Its number is not given anew before somebody has reaped it, which is us; so this is as near as a test comes."""
    tell(child.pid, f"/docker/{CONTAINER}", f"{child.pid}\t1")
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    before = open_descriptors()
    assert hold(child.pid, CONTAINER) is None
    assert open_descriptors() == before


@pytest.mark.parametrize("pid", [0, -1, 2**22 + 1])
def test_a_number_that_no_process_has_is_not_held(pid: int) -> None:
    assert hold(pid, CONTAINER) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make a PID namespace and to enter it")
def test_the_first_process_of_a_namespace_ends_after_all_others_also_those_that_came_from_outside(tell: Tell) -> None:
    """What `hold` builds on, asked of this machine's own kernel."""
    with subprocess.Popen(["unshare", "--pid", "--fork", "--kill-child", "sleep", "600"]) as unshare:
        children = Path(f"/proc/{unshare.pid}/task/{unshare.pid}/children")
        wait_until(lambda: children.read_text().strip(), 5.0)
        first = int(children.read_text())
        wait_until(lambda: Path(f"/proc/{first}/comm").read_text() == "sleep\n", 5.0)
        tell(first, f"/docker/{CONTAINER}", f"{first}\t1")
        held = hold(first, CONTAINER)
        assert held is not None
        with subprocess.Popen(["nsenter", f"--target={first}", "--pid", "sleep", "600"]) as nsenter:
            guests = Path(f"/proc/{nsenter.pid}/task/{nsenter.pid}/children")
            wait_until(lambda: guests.read_text().strip(), 5.0)
            guest = Path(f"/proc/{guests.read_text().strip()}/stat")
            nsenter.send_signal(signal.SIGSTOP)  # it reaps nobody now
            os.kill(first, signal.SIGKILL)
            wait_until(lambda: ") Z " in guest.read_text(), 5.0)
            assert not has_ended(held), "one that was in the namespace has not been reaped"
            nsenter.send_signal(signal.SIGCONT)
            wait_until(lambda: has_ended(held), 5.0)
        os.close(held)
