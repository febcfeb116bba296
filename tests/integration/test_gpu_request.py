"""What a container gets of the GPUs: exactly those that were leased to its job, or none."""

from __future__ import annotations

import io
import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from dopq.container_handler.docker_engine import DockerEngine
from dopq.container_handler.engine import ContainerName, ContainerRequest, Exited
from dopq.job import GpuId, ImageId
from tests import fake_gpus

pytestmark = pytest.mark.engine

BUSYBOX = Path("/bin/busybox")  # from the package busybox-static
LEASED = frozenset({GpuId(fake_gpus.uuid(1)), GpuId(fake_gpus.uuid(3))})


@pytest.fixture(scope="module")
def image(docker_engine: DockerEngine, unique: str) -> Iterator[ImageId]:
    """Busybox and nothing else; its own settings ask for all GPUs, as the images of CUDA do."""
    root = io.BytesIO()
    with tarfile.open(fileobj=root, mode="w") as archive:
        archive.add(BUSYBOX, "bin/busybox")
    root.seek(0)
    reference = f"{unique}-gpu-request:1"
    yield docker_engine.import_image(root, reference=reference, changes=("ENV NVIDIA_VISIBLE_DEVICES=all",))
    docker_engine.remove_image(reference)


def says(docker_engine: DockerEngine, image: ImageId, gpus: frozenset[GpuId], script: str) -> str:
    """What the shell script writes in a container that has these GPUs."""
    name = ContainerName(f"dopq-test-gpu-request-{uuid.uuid4().hex[:12]}")
    command = ("/bin/busybox", "sh", "-c", script)
    request = ContainerRequest(name, image, labels={}, gpus=gpus, command=command)
    try:
        docker_engine.create(request)
        docker_engine.start(name)
        ended = docker_engine.wait(name, timeout_s=30)
        assert isinstance(ended, Exited)
        said = b"".join(piece.data for piece in docker_engine.log(name)).decode().strip()
        assert ended.exit_code == 0, said
        return said
    finally:
        docker_engine.remove(name)


def test_a_job_sees_the_gpus_that_it_leased_and_no_other(docker_engine: DockerEngine, image: ImageId) -> None:
    said = says(docker_engine, image, LEASED, "echo $NVIDIA_VISIBLE_DEVICES")
    assert set(said.split(",")) == LEASED


def test_the_gpu_driver_is_told_to_hand_over_exactly_the_leased_gpus(
    docker_engine: DockerEngine, image: ImageId
) -> None:
    said = says(docker_engine, image, LEASED, "/bin/busybox cat /fake-gpus")
    assert set(said.split(",")) == LEASED


def test_a_job_without_gpus_sees_none_even_if_its_image_asks_for_all(
    docker_engine: DockerEngine, image: ImageId
) -> None:
    assert says(docker_engine, image, frozenset(), "echo $NVIDIA_VISIBLE_DEVICES") == "void"


def test_the_gpu_driver_stays_away_from_a_job_without_gpus(docker_engine: DockerEngine, image: ImageId) -> None:
    assert says(docker_engine, image, frozenset(), "test -e /fake-gpus || echo none") == "none"
