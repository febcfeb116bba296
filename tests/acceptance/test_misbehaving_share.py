"""A share that goes away, refuses or is full: the node waits, says so, and loses nothing. Mounts need root."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dopq.errors import TryAgain
from dopq_client.client import DopqClient
from tests.acceptance.conftest import MakeBundle
from tests.node_process import MakeNode, NodeProcess
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a share needs root")

LONG_S = 60.0
DISK_BYTES = 128 * 2**20
FLOOR_BYTES = 32 * 2**20


class Mount:
    """A folder that is mounted as a node's share, and can be taken away like a network share."""

    def __init__(self, node: NodeProcess, disk: Path) -> None:
        self.node, self.share, self.disk = node, node.share, disk

    def bind(self) -> None:
        _run("mount", "--bind", str(self.disk), str(self.share))

    def unmount(self) -> None:
        _run("umount", "--lazy", str(self.share))

    def read_only(self) -> None:
        _run("mount", "-o", "remount,bind,ro", str(self.share))

    def writable(self) -> None:
        _run("mount", "-o", "remount,bind,rw", str(self.share))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=30)


@pytest.fixture
def mount(tmp_path: Path, make_node: MakeNode) -> Iterator[Mount]:
    """A node that does not run yet, and its share."""
    disk = tmp_path / "disk"
    disk.mkdir()
    _run("mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(disk))
    mount = Mount(make_node(f"disk.floor_bytes={FLOOR_BYTES}"), disk)
    mount.share.mkdir()
    mount.bind()
    yield mount
    while mount.share.is_mount():
        mount.unmount()
    _run("umount", "--lazy", str(disk))


@pytest.fixture
def node(mount: Mount) -> NodeProcess:
    mount.node.start()
    return mount.node


def warnings(client: DopqClient) -> str:
    return "\n".join(client.system()["warnings"])


def test_an_unmounted_share_is_waited_for(
    mount: Mount, node: NodeProcess, alice: DopqClient, bundle: MakeBundle, busybox_image: str, tmp_path: Path
) -> None:
    node.drop("alice", bundle("before.zip", "echo before"))
    node.wait_for("alice", "before.zip", "succeeded")
    mount.unmount()
    wait_until(lambda: "not mounted" in warnings(alice), LONG_S)
    assert len(alice.system()["warnings"]) == 1
    handed_in = alice.submit(bundle("meanwhile.zip", "echo meanwhile; echo 7 > /output/seven"))
    [ended] = alice.wait([handed_in["id"]], timeout_s=LONG_S)
    assert ended["state"] == "succeeded"
    assert b"".join(alice.logs(handed_in["id"])) == b"meanwhile\n"
    with pytest.raises(TryAgain, match="the share does not answer"):
        alice.fetch(handed_in["id"], tmp_path / "fetched")
    broken = {"Dockerfile": f"FROM {busybox_image}\nRUN echo mistaken && exit 3\n"}
    wrong = alice.submit(bundle("wrong.zip", "", broken))["id"]
    assert alice.wait([wrong], timeout_s=LONG_S)[0]["state"] == "build_failed"
    assert b"mistaken" in b"".join(alice.logs(wrong, build=True))
    assert sorted(path.name for path in mount.share.iterdir()) == [], "nothing is written to the bare mount point"
    mount.bind()
    node.wait_for("alice", "meanwhile.zip", "succeeded")
    assert b"".join(alice.logs(handed_in["id"])) == b"meanwhile\n"
    node.wait_for("alice", "wrong.zip", "build_failed")
    assert "mistaken" in (node.share / "outbox" / "alice" / f"{wrong}-wrong" / "build.log").read_text()
    alice.fetch(handed_in["id"], tmp_path / "fetched")
    assert (tmp_path / "fetched" / "output" / "seven").read_text() == "7\n"
    wait_until(lambda: "not mounted" not in warnings(alice), LONG_S)
    assert node.log.count("share_trouble") == 1


def test_a_new_share_gets_everybodys_folders_once_the_admin_says_that_it_is_new(
    mount: Mount, node: NodeProcess, alice: DopqClient, bundle: MakeBundle
) -> None:
    for entry in node.share.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    wait_until(lambda: f"make {node.share / 'outbox'}, remove {node.state / 'share.id'}" in warnings(alice), LONG_S)
    node.stop()
    (node.share / "outbox").mkdir()
    (node.state / "share.id").unlink()
    node.start()
    node.drop("alice", bundle("after.zip", "echo after"))
    node.wait_for("alice", "after.zip", "succeeded")


@pytest.mark.parametrize("how", ["unmounted", "read-only"])
def test_a_share_that_goes_while_a_job_runs_keeps_no_place_and_the_node_may_be_killed(
    mount: Mount, node: NodeProcess, alice: DopqClient, bundle: MakeBundle, how: str
) -> None:
    lines = "".join(f"{n}\n" for n in range(20_000)).encode()
    go_on = "while [ ! -e /output/go ]; do sleep 0.1; done"
    job = alice.submit(bundle("long.zip", f"seq 0 9999; {go_on}; seq 10000 19999; echo 7 > /output/seven"))["id"]
    log = node.share / "outbox" / "alice" / f"{job}-long" / "job.log"
    wait_until(lambda: log.exists() and log.read_bytes().endswith(b"9999\n"), LONG_S)
    mount.unmount() if how == "unmounted" else mount.read_only()
    (node.state / "jobs" / str(job) / "output" / "go").touch()
    [ended] = alice.wait([job], timeout_s=LONG_S)
    assert ended["state"] == "succeeded"
    assert b"".join(alice.logs(job)) == lines
    node.kill()
    node.start()
    next_one = alice.submit(bundle("next.zip", "echo next"))["id"]
    assert alice.wait([next_one], timeout_s=LONG_S)[0]["state"] == "succeeded"
    mount.bind() if how == "unmounted" else mount.writable()
    for name in ("long.zip", "next.zip"):
        node.wait_for("alice", name, "succeeded")
    assert log.read_bytes() == lines
    assert (log.parent / "output" / "seven").read_text() == "7\n"
    wait_until(lambda: list((node.state / "jobs").iterdir()) == [], LONG_S)


def test_a_read_only_share_is_waited_for_and_nothing_is_taken_twice(
    mount: Mount, node: NodeProcess, alice: DopqClient, bundle: MakeBundle
) -> None:
    mount.read_only()
    path = bundle("a.zip", "echo once")
    (mount.disk / "inbox" / "alice" / "a.zip").write_bytes(path.read_bytes())  # from another machine
    wait_until(lambda: "Read-only file system" in warnings(alice), LONG_S)
    mount.writable()
    node.wait_for("alice", "a.zip", "succeeded")
    wait_until(lambda: list((mount.share / "inbox" / "alice").iterdir()) == [], LONG_S)
    assert len(alice.history()) == 1


def test_a_node_that_starts_without_its_share_waits_for_it(
    mount: Mount, node: NodeProcess, alice: DopqClient, bundle: MakeBundle
) -> None:
    assert node.stop() == 0
    mount.unmount()
    node.start()
    wait_until(lambda: "not mounted" in warnings(alice), LONG_S)
    assert list(mount.share.iterdir()) == []
    mount.bind()
    node.drop("alice", bundle("a.zip", "echo fine"))
    node.wait_for("alice", "a.zip", "succeeded")


def test_a_full_share_holds_builds_until_there_is_space(
    mount: Mount, node: NodeProcess, alice: DopqClient, bundle: MakeBundle
) -> None:
    filler = mount.disk / "filler"
    filler.write_bytes(bytes(DISK_BYTES - FLOOR_BYTES + 2**20))
    wait_until(lambda: alice.system()["machine"]["disks"][-1]["free_bytes"] < FLOOR_BYTES, LONG_S)
    job = alice.submit(bundle("a.zip", "echo fine"))
    wait_until(lambda: alice.job(job["id"])["state"] == "held", LONG_S)
    reason = alice.job(job["id"])["reason"]
    assert reason is not None
    assert reason["code"] == "waiting_for_space"
    assert f"free at {mount.share}" in reason["sentence"]
    cancelled = alice.submit(bundle("b.zip", "echo never"))
    wait_until(lambda: alice.job(cancelled["id"])["state"] == "held", LONG_S)
    assert alice.cancel(cancelled["id"])["state"] == "cancelled"
    filler.unlink()
    [ended] = alice.wait([job["id"]], timeout_s=LONG_S)
    assert ended["state"] == "succeeded"
