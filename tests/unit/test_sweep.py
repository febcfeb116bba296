"""What a node that starts anew removes of a former life, and what it leaves alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dopq.config import ContainerSettings, NodeSettings, Paths, TemplatesSettings
from dopq.container_handler.container import NODE_LABEL, container_name
from dopq.container_handler.engine import ContainerName, ContainerRequest
from dopq.container_handler.proof import MAC_LABEL, Proof, node_key
from dopq.job import JobId
from dopq.runner import Runner
from dopq.runner_settings import RunnerSettings
from dopq.utils.gpu_probe import SimulatedGpus
from tests.fakes import FakeEngine
from tests.in_memory_node import InMemoryNode
from tests.waiting import wait_until

NODE = "node1"


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def runner(tmp_path: Path, engine: FakeEngine) -> Iterator[Runner]:
    node = InMemoryNode(tmp_path)
    settings = RunnerSettings(
        NODE, Paths(tmp_path, NodeSettings()), ContainerSettings(ready_namespaces=0), TemplatesSettings()
    )
    runner = Runner(node.platform, engine, node.results, SimulatedGpus(0), settings, node.clock)
    yield runner
    runner.stop()
    node.close()


def left_behind(engine: FakeEngine, key: bytes, name: str, node: str = NODE) -> ContainerName:
    image = engine.add_image("job:1")
    mac = Proof(engine, key).mac(ContainerName(name), image)
    request = ContainerRequest(ContainerName(name), image, labels={NODE_LABEL: node, MAC_LABEL: mac})
    engine.create(request)
    return request.name


def test_containers_of_ended_jobs_go_and_those_that_only_bear_the_label_stay(
    runner: Runner, engine: FakeEngine, tmp_path: Path
) -> None:
    """Images of jobs are labelled, and pass that on to every container that somebody makes of them by hand."""
    key = node_key(Paths(tmp_path, NodeSettings()).container_key)
    by_hand = left_behind(engine, key, "by-hand")
    elsewhere = left_behind(engine, key, container_name("node2", JobId(7), 1), node="node2")
    forged = left_behind(engine, b"another key", container_name(NODE, JobId(8), 1))
    left_behind(engine, key, container_name(NODE, JobId(7), 1))
    runner.start()
    wait_until(lambda: "sweep" not in {thread.name for thread in threading.enumerate()}, 5.0)
    assert set(engine.containers({})) == {by_hand, elsewhere, forged}
