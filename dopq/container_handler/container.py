"""From a job to the arguments of its container: our own template, into which the checked spec fills fields. Pure."""

from __future__ import annotations

from pathlib import Path

from dopq.config import ContainerSettings, TemplatesSettings
from dopq.container_handler.engine import ContainerName, ContainerRequest
from dopq.container_handler.template import job_environment
from dopq.job import Job, JobId, Lease, Mount, Work

NODE_LABEL = "dopq.node"
JOB_LABEL = "dopq.job"
ATTEMPT_LABEL = "dopq.attempt"


def container_name(node_id: str, job: JobId, attempt: int) -> ContainerName:
    """The one name that this attempt can have, so that whoever asks twice finds what the first call made."""
    return ContainerName(f"dopq-{node_id}-{job}-{attempt}")


def container_request(
    job: Job,
    work: Work,
    lease: Lease,
    *,
    node_id: str,
    folder: Path,
    data: Path | None,
    settings: ContainerSettings,
    templates: TemplatesSettings,
) -> ContainerRequest:
    """All that the container of a job is created from.

    Args:
        folder: the job's private working folder; `output` and `input` below it become /output and /input.
        data: the lab's data, seen read-only as /data and, for bundles of DoPQ 1.0, as /imgdir.
    """
    spec = work.spec
    identity = {"DOPQ_JOB": str(job.id), "DOPQ_ATTEMPT": str(lease.attempt)}
    return ContainerRequest(
        name=container_name(node_id, job.id, lease.attempt),
        image=work.image,
        labels={NODE_LABEL: node_id, JOB_LABEL: str(job.id), ATTEMPT_LABEL: str(lease.attempt)},
        mounts=_mounts(folder, data, has_input=work.has_input),
        gpus=lease.gpus,
        command=spec.command,
        entrypoint=spec.entrypoint,
        environment={**job_environment(templates, spec.template), **dict(spec.environment), **identity},
        working_dir=spec.working_dir,
        stop_signal=spec.stop_signal,
        hostname=f"job-{job.id}",
        network=settings.network,
        memory_bytes=spec.memory_bytes or settings.memory_bytes or None,
        shm_bytes=spec.shm_bytes or settings.shm_bytes or None,
        cpus=spec.cpus,
        pids_limit=settings.pids_limit,
    )


def _mounts(folder: Path, data: Path | None, *, has_input: bool) -> tuple[Mount, ...]:
    output = str(folder / "output")
    mounts = [Mount(output, "/output", read_only=False), Mount(output, "/outdir", read_only=False)]
    if has_input:
        mounts.append(Mount(str(folder / "input"), "/input"))
    if data:
        mounts += [Mount(str(data), "/data"), Mount(str(data), "/imgdir")]
    return tuple(mounts)
