"""PyTorch under the settings that every job has: loader processes, a compiled model, a checkpoint on SIGTERM.

It takes an image of 1.5 GB, with PyTorch for CPUs from Debian's packages: made in some minutes when it is asked for
(scripts/test.sh --torch), and kept in .dopq/cache.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dopq.container_handler import base_image
from dopq.container_handler.base_image import PACKAGES, Recipe
from dopq.container_handler.docker_engine import DockerEngine
from dopq.errors import OperatorError
from dopq_client.client import DopqClient
from tests.bundles import config, zip_of
from tests.node_process import MakeNode, NodeProcess
from tests.waiting import wait_until

pytestmark = [pytest.mark.torch, pytest.mark.timeout(1800)]

ASKED = "DOPQ_TEST_TORCH"
CACHE = Path(__file__).parents[2] / ".dopq" / "cache"
TORCH = ("g++", "libtorch-dev", "python3-numpy", "python3-torch")  # the compiled models want a compiler and headers
TRAINING = Path(__file__).with_name("training.py")


@pytest.fixture(scope="module")
def torch_image(docker_engine: DockerEngine, unique: str) -> Iterator[str]:
    if not os.environ.get(ASKED):
        pytest.skip(f"PyTorch's image takes minutes to make: scripts/test.sh --torch, or {ASKED}=1")
    architecture = base_image.machine_recipe().architecture
    recipe = Recipe("trixie", architecture, None, (*PACKAGES, *TORCH))  # its PyTorch is the first that compiles
    reference = f"{unique}-torch:1"
    try:
        base_image.from_recipe(docker_engine, reference, CACHE, print, recipe)
    except OperatorError as no:
        pytest.skip(f"an image with PyTorch cannot be made here: {no}")
    yield reference
    docker_engine.remove_image(reference)


@pytest.fixture
def node(make_node: MakeNode) -> NodeProcess:
    node = make_node("container.stop_grace_s=30")
    node.start()
    return node


def test_a_training_loads_compiles_and_saves_when_it_is_cancelled(
    node: NodeProcess, alice: DopqClient, torch_image: str, tmp_path: Path
) -> None:
    content = {
        "Dockerfile": f'FROM {torch_image}\nCOPY training.py /training.py\nCMD ["python3", "/training.py"]\n',
        "training.py": TRAINING.read_text(),
        "container_config.json": config(required_memory="2g"),
    }
    job = alice.submit(zip_of(tmp_path / "train.zip", content))["id"]
    log = node.share / "outbox" / "alice" / f"{job}-train" / "job.log"
    wait_until(lambda: log.exists() and b"epoch 3 " in log.read_bytes(), 300.0)
    assert "uid 65534, shm 1024 MiB" in log.read_text()
    assert "loaders 8" in log.read_text()
    alice.cancel(job)
    [ended] = alice.wait([job], timeout_s=60)
    assert (ended["state"], ended["exit_code"]) == ("cancelled", 0)
    assert log.read_text().endswith("saved\n")
    with zipfile.ZipFile(log.parent / "output" / "checkpoint.pt") as checkpoint:  # whole, as torch.save writes it
        assert checkpoint.testzip() is None
