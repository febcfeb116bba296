"""A share that goes away, refuses or is full: the node waits, says so, and loses nothing. Mounts need root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

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
    mount: Mount, node: NodeProcess, alice: DopqClient, bundle: MakeBundle
) -> None:
    node.drop("alice", bundle("before.zip", "echo before"))
    node.wait_for("alice", "before.zip", "succeeded")
    mount.unmount()
    wait_until(lambda: "not mounted" in warnings(alice), LONG_S)
    handed_in = alice.submit(bundle("meanwhile.zip", "echo meanwhile"))
    wait_until(lambda: alice.job(handed_in["id"])["state"] not in {"building", "queued"}, LONG_S)
    assert sorted(path.name for path in mount.share.iterdir()) == [], "nothing is written to the bare mount point"
    mount.bind()
    [ended] = alice.wait([handed_in["id"]], timeout_s=LONG_S)
    assert ended["state"] == "succeeded"
    node.wait_for("alice", "meanwhile.zip", "succeeded")
    assert b"".join(alice.logs(handed_in["id"])) == b"meanwhile\n"
    wait_until(lambda: "not mounted" not in warnings(alice), LONG_S)
    assert node.log.count("share_trouble") == 1


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
