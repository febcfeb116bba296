"""A process in a real container is known by its cgroup for that container's."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from dopq.container_handler.docker_engine import DockerEngine
from dopq.container_handler.engine import ContainerName, ContainerRequest
from dopq.job import ImageId
from dopq.utils.processes import origin
from tests.waiting import wait_until

pytestmark = pytest.mark.engine


def test_the_engines_id_of_a_container_is_in_the_cgroup_of_its_process(
    docker_engine: DockerEngine, busybox_image: str
) -> None:
    name, mark = ContainerName(f"dopq-test-origin-{uuid.uuid4().hex[:12]}"), uuid.uuid4().hex
    image = docker_engine.image(busybox_image)
    assert image is not None
    command = ("/bin/sh", "-c", f": {mark}; sleep 600 & wait")
    docker_engine.create(ContainerRequest(name, ImageId(image), labels={"dopq.test.origin": mark}, command=command))
    try:
        docker_engine.start(name)
        (its_id,) = docker_engine.ids({"dopq.test.origin": mark})
        wait_until(lambda: its_id in _containers_of_processes_that_say(mark), 10.0)
    finally:
        docker_engine.remove(name)


def _containers_of_processes_that_say(mark: str) -> frozenset[str]:
    """Their numbers here are not those in the engine's own PID namespace, so they are found by their command line."""
    found = frozenset[str]()
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and mark in _command_line(folder):
            found |= origin(int(folder.name)).containers or frozenset()
    return found


def _command_line(folder: Path) -> str:
    try:
        return (folder / "cmdline").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
