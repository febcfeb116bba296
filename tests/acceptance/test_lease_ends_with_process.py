"""The GPUs of a job are free when the kernel says that its last process is gone, while Docker cannot say anything.

On an engine of its own, which is frozen here. That engine lives in a PID namespace: a node in there sees its processes, as on
a machine whose engine is the system's; a node outside does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from dopq.container_handler.docker_engine import DockerEngine
from private_engine import PrivateEngine
from tests.acceptance.conftest import free_port
from tests.bundles import config, zip_of
from tests.conftest import root_with_busybox
from tests.node_process import NodeProcess
from tests.waiting import wait_until

IMAGE = "lease-busybox:1"
WAITS = "echo begun; until test -e /output/go; do sleep 0.1; done; exit 3"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateEngine]:
    with PrivateEngine(tmp_path_factory.mktemp("own")) as engine:
        DockerEngine(engine.url).import_image(root_with_busybox(), reference=IMAGE, changes=("ENV PATH=/bin",))
        yield engine


class Lab:
    """A node with one GPU, its user, and the engine under it."""

    def __init__(self, folder: Path, engine: PrivateEngine, prefix: tuple[str, ...]) -> None:
        self.node = NodeProcess(folder, engine.url, free_port(), ("gpu.devices=simulate:1",), prefix=prefix)
        self.node.write_config()
        self.node.start()
        self.user = self.node.add_user("alice")
        assert engine.pid is not None
        children = psutil.Process(engine.pid).children(recursive=True)
        self.dockerd = next(child for child in children if child.name() == "dockerd")

    def close(self) -> None:
        self.dockerd.resume()
        self.user.close()
        self.kill()

    def kill(self) -> None:
        """SIGKILL the node, also where it is a child of what entered a namespace."""
        assert self.node.process is not None
        node = psutil.Process(self.node.process.pid).children(recursive=True)
        self.node.kill()
        psutil.wait_procs(node, 30)

    def submit(self, name: str, script: str) -> int:
        files = {
            "Dockerfile": f'FROM {IMAGE}\nCOPY run.sh /run.sh\nCMD ["/run.sh"]\n',
            "run.sh": f"#!/bin/sh\n{script}\n",
            "container_config.json": config(num_gpus=1),
        }
        return int(self.user.submit(zip_of(self.node.folder / name, files, executable=("run.sh",)))["id"])

    def state(self, job: int) -> str:
        return str(self.user.job(job)["state"])

    def frozen_after_its_process(self) -> tuple[int, int]:
        """A job whose process has ended under an engine that is frozen, and one that waits for its GPU."""
        ends = self.submit("ends.zip", WAITS)
        wait_until(lambda: self.state(ends) == "running", 60.0)
        waits = self.submit("waits.zip", "echo mine")
        wait_until(lambda: self.state(waits) == "queued", 60.0)
        self.dockerd.suspend()
        (self.node.state / "jobs" / str(ends) / "output" / "go").touch()
        return ends, waits

    def story(self, job: int) -> list[str]:
        return [str(event["new"]) for event in self.user._link.call("get_job_story", str(job))]

    def check_books(self) -> None:
        checked = self.node.dopq("audit", "check")
        assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.fixture
def inside(tmp_path: Path, engine: PrivateEngine) -> Iterator[Lab]:
    """A lab whose node sees the engine's processes, and dies with whoever brought it there."""
    enter = ("nsenter", f"--target={engine.pid}", "--pid", "--mount", "--wd=.", "setpriv", "--pdeathsig=KILL")
    lab = Lab(tmp_path, engine, enter)
    yield lab
    lab.close()


@pytest.fixture
def outside(tmp_path: Path, engine: PrivateEngine) -> Iterator[Lab]:
    """A lab whose node does not."""
    lab = Lab(tmp_path, engine, ())
    yield lab
    lab.close()


def test_the_next_job_has_the_gpu_before_docker_can_tell_of_the_end(inside: Lab) -> None:
    ends, waits = inside.frozen_after_its_process()
    wait_until(lambda: inside.state(waits) == "starting", 30.0)
    told = inside.user.job(ends)
    assert (told["state"], told["gpus"], told["exit_code"]) == ("running", [], None)
    inside.dockerd.resume()
    ended, came = inside.user.wait([ends, waits], timeout_s=60)
    assert (ended["state"], ended["exit_code"]) == ("failed", 3)
    assert came["state"] == "succeeded", inside.node.log
    assert b"".join(inside.user.logs(ends)) == b"begun\n"
    assert inside.story(ends)[-3:] == ["running", "running", "failed"]
    inside.check_books()


def test_a_node_that_is_killed_before_docker_can_tell_finishes_the_job_and_runs_it_no_second_time(inside: Lab) -> None:
    ends, waits = inside.frozen_after_its_process()
    wait_until(lambda: inside.state(waits) == "starting", 30.0)
    inside.kill()
    inside.dockerd.resume()
    inside.node.start()
    ended, came = inside.user.wait([ends, waits], timeout_s=60)
    assert (ended["state"], ended["exit_code"], came["state"]) == ("failed", 3, "succeeded"), inside.node.log
    assert b"".join(inside.user.logs(ends)) == b"begun\n"
    inside.check_books()


def test_where_the_node_cannot_see_the_process_the_gpu_waits_for_dockers_word(outside: Lab) -> None:
    ends, waits = outside.frozen_after_its_process()
    assert outside.state(waits) == "queued"
    outside.dockerd.resume()
    ended, came = outside.user.wait([ends, waits], timeout_s=60)
    assert (ended["state"], ended["exit_code"], came["state"]) == ("failed", 3, "succeeded"), outside.node.log
    assert outside.story(ends)[-2:] == ["running", "failed"]
    outside.check_books()
