"""Building on a real engine: once for the same content, in fair order, watched, and tidied up afterwards."""

from __future__ import annotations

import os
import signal
import time

import psutil
import pytest

from dopq.container_handler.docker_engine import DockerEngine
from dopq_client.client import DopqClient
from tests.acceptance.conftest import MakeBundle
from tests.bundles import zip_of
from tests.node_process import MakeNode, NodeProcess
from tests.waiting import wait_until

LONG_S = 60.0


def test_the_same_content_is_queued_again_within_a_second(
    node: NodeProcess, alice: DopqClient, bundle: MakeBundle
) -> None:
    path = bundle("train.zip", "echo trained")
    [first] = alice.wait([alice.submit(path)["id"]], timeout_s=LONG_S)
    handed_in_at = time.monotonic()
    job = alice.submit(path)
    wait_until(lambda: alice.job(job["id"])["queued_at"], LONG_S)
    took_s = time.monotonic() - handed_in_at
    [second] = alice.wait([job["id"]], timeout_s=LONG_S)
    assert (second["state"], second["image"]) == ("succeeded", first["image"])
    assert b"used again" in b"".join(alice.logs(job["id"], build=True))
    assert took_s < 1.0


def test_the_same_content_is_found_again_by_a_later_life_of_the_node(
    node: NodeProcess, alice: DopqClient, bundle: MakeBundle
) -> None:
    path = bundle("train.zip", "echo trained")
    alice.wait([alice.submit(path)["id"]], timeout_s=LONG_S)
    node.kill()
    node.start()
    job = alice.submit(path)
    alice.wait([job["id"]], timeout_s=LONG_S)
    assert b"used again" in b"".join(alice.logs(job["id"], build=True))


def test_a_build_is_followed_while_it_goes_on_and_makes_way_when_it_is_cancelled(
    node: NodeProcess, alice: DopqClient, bundle: MakeBundle, busybox_image: str
) -> None:
    dockerfile = f"FROM {busybox_image}\nRUN echo begun on {node.folder.parent.name}; sleep 600\n"
    job = alice.submit(zip_of(node.folder / "slow.zip", {"Dockerfile": dockerfile}))
    followed = alice.logs(job["id"], build=True, follow=True)
    text = b""
    while f"begun on {node.folder.parent.name}\n".encode() not in text:
        text += next(followed)
    assert alice.job(job["id"])["state"] == "building"
    alice.cancel(job["id"])
    text += b"".join(followed)
    assert alice.job(job["id"])["state"] == "cancelled"
    node.drop("alice", bundle("next.zip", "echo fine"))
    node.wait_for("alice", "next.zip", "succeeded")


def test_one_users_builds_do_not_hold_up_anothers_first(
    make_node: MakeNode, bundle: MakeBundle, busybox_image: str
) -> None:
    node = make_node("build.concurrency=1")
    node.start()
    with node.add_user("alice") as alice, node.add_user("bob") as bob:
        for n in range(6):
            dockerfile = f"FROM {busybox_image}\nRUN echo {node.folder.parent.name} {n}; sleep 1\n"
            alice.submit(zip_of(node.folder / f"a{n}.zip", {"Dockerfile": dockerfile}))
        his = bob.submit(bundle("b.zip", "echo bob"))
        wait_until(lambda: bob.job(his["id"])["queued_at"], LONG_S)
        assert sum(job["state"] == "building" for job in alice.jobs()) >= 3


def test_too_large_an_image_is_told_of_with_both_numbers(
    make_node: MakeNode, bundle: MakeBundle, docker_engine: DockerEngine
) -> None:
    node = make_node("build.max_image_bytes=1000")
    node.start()
    with node.add_user("alice") as alice:
        job = alice.submit(bundle("a.zip", "echo never"))
        [ended] = alice.wait([job["id"]], timeout_s=LONG_S)
    assert ended["state"] == "build_failed"
    assert ended["reason"] is not None
    assert "bytes; this node allows 1000" in ended["reason"]["sentence"]


@pytest.mark.timeout(180)
def test_a_provider_that_hangs_is_replaced_and_takes_every_bundle_once(
    node: NodeProcess, alice: DopqClient, bundle: MakeBundle
) -> None:
    wait_until(lambda: _provider(alice), LONG_S)
    hanging = _provider(alice)
    assert hanging is not None
    os.kill(hanging, signal.SIGSTOP)
    for n in range(3):
        node.drop("alice", bundle(f"p{n}.zip", f"echo {n}"))
    wait_until(lambda: _provider(alice) not in {None, hanging}, 90.0)
    assert not psutil.pid_exists(hanging)
    for n in range(3):
        node.wait_for("alice", f"p{n}.zip", "succeeded")
    assert len(alice.history()) == 3
    assert node.log.count("provider_hangs") == 1


def _provider(client: DopqClient) -> int | None:
    processes = {process["name"]: process["pid"] for process in client.system()["processes"]}
    pid: int | None = processes["provider"]
    return pid
