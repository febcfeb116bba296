"""Whose a process is, as /proc tells."""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path

import pytest

from dopq.utils import processes
from dopq.utils.processes import Origin, container_ids, origin

ID = "4f" * 32


@pytest.mark.parametrize(
    "cgroups",
    [
        f"12:devices:/docker/{ID}\n11:memory:/docker/{ID}\n0::/docker/{ID}\n",
        f"0::/system.slice/docker-{ID}.scope\n",
        f"0::/system.slice/docker-{ID}.scope/init\n",
        f"0::/../docker-{ID}.scope\n",
        f"0::/user.slice/user-1000.slice/user@1000.service/user.slice/docker-{ID}.scope\n",
    ],
    ids=["version 1", "version 2", "with a group below", "seen from a container", "rootless"],
)
def test_the_container_of_a_process_is_in_its_cgroup(cgroups: str) -> None:
    assert container_ids(cgroups) == {ID}


def test_a_process_in_a_container_in_a_container_is_in_both() -> None:
    assert container_ids(f"0::/docker/{ID}/docker/{'a' * 64}\n") == {ID, "a" * 64}


@pytest.mark.parametrize(
    "cgroups", ["0::/\n", "0::/user.slice/session-3.scope\n", f"0::/{ID}{ID}\n", "", f"0::/{ID[:63]}\n"]
)
def test_a_process_in_no_container_is_in_none(cgroups: str) -> None:
    assert container_ids(cgroups) == frozenset()


def test_a_process_is_its_users() -> None:
    seen = origin(os.getpid())
    assert seen.containers is not None
    assert seen.user == pwd.getpwuid(os.getuid()).pw_name


def test_of_a_process_that_has_ended_nothing_is_known() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait(10)
    assert origin(ended.pid) == Origin()


def test_a_user_without_a_name_is_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(uid: int) -> pwd.struct_passwd:
        raise KeyError(uid)

    monkeypatch.setattr(processes.pwd, "getpwuid", nobody)
    assert origin(os.getpid()).user == str(os.getuid())
