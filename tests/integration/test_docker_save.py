"""What a real engine saves comes in through the gate, and nothing but it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from dopq.container_handler.container_config import SpecDefaults
from dopq.container_handler.docker_engine import DockerEngine
from dopq.container_handler.engine import ContainerName, ContainerRequest
from dopq.container_handler.gate import Gate
from dopq.container_handler.rules import Rules
from tests.integration.test_engine_contract import Bench

pytestmark = pytest.mark.engine


@pytest.fixture
def bench(docker_engine: DockerEngine, busybox_image: str, unique: str) -> Iterator[Bench]:
    bench = Bench(docker_engine, busybox_image, f"{unique}-save")
    yield bench
    bench.tidy()


@pytest.fixture
def client(engine_url: str) -> Iterator[docker.APIClient]:
    client = docker.APIClient(base_url=engine_url)
    yield client
    client.close()


def test_a_saved_image_comes_back_under_no_name_but_the_jobs(
    bench: Bench, client: docker.APIClient, tmp_path: Path
) -> None:
    stolen, saved = bench.build(f"FROM {bench.base}", "RUN echo same > /a", "RUN echo x > /b", "CMD cat /a /b")
    layers = client.inspect_image(saved)["RootFS"]["Layers"]
    path = tmp_path / "image.tar"
    with path.open("wb") as file:
        for piece in client.get_image(stolen):
            file.write(piece)
    bench.engine.remove_image(stolen)
    assert bench.engine.tag(bench.image, stolen)  # now the name is somebody else's

    gate = Gate()
    prepared = gate.prepare(
        path,
        tmp_path / "work",
        bundle_name="image.tar",
        default_name="b",
        user="ada",
        rules=Rules(SpecDefaults(gpus=0, max_time_limit_s=100)),
        labels={"dopq.job": "7"},
    )
    gate.close()
    tag = bench.tag()
    with prepared.context.open("rb") as archive:
        image = bench.engine.load(archive, tag=tag)
    assert bench.engine.image(stolen) == bench.image
    found = client.inspect_image(image)
    assert found["RepoTags"] == [tag]
    assert found["Config"]["Labels"] == {"dopq.job": "7"}
    assert found["RootFS"]["Layers"] == layers
    name = ContainerName(bench.name())
    bench.engine.create(ContainerRequest(name, image, labels={}))
    bench.engine.start(name)
    assert b"".join(piece.data for piece in bench.engine.log(name)) == b"same\nx\n"
