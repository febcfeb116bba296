"""What a job's container may do, as Docker itself tells it: our settings, whatever the image and the spec say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import docker
import pytest

from dopq.config import ContainerSettings, TemplatesSettings
from dopq.container_handler.container import (
    ATTEMPT_LABEL,
    JOB_LABEL,
    NAMESPACE_LABEL,
    NODE_LABEL,
    container_request,
    job_network,
    job_user,
)
from dopq.container_handler.docker_engine import DockerEngine
from dopq.container_handler.engine import ContainerName
from dopq.container_handler.proof import MAC_LABEL, Proof, node_key
from dopq.job import ImageId, Job, JobId, JobSpec, Lease, Starting, UserName, Work
from tests.integration.test_engine_contract import LONG_S, Bench

pytestmark = pytest.mark.engine

NOON = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
NODE_ID = "cafe0007"
SETTINGS = ContainerSettings()
TELLS = "/bin/cat /proc/self/status; echo; /bin/env; echo $(busybox hostname) is its host; busybox df -k /dev/shm"

ALL_LABELS = {NODE_LABEL, JOB_LABEL, ATTEMPT_LABEL, NAMESPACE_LABEL, MAC_LABEL}

# All that an image may say of how it is run, at its worst.
HOSTILE = (
    "USER root",
    "LABEL dopq.job=99 dopq.node=other dopq.mac=forged dopq.namespace=theirs",
    "HEALTHCHECK --interval=1s CMD true",
    "STOPSIGNAL SIGKILL",
    "EXPOSE 22",
    "ENV NVIDIA_VISIBLE_DEVICES=all CUDA_VISIBLE_DEVICES=0 LD_PRELOAD=/evil.so HOME=/root",
)


@pytest.fixture
def bench(docker_engine: DockerEngine, busybox_image: str, unique: str) -> Iterator[Bench]:
    bench = Bench(docker_engine, busybox_image, f"{unique}-hard")
    yield bench
    bench.tidy()


@pytest.fixture
def client(engine_url: str) -> Iterator[docker.APIClient]:
    """Docker seen past our own adapter."""
    client = docker.APIClient(base_url=engine_url)
    yield client
    client.close()


class Made:
    """A job's container with the settings that a node has by default, and what it said of itself."""

    def __init__(self, bench: Bench, client: docker.APIClient, folder: Path) -> None:
        _, self.image = bench.build(f"FROM {bench.base}", *HOSTILE)
        spec = JobSpec("iris", memory_bytes=256 << 20, cpus=1.5, command=("/bin/sh", "-c", TELLS))
        (folder / "output").mkdir()
        work, lease = Work(spec, self.image, NOON), Lease(2, frozenset(), NOON)
        job = Job(JobId(7), UserName("anna"), "iris.zip", "drop-1", "iris", NOON, Starting(work, lease))
        self.name = ContainerName(f"dopq-{NODE_ID}-7-2")
        self.proof = Proof(bench.engine, node_key(folder / "key"))
        bench.names.append(self.name)
        bench.engine.provide_network(job_network(SETTINGS.network))
        bench.engine.create(
            container_request(
                job,
                work,
                lease,
                node_id=NODE_ID,
                folder=folder,
                data=None,
                settings=SETTINGS,
                templates=TemplatesSettings(),
                user=job_user(SETTINGS.user, service=(0, 0)),
                mac=self.proof.mac(self.name, ImageId(self.image)),
            )
        )
        bench.engine.start(self.name)
        bench.engine.wait(self.name, LONG_S)
        self.said = b"".join(piece.data for piece in bench.engine.log(self.name)).decode()
        self.inspected: dict[str, Any] = client.inspect_container(self.name)

    def has(self, part: str, **expected: object) -> None:
        found = self.inspected[part]
        assert {key: found.get(key) for key in expected} == expected


@pytest.fixture
def made(bench: Bench, client: docker.APIClient, tmp_path: Path) -> Made:
    return Made(bench, client, tmp_path)


def test_a_jobs_container_is_confined_and_limited(made: Made) -> None:
    made.has(
        "HostConfig",
        CapAdd=None,
        CapDrop=["ALL"],
        SecurityOpt=["no-new-privileges"],
        Privileged=False,
        Memory=256 << 20,
        MemorySwap=256 << 20,
        ShmSize=128 << 20,
        NanoCpus=1_500_000_000,
        CpuShares=1536,
        PidsLimit=SETTINGS.pids_limit,
        Init=True,
        RestartPolicy={"Name": "no", "MaximumRetryCount": 0},
        AutoRemove=False,
        OomKillDisable=False,
        Runtime="runc",
    )
    kept = str(SETTINGS.log_bytes)
    options = {"max-size": kept, "max-file": "2", "compress": "false", "mode": "blocking"}
    made.has("HostConfig", LogConfig={"Type": "json-file", "Config": options})


def test_a_jobs_container_shares_nothing_with_the_host_but_its_own_folder(made: Made, tmp_path: Path) -> None:
    made.has(
        "HostConfig",
        NetworkMode="dopq-jobs",
        IpcMode="private",
        CgroupnsMode="private",
        PidMode="",
        UTSMode="",
        PortBindings=None,
        PublishAllPorts=False,
        Binds=None,
        VolumesFrom=None,
        Devices=None,
        DeviceRequests=[],
    )
    mounts = {(mount["Source"], mount["Destination"], mount["RW"]) for mount in made.inspected["Mounts"]}
    output = str(tmp_path / "output")
    assert mounts == {(output, "/output", True), (output, "/outdir", True)}
    assert made.inspected["NetworkSettings"]["Ports"] in ({}, {"22/tcp": None})


def test_what_an_image_says_of_how_it_is_run_counts_for_nothing(made: Made) -> None:
    made.has("Config", User="65534:65534", Hostname="job", StopSignal="SIGTERM", StopTimeout=SETTINGS.stop_grace_s)
    assert made.inspected["Config"]["Healthcheck"]["Test"] == ["NONE"]
    labels = {key: value for key, value in made.inspected["Config"]["Labels"].items() if key in ALL_LABELS}
    expected = {NODE_LABEL: NODE_ID, JOB_LABEL: "7", ATTEMPT_LABEL: "2", NAMESPACE_LABEL: ""}
    assert labels == {**expected, MAC_LABEL: made.proof.mac(made.name, ImageId(made.image))}
    assert made.proof.is_ours(made.name)


def test_inside_a_job_is_nobody_with_nothing_and_has_a_home_that_it_can_write(made: Made) -> None:
    lines = made.said.splitlines()
    assert "Uid:\t65534\t65534\t65534\t65534" in lines
    assert "NoNewPrivs:\t1" in lines
    assert "Seccomp:\t2" in lines
    assert [line for line in lines if line.startswith("CapBnd")] == ["CapBnd:\t0000000000000000"]
    assert "job is its host" in lines
    said = dict(line.split("=", 1) for line in lines if "=" in line)
    assert "CUDA_VISIBLE_DEVICES" not in said
    assert "LD_PRELOAD" not in said
    assert (said["NVIDIA_VISIBLE_DEVICES"], said["CUDA_DEVICE_ORDER"]) == ("void", "PCI_BUS_ID")
    assert said["HOME"] == "/tmp"
    caches = {key: value for key, value in said.items() if key.endswith(("_CACHE_DIR", "_CACHE_PATH", "CONFIGDIR"))}
    assert len(caches) >= 5
    assert all(value.startswith("/tmp/") for value in caches.values()), json.dumps(caches)
    assert any(line.split()[1:2] == ["131072"] for line in lines if "/dev/shm" in line)
