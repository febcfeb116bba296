"""Nothing lost, nothing run twice, whatever is killed whenever. Short here; scripts/sabotage.sh does all of it.

`DOPQ_SABOTAGE_KILLS`: how many random kills. `DOPQ_SABOTAGE_POINTS`: how many of the crash points, or `all`.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dopq.container_handler.docker_engine import DockerEngine
from dopq.container_handler.engine import Alive, ContainerName, ContainerRequest
from dopq.utils import crash_points
from dopq.utils.container_init import hold
from tests.acceptance.conftest import MakeBundle
from tests.node_process import MakeNode
from tests.sabotage import TELL, Sabotage, Wish, make_witness
from tests.waiting import wait_until

KILLS = int(os.environ.get("DOPQ_SABOTAGE_KILLS", "12"))
POINTS = os.environ.get("DOPQ_SABOTAGE_POINTS", "3")
USERS = 3
LONGEST_LIFE_S = 1.5
YOUNG = 0.2  # of the nodes, killed before they are up
PROVIDERS = 0.3  # of the kills
COMMITS = 13  # a job's way through the journal, from its birth to its folder's end
GPUS = 3


@pytest.fixture
def wishes(bundle: MakeBundle) -> list[Wish]:
    """Jobs that end well, ill and never, with and without GPUs."""
    return [
        Wish(bundle("quick.zip", TELL), "succeeded", 0),
        Wish(bundle("slow.zip", f"{TELL}; sleep 1; echo done"), "succeeded", 0),
        Wish(bundle("fails.zip", f"{TELL}; echo no; exit 3"), "failed", 3),
        Wish(bundle("gpu.zip", f"{TELL}; sleep 0.3", num_gpus=1), "succeeded", 0),
        Wish(bundle("gpus.zip", f"{TELL}; sleep 0.2; exit 4", num_gpus=2), "failed", 4),
        Wish(bundle("endless.zip", f"{TELL}; sleep 600"), "cancelled", None, cancelled=True),
    ]


@pytest.fixture
def sabotage(make_node: MakeNode, tmp_path: Path, wishes: list[Wish], chance: random.Random) -> Iterator[Sabotage]:
    data = make_witness(tmp_path)
    node = make_node(f"node.data={data}", f"gpu.devices=simulate:{GPUS}", "intake.settle_s=0.05")
    sabotage = Sabotage(node, data, wishes, chance)
    yield sabotage
    sabotage.close()


@pytest.mark.timeout(120 + 6 * KILLS)
def test_random_kills_under_load_cost_nothing(sabotage: Sabotage, chance: random.Random) -> None:
    sabotage.begin(USERS)
    while sabotage.kills < KILLS:
        if sabotage.node.process is None or sabotage.node.process.poll() is not None:
            sabotage.node.spawn()
            if chance.random() >= YOUNG:
                wait_until((sabotage.node.state / "node.json").exists, 60.0)
        time.sleep(chance.uniform(0, LONGEST_LIFE_S))
        if chance.random() >= PROVIDERS or not sabotage.kill_provider():
            sabotage.kill_node()
    sabotage.revive()
    sabotage.end()
    sabotage.settle()
    toll = sabotage.toll()
    _tell(f"random kills: {toll}")
    assert toll.is_nothing, f"{toll}\nThe log is {sabotage.node.folder}/node.log"


@pytest.fixture
def sees_processes(docker_engine: DockerEngine, busybox_image: str, unique: str) -> bool:
    """Whether the engine's processes can be seen from here, so that nodes come to end leases by the kernel's word."""
    name, image = ContainerName(f"{unique}-seen"), docker_engine.image(busybox_image)
    assert image is not None
    docker_engine.create(ContainerRequest(name, image, labels={}, command=("/bin/sleep", "600")))
    try:
        docker_engine.start(name)
        seen = docker_engine.observe(name)
        assert isinstance(seen, Alive)
        assert seen.init is not None
        held = hold(seen.init.pid, seen.init.container)
    finally:
        docker_engine.remove(name)
    if held is None:
        return False
    os.close(held)
    return True


def _due(chance: random.Random, *, sees_processes: bool) -> list[str]:
    """The crash points to try; that of the journal is come to many times by one job, so each of the first is one."""
    commits = [f"{when} journal commit:{nth}" for when in ("before", "after") for nth in range(2, COMMITS + 1)]
    steps = (*crash_points.NODE_STEPS, *crash_points.PROVIDER_STEPS)
    every = [point for point in crash_points.points_of(*steps) if "commit" not in point] + commits
    if not sees_processes:
        _tell("no death at `lease end`: the engine's processes cannot be seen from here")
        every = [point for point in every if "lease end" not in point]
    return every if POINTS == "all" else chance.sample(every, int(POINTS))


@pytest.mark.timeout(1800)
def test_a_death_at_a_crash_point_costs_nothing(
    sabotage: Sabotage, wishes: list[Wish], chance: random.Random, tmp_path: Path, sees_processes: bool
) -> None:
    node = sabotage.node
    quick, _, fails, gpu, _, endless = wishes
    for number, point in enumerate(_due(chance, sees_processes=sees_processes)):
        node.stop()
        mark = tmp_path / f"mark{number}"
        node.environment = {crash_points.AT: point, crash_points.MARK: str(mark)}
        node.spawn()
        for wish in (quick, endless, gpu):
            sabotage.begin_one(wish)
        sabotage.begin_one(fails, by_drop=True)
        wait_until(mark.exists, 60.0)
        sabotage.kills += 1
        if point.partition(":")[0].split(" ", 1)[1] in crash_points.NODE_STEPS:
            assert node.process is not None
            node.process.wait(30)
            (node.state / "node.json").unlink(missing_ok=True)
            node.environment = {}
            node.start()
        sabotage.end()
        sabotage.settle()
        toll = sabotage.toll()
        _tell(f"{point}: {toll}")
        assert toll.is_nothing, f"{point}: {toll}\nThe log is {node.folder}/node.log"


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")
