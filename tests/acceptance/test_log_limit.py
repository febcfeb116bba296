"""A job that prints without end fills neither the engine's disk nor ours nor the share, and its user sees both ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from dopq.run_log import NOTICE
from dopq_client.client import DopqClient
from tests.acceptance.conftest import MakeBundle, node_id
from tests.node_process import MakeNode, NodeProcess
from tests.waiting import wait_until

LIMIT = 1 << 20
LINES = 200_000  # 17 MiB as Docker keeps them, printed in less time than it takes to read them
TALKS = f"""
echo 0
until test -e /output/start; do sleep 0.1; done
busybox seq {LINES}
echo printed > /output/printed
until test -e /output/go; do sleep 0.1; done
echo last words
exit 3
"""


@pytest.fixture
def node(make_node: MakeNode) -> NodeProcess:
    node = make_node(f"container.log_bytes={LIMIT}")
    node.start()
    return node


@pytest.fixture
def engine(engine_url: str) -> Iterator[docker.APIClient]:
    """Docker seen past our own adapter."""
    client = docker.APIClient(base_url=engine_url)
    yield client
    client.close()


def engine_log_bytes(engine: docker.APIClient, node: NodeProcess, job: int) -> int:
    """What a job's container takes of the engine's disk for its log."""
    [found] = engine.containers(all=True, filters={"label": [f"dopq.node={node_id(node)}", f"dopq.job={job}"]})
    log = Path(engine.inspect_container(found["Id"])["LogPath"])
    return sum(file.stat().st_size for file in log.parent.glob(f"{log.name}*"))


@pytest.mark.parametrize("dead", ["when the limit is reached", "while everything is printed"])
def test_of_a_log_without_end_both_ends_are_kept_though_the_node_is_killed(
    node: NodeProcess, alice: DopqClient, bundle: MakeBundle, engine: docker.APIClient, dead: str
) -> None:
    job = alice.submit(bundle("talks.zip", TALKS))["id"]
    log = node.share / "outbox" / "alice" / f"{job}-talks" / "job.log"
    output = node.state / "jobs" / str(job) / "output"
    wait_until(lambda: log.exists() and log.read_bytes() == b"0\n", 30.0)
    if dead == "while everything is printed":
        node.kill()
    (output / "start").touch()
    wait_until((output / "printed").exists, 30.0)
    if dead == "when the limit is reached":
        wait_until(lambda: NOTICE in log.read_bytes(), 30.0)
        node.kill()
    node.start()
    assert engine_log_bytes(engine, node, job) < 2.1 * LIMIT
    assert alice.job(job)["state"] == "running"
    (output / "go").touch()
    [ended] = alice.wait([job], timeout_s=60)
    assert (ended["state"], ended["exit_code"], ended["log_full"]) == ("failed", 3, True)
    head, tail = log.read_bytes().split(NOTICE)
    everything = b"".join(b"%d\n" % n for n in range(LINES + 1)) + b"last words\n"
    assert everything.startswith(head)
    assert everything.endswith(tail)
    assert len(tail) > LIMIT / 20
    assert log.stat().st_size < 2 * LIMIT
    report = log.parent / "report.txt"
    wait_until(lambda: report.exists() and "its limit" in report.read_text(), 10.0)


def test_a_log_below_the_limit_is_whole_to_the_last_byte_though_it_is_printed_faster_than_read(
    node: NodeProcess, alice: DopqClient, bundle: MakeBundle
) -> None:
    job = alice.submit(bundle("talks.zip", "busybox seq 10000; printf end"))["id"]
    [ended] = alice.wait([job], timeout_s=60)
    assert (ended["state"], ended["log_full"]) == ("succeeded", False)
    assert b"".join(alice.logs(job)) == b"".join(b"%d\n" % n for n in range(1, 10_001)) + b"end"
