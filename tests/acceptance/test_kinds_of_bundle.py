"""Every kind of bundle that the share takes, from the drop to the result."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import docker
import pytest

from dopq.container_handler.docker_engine import DockerEngine
from dopq_client.client import DopqClient
from tests.acceptance.conftest import MakeBundle
from tests.bundles import config, zip_of
from tests.node_process import NodeProcess
from tests.waiting import wait_until


@pytest.fixture
def project(bundle: MakeBundle, tmp_path: Path) -> Path:
    """A folder with a script that has to be executable."""
    folder = tmp_path / "project"
    with zipfile.ZipFile(bundle("b.zip", "cat /input/n.txt", {"input/n.txt": b"seven\n"}, name="kinds")) as archive:
        archive.extractall(folder)
    (folder / "run.sh").chmod(0o755)
    return folder


def log_of(node: NodeProcess, bundle: str) -> str:
    job = node.wait_for("alice", bundle, "succeeded")
    return (node.outbox("alice", job) / "job.log").read_text()


@pytest.mark.parametrize(("name", "option"), [("a.tar", "-cf"), ("a.tar.gz", "-czf"), ("a.tgz", "-czf")])
def test_a_tar_runs(
    node: NodeProcess, alice: DopqClient, project: Path, tmp_path: Path, name: str, option: str
) -> None:
    subprocess.run(["tar", option, tmp_path / name, "project"], cwd=tmp_path, check=True)
    node.drop("alice", tmp_path / name)
    assert log_of(node, name) == "seven\n"
    assert list((node.share / "inbox" / "alice").iterdir()) == []


def test_a_folder_that_is_still_being_copied_is_waited_for_and_then_runs(
    node: NodeProcess, alice: DopqClient, project: Path
) -> None:
    target = node.share / "inbox" / "alice" / "my project"
    target.mkdir()
    for path in sorted(project.rglob("*")):
        copy = target / path.relative_to(project)
        copy.mkdir() if path.is_dir() else shutil.copy(path, copy)
    assert log_of(node, "my project.tar") == "seven\n"
    assert list((node.share / "inbox" / "alice").iterdir()) == []


def test_a_refused_folder_is_kept_as_a_tar_beside_its_reason(
    node: NodeProcess, alice: DopqClient, project: Path
) -> None:
    (project / "link").symlink_to("/etc/passwd")
    project.rename(node.share / "inbox" / "alice" / "linked")
    job = node.wait_for("alice", "linked.tar", "invalid")
    assert job["problems"][0]["what"] == "it is a link"
    kept = node.share / "invalid" / "alice"
    wait_until((kept / "linked.tar.reason.json").exists, 5.0)
    with tarfile.open(kept / "linked.tar") as tar:
        assert tar.getmember("link").linkname == "/etc/passwd"
        assert tar.getmember("run.sh").mode & 0o111
    assert list((node.share / "inbox" / "alice").iterdir()) == []


@pytest.fixture
def saved(engine_url: str, docker_engine: DockerEngine, busybox_image: str, unique: str, tmp_path: Path) -> Path:
    """What `docker save` writes of an image that says hello, under a name that somebody else's image bears."""
    name, path = f"{unique}-saved:1", tmp_path / "saved.tar"
    client = docker.APIClient(base_url=engine_url)
    container = client.create_container(busybox_image, ["true"])["Id"]
    client.commit(container, *name.split(":"), conf={"Cmd": ["echo", "loaded"], "Env": ["PATH=/bin"]})
    client.remove_container(container)
    with path.open("wb") as file:
        for piece in client.get_image(name):
            file.write(piece)
    docker_engine.remove_image(name)
    client.close()
    return path


def test_a_saved_image_runs_whether_dropped_as_it_is_or_in_a_bundle(
    node: NodeProcess, alice: DopqClient, docker_engine: DockerEngine, saved: Path, unique: str, tmp_path: Path
) -> None:
    node.drop("alice", saved)
    assert log_of(node, "saved.tar") == "loaded\n"
    files = {"mine.tar": saved.read_bytes(), "container_config.json": config(build_flag=False, name="brought")}
    node.drop("alice", zip_of(tmp_path / "brought.zip", files))
    assert log_of(node, "brought.zip") == "loaded\n"
    assert docker_engine.image(f"{unique}-saved:1") is None, "the archive's own name is given to nothing"


def test_nothing_in_the_work_folders_belongs_to_the_gate_but_the_input(
    node: NodeProcess, alice: DopqClient, project: Path
) -> None:
    (project / "run.sh").write_text("#!/bin/sh\nsleep 60\n")
    project.rename(node.share / "inbox" / "alice" / "p")
    job = node.wait_for("alice", "p.tar", "running")
    work = node.state / "jobs" / str(job["id"])
    assert {path.name for path in work.iterdir() if path.stat().st_uid != os.geteuid()} <= {"input"}
    assert not (work / "room").exists()
    alice.cancel(job["id"])
    node.wait_for("alice", "p.tar", "cancelled")
