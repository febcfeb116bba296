"""What a node has been told it keeps, whatever kills it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import psutil

from dopq.container_handler.docker_engine import DockerEngine
from dopq.container_handler.engine import Exited
from dopq_client.client import DopqClient
from tests.acceptance.conftest import MakeBundle, node_id
from tests.node_process import MakeNode, NodeProcess
from tests.waiting import wait_until

COUNTS_SLOWLY = (
    "i=0; while [ $i -lt 40 ]; do i=$((i+1)); echo line $i; sleep 0.1; done; echo run >> /output/runs; exit 4"
)
ALL_LINES = "".join(f"line {n}\n" for n in range(1, 41)).encode()


def test_a_running_job_is_adopted_after_kill_9(node: NodeProcess, alice: DopqClient, bundle: MakeBundle) -> None:
    job = alice.submit(bundle("count.zip", COUNTS_SLOWLY))
    log = node.share / "outbox" / "alice" / f"{job['id']}-count" / "job.log"
    wait_until(lambda: log.exists() and b"line 5\n" in log.read_bytes(), 30.0)
    node.kill()
    assert b"line 40" not in log.read_bytes()
    node.start()
    [ended] = alice.wait([job["id"]], timeout_s=60)
    assert (ended["state"], ended["exit_code"]) == ("failed", 4)
    assert log.read_bytes() == ALL_LINES
    assert (log.parent / "output" / "runs").read_text() == "run\n"
    assert _starts(node) == 1


def test_a_job_that_ended_while_nobody_looked_is_collected(
    node: NodeProcess, alice: DopqClient, bundle: MakeBundle, docker_engine: DockerEngine
) -> None:
    job = alice.submit(bundle("short.zip", "echo begun; sleep 1; echo over; exit 5"))
    log = node.share / "outbox" / "alice" / f"{job['id']}-short" / "job.log"
    wait_until(lambda: log.exists() and log.read_bytes() == b"begun\n", 30.0)
    node.kill()
    [container] = docker_engine.containers({"dopq.node": node_id(node), "dopq.job": str(job["id"])})
    wait_until(lambda: isinstance(docker_engine.observe(container), Exited), 10.0)
    node.start()
    [ended] = alice.wait([job["id"]], timeout_s=30)
    assert (ended["state"], ended["exit_code"]) == ("failed", 5)
    assert log.read_bytes() == b"begun\nover\n"


def test_sigterm_leaves_jobs_running_and_they_are_found_again(
    node: NodeProcess, alice: DopqClient, bundle: MakeBundle
) -> None:
    job = alice.submit(bundle("count.zip", COUNTS_SLOWLY))
    wait_until(lambda: alice.job(job["id"])["state"] == "running", 30.0)
    assert node.stop() == 0
    node.start()
    [ended] = alice.wait([job["id"]], timeout_s=60)
    assert (ended["state"], ended["exit_code"]) == ("failed", 4)
    assert b"".join(alice.logs(job["id"])) == ALL_LINES


def test_a_queue_survives_kill_9(node: NodeProcess, alice: DopqClient, bundle: MakeBundle) -> None:
    with node.add_user("boss", role="admin") as admin:
        admin.lock("so that they stay queued", minutes=5)
        jobs = [alice.submit(bundle(f"q{n}.zip", f"echo {n}")) for n in range(5)]
        wait_until(lambda: all(alice.job(job["id"])["state"] == "queued" for job in jobs), 60.0)
        node.kill()
        node.start()
        assert [alice.job(job["id"])["state"] for job in jobs] == ["queued"] * 5
        admin.unlock()
    ended = alice.wait([job["id"] for job in jobs], timeout_s=60)
    assert [job["state"] for job in ended] == ["succeeded"] * 5
    assert _starts(node) == 5


def test_a_killed_provider_is_replaced_and_takes_every_bundle_once(
    node: NodeProcess, alice: DopqClient, bundle: MakeBundle
) -> None:
    for n in range(6):
        node.drop("alice", bundle(f"p{n}.zip", f"echo {n}"))
        provider = _provider(node)
        os.kill(provider, signal.SIGKILL)
        wait_until(lambda dead=provider: _provider(node) not in {0, dead}, 30.0)
    for n in range(6):
        node.wait_for("alice", f"p{n}.zip", "succeeded")
    assert len(alice.history()) == 6


def test_the_providers_process_ends_with_its_node(node: NodeProcess, alice: DopqClient) -> None:
    wait_until(lambda: _provider(node) != 0, 10.0)
    provider = psutil.Process(_provider(node))
    node.kill()
    wait_until(lambda: not provider.is_running() or provider.status() == psutil.STATUS_ZOMBIE, 10.0)


def test_a_second_node_on_the_same_state_refuses_and_names_the_first(node: NodeProcess) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "dopq", "serve", "--config", str(node.config)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == 1
    assert node.process is not None
    assert str(node.process.pid) in second.stderr
    assert node.process.poll() is None


def test_gpus_are_given_by_uuid_and_one_at_a_time(make_node: MakeNode, bundle: MakeBundle) -> None:
    node = make_node("gpu.devices=simulate:2")
    node.start()
    with node.add_user("alice") as alice:
        jobs = [
            alice.submit(bundle(f"g{n}.zip", "echo $NVIDIA_VISIBLE_DEVICES; sleep 0.3", num_gpus=1)) for n in range(4)
        ]
        ended = alice.wait([job["id"] for job in jobs], timeout_s=60)
        assert [job["state"] for job in ended] == ["succeeded"] * 4, node.log
        logs = [b"".join(alice.logs(job["id"])).decode().strip() for job in jobs]
        uuids = {gpu["uuid"] for gpu in alice.system()["gpus"]}
        assert set(logs) <= uuids
        too_many = alice.submit(bundle("many.zip", "true", num_gpus=3))
        wait_until(lambda: alice.job(too_many["id"])["position"] == 1, 30.0)
        assert alice.job(too_many["id"])["reason"]["code"] == "never_fits"
        statistics = {user["user"]: user for user in alice.users()}
        assert statistics["alice"]["usage_gpu_seconds"] > 0.5


def _starts(node: NodeProcess) -> int:
    return node.log.count("arrow=queued->starting")


def _provider(node: NodeProcess) -> int:
    assert node.process is not None
    children = psutil.Process(node.process.pid).children()
    return next((child.pid for child in children if "spawn_main" in " ".join(_command(child))), 0)


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def test_results_wait_for_a_share_that_is_away(node: NodeProcess, alice: DopqClient, bundle: MakeBundle) -> None:
    running = alice.submit(bundle("runs.zip", "sleep 1; echo 1 > /output/result"))
    wait_until(lambda: alice.job(running["id"])["state"] == "running", 30.0)
    away = node.share.rename(node.share.with_name("away"))
    node.share.mkdir()  # a mount point without its file system
    sent = alice.submit(bundle("sent.zip", "echo 2 > /output/result"))
    wait_until(lambda: any(str(node.share) in warning for warning in alice.system()["warnings"]), 30.0)
    wait_until(lambda: alice.job(sent["id"])["state"] not in {"building", "queued"}, 30.0)
    assert list(node.share.iterdir()) == []
    node.share.rmdir()
    away.rename(node.share)
    for job in alice.wait([running["id"], sent["id"]], timeout_s=60):
        assert job["state"] == "succeeded", node.log
        assert (node.outbox("alice", job) / "output" / "result").exists()


def test_cancelling_before_the_build_is_no_defect(node: NodeProcess, alice: DopqClient, bundle: MakeBundle) -> None:
    file = bundle("regretted.zip", "echo never")
    for _ in range(6):
        job = alice.submit(file)
        assert alice.cancel(job["id"])["state"] == "cancelled"
    [last] = alice.wait([alice.submit(file)["id"]], timeout_s=60)
    assert last["state"] == "succeeded"
    wait_until(lambda: not list((node.state / "jobs").iterdir()), 10.0)
    assert " ERROR " not in node.log


def test_who_waits_and_who_follows_a_log_goes_on_across_a_restart(
    node: NodeProcess, alice: DopqClient, bundle: MakeBundle
) -> None:
    job = alice.submit(bundle("count.zip", COUNTS_SLOWLY))
    followed, ended = bytearray(), list[str]()
    follower = threading.Thread(target=lambda: [followed.extend(piece) for piece in alice.logs(job["id"], follow=True)])
    waiter = threading.Thread(target=lambda: ended.extend(j["state"] for j in alice.wait([job["id"]], timeout_s=60)))
    for thread in (follower, waiter):
        thread.start()
    wait_until(lambda: b"line 3\n" in followed, 30.0)
    node.stop()
    node.start()
    for thread in (follower, waiter):
        thread.join(60)
    assert bytes(followed) == ALL_LINES
    assert ended == ["failed"]
