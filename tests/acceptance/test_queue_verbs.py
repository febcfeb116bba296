"""Jobs that are held, released, run again, run after others, tried again and stopped at their limit: a whole node."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dopq.container_handler.docker_engine import DockerEngine
from dopq_client.client import DopqClient
from tests.acceptance.conftest import node_id
from tests.bundles import zip_of
from tests.node_process import NodeProcess
from tests.waiting import wait_until

Bundle = Callable[..., Path]
RERUN_S = 1.0
"""A job that is run again is queued within so long, the call included."""


@pytest.fixture
def toml_bundle(tmp_path: Path, busybox_image: str) -> Bundle:
    """Makes bundles that run a shell script, with settings in TOML."""

    def make(name: str, script: str, *settings: str) -> Path:
        dockerfile = f'FROM {busybox_image}\nCOPY run.sh /run.sh\nCMD ["/run.sh"]\n'
        lines = [f'name = "{name}"', *settings]
        content = {"Dockerfile": dockerfile, "run.sh": f"#!/bin/sh\n{script}\n", "job.toml": "\n".join(lines)}
        return zip_of(tmp_path / f"{name}.zip", content, executable=("run.sh",))

    return make


def test_a_job_that_is_held_while_it_is_built_runs_when_it_is_released(alice: DopqClient, toml_bundle: Bundle) -> None:
    job = alice.submit(toml_bundle("held", "echo ran"))["id"]
    assert alice.hold(job)["state"] == "held"
    wait_until(lambda: alice.job(job)["image"] is not None, 30.0)
    assert alice.job(job)["state"] == "held"
    assert alice.release(job)["state"] in {"queued", "starting", "running", "succeeded"}
    [ended] = alice.wait([job], timeout_s=30)
    assert ended["state"] == "succeeded"


def test_an_ended_job_runs_again_without_a_build(node: NodeProcess, alice: DopqClient, toml_bundle: Bundle) -> None:
    first = alice.submit(toml_bundle("again", "echo I am $DOPQ_JOB"))["id"]
    alice.wait([first], timeout_s=30)
    began = time.monotonic()
    again = alice.rerun(first)
    assert time.monotonic() - began < RERUN_S
    assert (again["state"], again["name"]) == ("queued", "again")
    [ended] = alice.wait([again["id"]], timeout_s=30)
    assert ended["state"] == "succeeded"
    assert b"".join(alice.logs(again["id"])) == f"I am {again['id']}\n".encode()
    wait_until((node.outbox("alice", dict(ended)) / "report.txt").exists, 5.0)


def test_a_job_runs_after_another_or_not_at_all(alice: DopqClient, toml_bundle: Bundle) -> None:
    first = alice.submit(toml_bundle("prepare", "exit 3"))["id"]
    strict = alice.submit(toml_bundle("strict", "true", f"after = {first}"))["id"]
    tolerant = alice.submit(toml_bundle("tolerant", "true", f'after = ["{first}:any"]'))["id"]
    states = [job["state"] for job in alice.wait([first, strict, tolerant], timeout_s=60)]
    assert states == ["failed", "cancelled", "succeeded"]
    assert f"job {first} (prepare)" in (alice.job(strict)["reason"] or {"sentence": ""})["sentence"]


def test_a_job_whose_container_was_removed_while_the_node_was_down_is_tried_again(
    node: NodeProcess, alice: DopqClient, docker_engine: DockerEngine, toml_bundle: Bundle
) -> None:
    script = 'echo attempt $DOPQ_ATTEMPT; [ "$DOPQ_ATTEMPT" = 2 ] && exit 0; while true; do sleep 0.1; done'
    job = alice.submit(toml_bundle("unlucky", script, "retries = 1"))["id"]
    wait_until(lambda: b"attempt 1" in b"".join(alice.logs(job)), 30.0)
    [container] = docker_engine.containers({"dopq.node": node_id(node), "dopq.attempt": "1"})
    node.kill()
    docker_engine.remove(container)
    node.start()
    wait_until(lambda: (alice.job(job)["reason"] or {"code": ""})["code"] == "waits_to_retry", 10.0)
    node.kill()
    node.start()
    [ended] = alice.wait([job], timeout_s=60)
    assert (ended["state"], ended["exit_code"]) == ("succeeded", 0)
    assert b"".join(alice.logs(job)) == b"attempt 1\n--- attempt 2 ---\nattempt 2\n"


def test_a_job_at_its_limit_that_ignores_sigterm_is_killed_after_the_grace(
    alice: DopqClient, toml_bundle: Bundle
) -> None:
    script = "trap 'echo no' TERM; echo up; while true; do sleep 0.1; done"
    job = alice.submit(toml_bundle("stubborn", script, 'time_limit = "1s"'))["id"]
    [ended] = alice.wait([job], timeout_s=60)
    assert (ended["state"], ended["reason"]["code"] if ended["reason"] else "") == ("timed_out", "time_limit")
    assert b"".join(alice.logs(job)) == b"up\nno\n"
