"""Disks that fill up, each by itself: what needs the room waits and says so, and goes on by itself when there is some."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from dopq.container_handler.docker_engine import DockerEngine
from dopq.container_handler.engine import Exited
from dopq.errors import StateUnwritable, TryAgain
from dopq_client.client import DopqClient
from private_engine import PrivateEngine
from tests.acceptance.conftest import MakeBundle, free_port, node_id
from tests.bundles import config, zip_of
from tests.conftest import root_with_busybox
from tests.node_process import NodeProcess
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a disk needs root")

LONG_S = 60.0
FLOOR_BYTES = 8 * 2**20
IMAGE = "full-busybox:1"
STATE_BYTES, ENGINE_BYTES = 64 * 2**20, 512 * 2**20


class Disk:
    """A small file system of its own, that can be filled to the last byte."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, *, leave: int = 0) -> None:
        """Leave so many bytes free, whoever took or freed some meanwhile."""
        with (self.folder / "filler").open("ab", buffering=0) as filler, suppress(OSError):
            while (free := self.free() - leave) > 0:
                filler.write(bytes(min(free, 2**20)))

    def free(self) -> int:
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_frsize

    def empty(self) -> None:
        (self.folder / "filler").unlink()


@pytest.fixture(scope="module")
def mounted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with disks: `state`, and `engine` for all that Docker keeps."""
    folder = tmp_path_factory.mktemp("disks")
    with ExitStack() as stack:
        for name, size in (("state", STATE_BYTES), ("engine", ENGINE_BYTES)):
            disk = folder / name
            disk.mkdir()
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(disk)], check=True)
            stack.callback(subprocess.run, ["umount", "--lazy", str(disk)], check=True)
        yield folder


@pytest.fixture(scope="module")
def own_engine(mounted: Path) -> Iterator[PrivateEngine]:
    """It sees the disks, since it is begun after them."""
    with PrivateEngine(mounted / "engine") as engine:
        yield engine


@pytest.fixture(scope="module")
def own_image(own_engine: PrivateEngine) -> str:
    DockerEngine(own_engine.url).import_image(root_with_busybox(), reference=IMAGE, changes=("ENV PATH=/bin",))
    return IMAGE


@pytest.fixture
def node(mounted: Path, tmp_path: Path, own_engine: PrivateEngine) -> Iterator[NodeProcess]:
    node = NodeProcess(
        tmp_path, own_engine.url, free_port(), (f"disk.floor_bytes={FLOOR_BYTES}", "queue.max_running=4")
    )
    node.settings += (f"node.state={mounted / 'state'}",)
    node.write_config()
    node.state.symlink_to(mounted / "state")
    node.start()
    yield node
    if node.process and node.process.poll() is None:
        node.kill()
    for disk in (mounted / "state", mounted / "engine"):
        (disk / "filler").unlink(missing_ok=True)
    docker = DockerEngine(own_engine.url)
    for name in docker.containers({"dopq.node": node_id(node)}):
        docker.remove(name)
    for left in (mounted / "state").iterdir():
        shutil.rmtree(left) if left.is_dir() else left.unlink()


@pytest.fixture
def bundle(tmp_path: Path, own_image: str) -> MakeBundle:
    def make(name: str, script: str, **settings: object) -> Path:
        files = {
            "Dockerfile": f'FROM {own_image}\nCOPY run.sh /run.sh\nCMD ["/run.sh"]\n',
            "run.sh": f"#!/bin/sh\n{script}\n",
            "container_config.json": config(**settings),
        }
        return zip_of(tmp_path / name, files, executable=("run.sh",))

    return make


def warnings(client: DopqClient) -> str:
    return "\n".join(client.system()["warnings"])


LINES = b"early\n" * 1000 + b"late\n" * 20_000
SAYS = "yes early | head -n 1000; sleep 8; yes late | head -n 20000; exit 3"


def started(alice: DopqClient, *bundles: Path) -> list[int]:
    jobs = [alice.submit(bundle)["id"] for bundle in bundles]
    wait_until(lambda: {alice.job(job)["state"] for job in jobs} == {"running"}, LONG_S)
    return jobs


def kept_back(alice: DopqClient, bundle: Path) -> int:
    """A job that has its image and is held."""
    job = alice.submit(bundle)["id"]
    alice.hold(job)
    wait_until(lambda: alice.job(job)["image"], LONG_S)
    return job


def exhaust_journal(alice: DopqClient, disk: Disk, job: int) -> StateUnwritable:
    """Have the journal written to until it takes nothing more."""
    for turn in range(500):
        disk.fill()
        try:
            alice.release(job) if turn % 2 else alice.hold(job)
        except StateUnwritable as full:
            return full
    raise AssertionError("the journal takes everything")


@pytest.mark.timeout(240)
def test_a_full_state_folder_loses_no_job_no_line_and_no_outcome(
    mounted: Path, node: NodeProcess, bundle: MakeBundle
) -> None:
    disk = Disk(mounted / "state")
    with node.add_user("alice") as alice:
        waits = kept_back(alice, bundle("waits.zip", "echo waited"))
        jobs = started(alice, *(bundle(f"j{n}.zip", SAYS) for n in range(3)))
        disk.fill()
        with pytest.raises(TryAgain, match="Waiting for space"):
            alice.submit(bundle("late.zip", "echo late"))
        assert list((node.state / "uploads").iterdir()) == [], "nothing half is left"
        full = exhaust_journal(alice, disk, waits)
        assert "full" in full.message
        wait_until(lambda: "No job is started. Waiting for space" in warnings(alice), LONG_S)
        docker = DockerEngine(node.engine_url)
        names = [name for name in docker.containers({"dopq.node": node_id(node)}) if "-net-" not in name]
        wait_until(lambda: {type(docker.observe(name)) for name in names} == {Exited}, LONG_S)
        wait_until(lambda: "No space left" in warnings(alice), LONG_S)
        assert {alice.job(job)["state"] for job in jobs} == {"running"}, "what they said is not on disk yet"
        disk.empty()
        ended = alice.wait(jobs, timeout_s=LONG_S)
        assert [job["exit_code"] for job in ended] == [3, 3, 3], node.log
        assert [job for job in jobs if b"".join(alice.logs(job)) != LINES] == []
        alice.release(waits)
        assert alice.wait([waits], timeout_s=LONG_S)[0]["state"] == "succeeded"
        wait_until(lambda: warnings(alice) == "", LONG_S)
    assert "defect" not in node.log
    assert node.log.count("provider_ready") == 1, "the Provider was left alone"
    checked = node.dopq("audit", "check")
    assert checked.returncode == 0, checked.stdout


def test_a_node_that_is_killed_while_its_disk_is_full_is_back_when_there_is_room(
    mounted: Path, node: NodeProcess, bundle: MakeBundle
) -> None:
    disk = Disk(mounted / "state")
    with node.add_user("alice") as alice:
        waits = kept_back(alice, bundle("waits.zip", "echo waited"))
        [job] = started(alice, bundle("runs.zip", SAYS))
        exhaust_journal(alice, disk, waits)
        node.kill()
        disk.fill()
        node.spawn()
        assert node.process is not None
        assert node.process.wait(30) != 0
        assert "is not full" in node.log or "No space left" in node.log
        assert "Traceback" not in node.log
        disk.empty()
        node.start()
        [ended] = alice.wait([job], timeout_s=LONG_S)
        assert ended["exit_code"] == 3, node.log
        assert b"".join(alice.logs(job)) == LINES


def test_a_full_disk_of_the_engines_keeps_jobs_in_the_queue_and_builds_held(
    mounted: Path, node: NodeProcess, bundle: MakeBundle
) -> None:
    disk = Disk(mounted / "engine")
    with node.add_user("alice") as alice:
        waits = kept_back(alice, bundle("waits.zip", "echo waited"))
        [runs] = started(alice, bundle("runs.zip", "sleep 4; exit 3"))
        disk.fill(leave=FLOOR_BYTES // 20)
        alice.release(waits)
        unbuilt = alice.submit(bundle("unbuilt.zip", "echo built"))["id"]

        def wait_for_space() -> bool:
            reasons = [alice.job(job)["reason"] for job in (waits, unbuilt)]
            return {reason and reason["code"] for reason in reasons} == {"waiting_for_space"}

        wait_until(wait_for_space, LONG_S)
        assert [alice.job(job)["state"] for job in (waits, unbuilt)] == ["queued", "held"]
        assert "No job is started. Waiting for space" in warnings(alice)
        wait_until(lambda: "No image is made. Waiting for space" in warnings(alice), LONG_S)
        assert alice.wait([runs], timeout_s=LONG_S)[0]["exit_code"] == 3
        disk.empty()
        ended = alice.wait([waits, unbuilt], timeout_s=LONG_S)
        assert [job["state"] for job in ended] == ["succeeded"] * 2, node.log


def test_an_engine_that_is_full_when_a_job_is_about_to_start_is_waited_for(
    mounted: Path, node: NodeProcess, bundle: MakeBundle
) -> None:
    disk = Disk(mounted / "engine")
    node.stop()
    node.settings += ("disk.floor_bytes=0", "container.ready_namespaces=0")  # no floor: the engine itself meets its end
    node.write_config()
    node.start()
    with node.add_user("alice") as alice:
        waits = kept_back(alice, bundle("waits.zip", "echo waited"))
        disk.fill()
        alice.release(waits)
        wait_until(lambda: "no space left on device" in warnings(alice), LONG_S)
        assert alice.job(waits)["state"] == "starting"
        disk.empty()
        assert alice.wait([waits], timeout_s=LONG_S)[0]["state"] == "succeeded", node.log
        assert b"".join(alice.logs(waits)) == b"waited\n"
