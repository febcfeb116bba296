"""Nothing lost, nothing run twice, also where the next job's container stands by when the node is killed.

`DOPQ_SABOTAGE_KILLS`: of which a tenth is made here, six at least.
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
from dopq.utils import crash_points
from tests.acceptance.conftest import MakeBundle, node_id
from tests.node_process import MakeNode
from tests.sabotage import TELL, Sabotage, Wish, make_witness
from tests.waiting import wait_until

KILLS = max(6, int(os.environ.get("DOPQ_SABOTAGE_KILLS", "12")) // 10)
USERS = 2
LONGEST_LIFE_S = 3.0  # long enough for a container to be made ahead, and to be taken


@pytest.fixture
def wishes(bundle: MakeBundle) -> list[Wish]:
    """Jobs that wait for each other's GPU, long enough to be foreseen."""
    return [
        Wish(bundle("well.zip", f"{TELL}; sleep 1.5; echo done", num_gpus=1), "succeeded", 0),
        Wish(bundle("ill.zip", f"{TELL}; sleep 1; exit 3", num_gpus=1), "failed", 3),
        Wish(bundle("quick.zip", TELL, num_gpus=1), "succeeded", 0),
        Wish(bundle("endless.zip", f"{TELL}; sleep 600", num_gpus=1), "cancelled", None, cancelled=True),
    ]


@pytest.fixture(params=["true", "false"], ids=["standing by", "created"])
def sabotage(
    make_node: MakeNode, tmp_path: Path, wishes: list[Wish], chance: random.Random, request: pytest.FixtureRequest
) -> Iterator[Sabotage]:
    data = make_witness(tmp_path)
    settings = (f"queue.standby={request.param}", "gpu.devices=simulate:1", "intake.settle_s=0.05")
    node = make_node(f"node.data={data}", *settings)
    sabotage = Sabotage(node, data, wishes, chance)
    yield sabotage
    sabotage.close()


def judge(sabotage: Sabotage, what: str) -> None:
    """It has cost nothing, and no container stands by for anybody."""
    sabotage.end()
    sabotage.settle()
    toll = sabotage.toll()
    sys.stderr.write(f"{what}: {toll}\n")
    assert toll.is_nothing, f"{what}: {toll}\nThe log is {sabotage.node.folder}/node.log"
    engine, ours = DockerEngine(sabotage.node.engine_url), {"dopq.node": node_id(sabotage.node)}
    wait_until(lambda: not [name for name in engine.containers(ours) if "-ahead-" in name], 30.0)


@pytest.mark.timeout(180 + 10 * KILLS)
def test_random_kills_while_containers_stand_by_cost_nothing(sabotage: Sabotage, chance: random.Random) -> None:
    sabotage.begin(USERS)
    while sabotage.kills < KILLS:
        sabotage.revive()
        time.sleep(chance.uniform(0, LONGEST_LIFE_S))
        sabotage.kill_node()
    judge(sabotage, "random kills")


@pytest.mark.timeout(600)
def test_a_death_while_a_job_takes_its_container_costs_nothing(
    sabotage: Sabotage, wishes: list[Wish], tmp_path: Path
) -> None:
    node = sabotage.node
    well, ill, quick, _ = wishes
    stands_by = "queue.standby=true" in node.settings
    steps = crash_points.AHEAD_STEPS if stands_by else crash_points.AHEAD_STEPS[:1]
    for number, point in enumerate(crash_points.points_of(*steps)):
        node.stop()
        mark = tmp_path / f"mark{number}"
        node.environment = {crash_points.AT: point, crash_points.MARK: str(mark)}
        node.spawn()
        for wish in (well, ill, well, quick):
            sabotage.begin_one(wish)
        wait_until(mark.exists, 90.0)
        sabotage.kills += 1
        assert node.process is not None
        node.process.wait(30)
        (node.state / "node.json").unlink(missing_ok=True)
        node.environment = {}
        node.start()
        judge(sabotage, point)
