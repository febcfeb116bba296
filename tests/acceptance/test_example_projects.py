"""The example projects, from the share to their results, on a base image made of the distribution's own packages.

The first run on a machine makes that image, in about two minutes; then it is taken from .dopq/cache.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from dopq.container_handler import base_image
from dopq.container_handler.docker_engine import DockerEngine
from dopq_client import scaffold
from dopq_client.client import DopqClient
from tests.bundles import zip_of
from tests.conftest import root_with_busybox
from tests.node_process import MakeNode, NodeProcess

CHECKOUT = Path(__file__).parents[2]
EXAMPLES = CHECKOUT / "examples"

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def project_base(docker_engine: DockerEngine, unique: str) -> Iterator[str]:
    """Reference of an image with Python and Octave. Where the package mirror is away this fails, and says so."""
    reference = f"{unique}-project-base:1"
    base_image.bootstrap(docker_engine, reference, CHECKOUT / ".dopq" / "cache", print, ["octave"])
    yield reference
    docker_engine.remove_image(reference)


@pytest.fixture
def node(make_node: MakeNode, project_base: str) -> NodeProcess:
    node = make_node(*(f"templates.{name}.base={project_base}" for name in ("python", "octave")))
    node.start()
    return node


def run_example(node: NodeProcess, name: str, tmp_path: Path) -> tuple[Path, str]:
    """Drop an example as a zip; its output folder and its log."""
    node.drop("alice", Path(shutil.make_archive(str(tmp_path / name), "zip", EXAMPLES / name)))
    job = node.wait_for("alice", f"{name}.zip", "succeeded", "failed", "build_failed", "invalid", timeout_s=120)
    folder = node.outbox("alice", job)
    assert job["state"] == "succeeded", (job, folder.joinpath("build.log").read_text())
    return folder / "output", (folder / "job.log").read_text()


def test_the_octave_project_finds_the_certified_coefficients(
    node: NodeProcess, alice: DopqClient, tmp_path: Path
) -> None:
    output, log = run_example(node, "project-octave", tmp_path)
    with (EXAMPLES / "project-octave" / "input" / "certified.csv").open(newline="") as file:
        certified = [float(row["value"]) for row in csv.DictReader(file)]
    found = json.loads((output / "result.json").read_text())
    assert found["qr"]["coefficients"] == pytest.approx(certified, rel=1e-9)
    assert found["normal"]["fewest_digits"] < 9 < found["qr"]["fewest_digits"]
    assert (output / "digits.csv").read_text().startswith("coefficient,normal,qr\nintercept,")
    assert log.startswith("16 years, 7 coefficients, condition number 4.9e+09\n")
    assert "error" not in log


def test_the_python_project_finds_the_change_of_the_nile(node: NodeProcess, alice: DopqClient, tmp_path: Path) -> None:
    output, log = run_example(node, "project-python", tmp_path)
    assert json.loads((output / "result.json").read_text())["last_year_before_the_change"] == 1898
    assert (output / "nile.svg").exists()
    assert "wrote result.json" in log


@pytest.mark.parametrize("template", ["python", "octave"])
def test_a_new_bundle_runs_as_it_is(node: NodeProcess, alice: DopqClient, tmp_path: Path, template: str) -> None:
    scaffold.make(tmp_path / "new", template)
    [job] = alice.wait([alice.submit(tmp_path / "new")["id"]], timeout_s=120)
    assert job["state"] == "succeeded", job
    assert b"".join(alice.logs(job["id"])).startswith(b"The total is 6")
    alice.fetch(job["id"], tmp_path / "results")
    assert float((tmp_path / "results" / "output" / "total.txt").read_text()) == 6


# MATLAB itself cannot be had here: this program stands where the template looks for it, and tells what it is told.
MATLAB = b'#!/bin/sh\necho "$MLM_LICENSE_FILE $*"; cat /app/code/app.m\n'
LICENSE = "27000@licences.example"


@pytest.fixture
def matlab_base(docker_engine: DockerEngine, unique: str) -> Iterator[str]:
    reference = f"{unique}-matlab-base:1"
    root = root_with_busybox()
    with tarfile.open(fileobj=root, mode="a") as tar:
        program = tarfile.TarInfo("bin/matlab")
        program.mode, program.size = 0o755, len(MATLAB)
        tar.addfile(program, io.BytesIO(MATLAB))
    root.seek(0)
    docker_engine.import_image(root, reference=reference, changes=("ENV PATH=/bin",))
    yield reference
    docker_engine.remove_image(reference)


def test_matlab_is_told_its_licence_server_when_it_runs_and_its_image_is_not(
    make_node: MakeNode, matlab_base: str, engine_url: str, tmp_path: Path
) -> None:
    node = make_node(f"templates.matlab.base={matlab_base}", f"templates.matlab.license_server={LICENSE}")
    node.start()
    with node.add_user("alice") as alice:
        files = {"code/app.m": "disp(1)\n", "job.toml": 'template = "matlab"\n'}
        [job] = alice.wait([alice.submit(zip_of(tmp_path / "m.zip", files))["id"]], timeout_s=60)
        assert job["state"] == "succeeded", node.log
        assert b"".join(alice.logs(job["id"])).decode() == f"{LICENSE} -batch run('/app/code/app.m')\ndisp(1)\n"
        assert LICENSE.encode() not in b"".join(alice.logs(job["id"], build=True))
    client = docker.DockerClient(base_url=engine_url)
    try:
        image = client.images.get(job["image"])
        assert LICENSE not in json.dumps(image.attrs) + json.dumps(image.history())
    finally:
        client.close()
