"""From a job to its container: our template, into which the spec fills a few fields and no more."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dopq.config import ContainerSettings, TemplatesSettings
from dopq.container_handler.container import container_name, container_request, is_of_node
from dopq.container_handler.engine import ContainerRequest
from dopq.job import GpuId, ImageId, Job, JobId, JobSpec, Lease, Mount, Starting, UserName, Work

NOON = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
LEASE = Lease(1, frozenset({GpuId("GPU-a")}), NOON)
FOLDER = Path("/state/jobs/7")


def requested(
    spec: JobSpec | None = None,
    *,
    has_input: bool = False,
    data: Path | None = None,
    settings: ContainerSettings | None = None,
    machine_bytes: int = 0,
) -> ContainerRequest:
    work = Work(spec or JobSpec("iris"), ImageId("sha256:00"), NOON, has_input)
    job = Job(JobId(7), UserName("anna"), "iris.zip", "drop-1", "iris", NOON, Starting(work, LEASE))
    return container_request(
        job,
        work,
        LEASE,
        node_id="abcd",
        folder=FOLDER,
        data=data,
        settings=settings or ContainerSettings(),
        templates=TemplatesSettings(),
        machine_bytes=machine_bytes,
    )


def test_an_attempt_has_one_name_and_no_two_share_it() -> None:
    names = {container_name(node, JobId(job), attempt) for node in ("a", "b") for job in (1, 11) for attempt in (1, 2)}
    assert len(names) == 8
    assert container_name("a", JobId(1), 2) == container_name("a", JobId(1), 2)
    assert sum(is_of_node("a", name) for name in names) == 4


def test_the_container_says_whose_it_is() -> None:
    request = requested()
    assert request.name == container_name("abcd", JobId(7), 1)
    assert request.labels == {
        "dopq.node": "abcd",
        "dopq.job": "7",
        "dopq.attempt": "1",
        "dopq.namespace": "",
        "dopq.latch": "",
        "dopq.mac": "",
    }
    assert request.gpus == LEASE.gpus


def test_output_is_the_one_place_that_can_be_written() -> None:
    mounts = requested(has_input=True, data=Path("/lab/data")).mounts
    assert {mount for mount in mounts if not mount.read_only} == {
        Mount("/state/jobs/7/output", "/output", read_only=False),
        Mount("/state/jobs/7/output", "/outdir", read_only=False),
    }
    assert {mount for mount in mounts if mount.read_only} == {
        Mount("/state/jobs/7/input", "/input"),
        Mount("/lab/data", "/data"),
        Mount("/lab/data", "/imgdir"),
    }


def test_what_is_not_there_is_not_mounted() -> None:
    assert {mount.target for mount in requested().mounts} == {"/output", "/outdir"}


@pytest.mark.parametrize("field", ["memory_bytes", "shm_bytes"])
def test_the_spec_goes_before_the_nodes_default_and_none_is_no_limit(field: str) -> None:
    def limit(asked: int | None, default: int) -> Any:
        spec = replace(JobSpec("iris"), **{field: asked})  # type: ignore[arg-type]
        return getattr(requested(spec, settings=ContainerSettings(**{field: default})), field)  # type: ignore[arg-type]

    assert limit(5, 7) == 5
    assert limit(None, 7) == 7
    assert limit(None, 0) is None


def test_shared_memory_is_half_of_what_the_job_may_have() -> None:
    assert requested(JobSpec("iris", memory_bytes=64)).shm_bytes == 32
    assert requested(machine_bytes=100).shm_bytes == 50
    assert requested(JobSpec("iris", memory_bytes=64, shm_bytes=8), machine_bytes=100).shm_bytes == 8


def test_a_job_cannot_forge_who_it_is() -> None:
    spec = JobSpec("iris", environment=(("DOPQ_JOB", "1"), ("DOPQ_ATTEMPT", "9"), ("SEED", "42")))
    assert requested(spec).environment == {"DOPQ_JOB": "7", "DOPQ_ATTEMPT": "1", "SEED": "42"}


def test_what_the_spec_replaces_and_what_the_node_decides() -> None:
    spec = JobSpec(
        "iris",
        command=("train",),
        entrypoint=("/bin/sh",),
        working_dir="/w",
        stop_signal="SIGINT",
        cpus=1.5,
    )
    request = requested(spec, settings=ContainerSettings(network="none", pids_limit=99))
    assert (request.command, request.entrypoint, request.working_dir) == (("train",), ("/bin/sh",), "/w")
    assert (request.stop_signal, request.cpus) == ("SIGINT", 1.5)
    assert (request.network, request.pids_limit, request.hostname) == ("none", 99, "job")
