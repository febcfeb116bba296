"""A latch: shut until it is opened, and whoever asks later knows whether it was."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from dopq.container_handler.docker_json import behind_latch, container_body
from dopq.container_handler.engine import ContainerName, ContainerRequest
from dopq.container_handler.latch import Latch, command_behind_latch, opened_at
from dopq.errors import EngineRefused
from dopq.job import ImageId
from tests.waiting import wait_until

NOW = datetime(2026, 1, 5, 9, 0, 0, 123456, tzinfo=UTC)


def waiting(folder: Path, *command: str) -> subprocess.Popen[bytes]:
    """The program of the latch in that folder, where a container would run it."""
    return subprocess.Popen([folder / "latch", folder / "opened", *command], stdout=subprocess.PIPE)


def test_it_is_shut_until_it_is_opened_and_tells_when_that_was(tmp_path: Path) -> None:
    latch = Latch(tmp_path / "latch")
    assert opened_at(latch.folder) is None
    latch.open(NOW.astimezone(timezone(timedelta(hours=2))))
    assert opened_at(latch.folder) == NOW
    latch.close()
    assert opened_at(latch.folder) == NOW


def test_a_folder_without_one_has_none_that_was_opened(tmp_path: Path) -> None:
    assert opened_at(tmp_path) is None


def test_none_is_used_for_two_containers(tmp_path: Path) -> None:
    Latch(tmp_path / "latch").close()
    with pytest.raises(FileExistsError):
        Latch(tmp_path / "latch")


def test_everybody_may_run_it_and_nobody_may_change_it(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        latch = Latch(tmp_path / "standing")
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in [latch.folder, *latch.folder.iterdir()]}
    assert modes == {"standing": 0o755, "latch": 0o555, "opened": 0o444}
    latch.close()


def test_what_stands_at_it_ends_when_the_node_is_killed(tmp_path: Path) -> None:
    node = subprocess.Popen(
        [sys.executable, "-c", _NODE, str(tmp_path / "latch")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert node.stdout is not None
    assert node.stdout.readline() == b"shut\n"
    standing = waiting(tmp_path / "latch", "echo", "ran")
    wait_until(lambda: f" {standing.pid} " in Path("/proc/locks").read_text(), 5.0)
    node.kill()
    with node, standing:
        assert standing.communicate(timeout=10) == (b"", None)
        assert standing.returncode == 125
    assert opened_at(tmp_path / "latch") is None


_NODE = """
import sys, pathlib
from dopq.container_handler.latch import Latch
latch = Latch(pathlib.Path(sys.argv[1]))
print("shut", flush=True)
sys.stdin.read()
"""


def test_a_child_that_has_the_file_open_by_chance_holds_nobody_up(tmp_path: Path) -> None:
    latch = Latch(tmp_path / "latch")
    copy = os.dup(latch._descriptor)
    standing = waiting(latch.folder, "echo", "ran")
    latch.open(NOW)
    with standing:
        assert standing.communicate(timeout=10) == (b"ran\n", None)
    os.close(copy)


# --- the request of its container ---


def request(tmp_path: Path, **settings: object) -> ContainerRequest:
    details = {"labels": {}, "latch": tmp_path, **settings}
    return ContainerRequest(ContainerName("one"), ImageId("sha256:1"), **details)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("said", "image", "whole"),
    [
        ({}, {"Entrypoint": ["python"], "Cmd": ["train.py"]}, ("python", "train.py")),
        ({}, {"Entrypoint": None, "Cmd": ["train.py"]}, ("train.py",)),
        ({}, {"Entrypoint": ["python"], "Cmd": None}, ("python",)),
        ({"command": ("test.py",)}, {"Entrypoint": ["python"], "Cmd": ["train.py"]}, ("python", "test.py")),
        ({"entrypoint": ("sh",)}, {"Entrypoint": ["python"], "Cmd": ["train.py"]}, ("sh",)),
        ({"entrypoint": ("sh",), "command": ("-c", "ls")}, {"Entrypoint": ["python"]}, ("sh", "-c", "ls")),
        ({"entrypoint": ()}, {"Entrypoint": ["python"], "Cmd": ["train.py"]}, ("train.py",)),
    ],
)
def test_the_command_that_is_held_back_is_the_one_that_the_engine_would_run(
    tmp_path: Path, said: dict[str, object], image: dict[str, object], whole: tuple[str, ...]
) -> None:
    body = container_body(behind_latch(request(tmp_path, **said), image))
    assert body["Entrypoint"] == list(command_behind_latch(whole))
    assert body["Cmd"] == []
    assert {"Type": "bind", "Source": str(tmp_path), "Target": "/.dopq-latch", "ReadOnly": True} in body["HostConfig"][
        "Mounts"
    ]


def test_an_image_without_a_command_is_refused_as_without_a_latch(tmp_path: Path) -> None:
    with pytest.raises(EngineRefused, match="no command"):
        behind_latch(request(tmp_path), {"Entrypoint": None, "Cmd": None})
