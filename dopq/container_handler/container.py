"""From a job to the arguments of its container: our own template, into which the checked spec fills fields. Pure."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from dopq.config import ContainerSettings, TemplatesSettings
from dopq.container_handler.engine import ContainerName, ContainerRequest
from dopq.container_handler.proof import AHEAD_MAC_LABEL, MAC_LABEL
from dopq.container_handler.template import job_environment
from dopq.job import Job, JobId, Lease, Mount, Work

NODE_LABEL = "dopq.node"
JOB_LABEL = "dopq.job"
ATTEMPT_LABEL = "dopq.attempt"
NAMESPACE_LABEL = "dopq.namespace"
"""Whose network namespace it joined, or nothing. Always said, since the image may have such a label, too."""

LATCH_LABEL = "dopq.latch"
"""The folder of its latch, below the job's, or nothing; always said, too."""

HOSTNAME = "job"
"""Of all jobs: a namespace and its host name stand ready before it is known who gets them."""

AUTOMATIC_USER = "auto"
_BRIDGE = "bridge"

JOBS_NETWORK = "dopq-jobs"
"""What the setting `bridge` means: on the engine's own bridge of that name all containers reach each other."""

_NOBODY = "65534:65534"
_HOME = "/tmp"  # noqa: S108 - in the container: the one folder that images let everybody write to

_CACHES = {
    "USER": "job",  # getpass.getuser(), which names caches, fails for a uid without an entry in passwd
    "LOGNAME": "job",
    "MPLCONFIGDIR": f"{_HOME}/.cache/matplotlib",
    "NUMBA_CACHE_DIR": f"{_HOME}/.cache/numba",  # by default beside the source, which nobody may write
    "TRITON_CACHE_DIR": f"{_HOME}/.cache/triton",
    "TORCHINDUCTOR_CACHE_DIR": f"{_HOME}/.cache/torchinductor",
    "CUDA_CACHE_PATH": f"{_HOME}/.cache/cuda",
}
"""Where frameworks may write what they compile. Not where they keep models, which an image may have brought."""


def container_name(node_id: str, job: JobId, attempt: int) -> ContainerName:
    """The one name that this attempt can have, so that whoever asks twice finds what the first call made."""
    return ContainerName(f"dopq-{node_id}-{job}-{attempt}")


def is_of_node(node_id: str, name: ContainerName) -> bool:
    """Whether a container bears a name that this node gives; labels alone do not tell, since images bring them too."""
    return re.fullmatch(rf"dopq-{re.escape(node_id)}-[0-9]+-[0-9]+", name) is not None


def run_of(node_id: str, name: ContainerName) -> tuple[JobId, int] | None:
    """The job and the attempt whose container bears this name; None where it is none of this node's."""
    if not is_of_node(node_id, name):
        return None
    _, job, attempt = name.rsplit("-", 2)
    return JobId(int(job)), int(attempt)


def ahead_name(node_id: str, life: str, number: int) -> ContainerName:
    """The name of a container that is made before its job has a lease: unlike that of any attempt, and given once.

    Args:
        life: names the life of the node that makes it.
    """
    return ContainerName(f"dopq-{node_id}-ahead-{life}-{number}")


def is_ahead_name(node_id: str, name: ContainerName, *, but_of: str) -> bool:
    """Whether it is such a name that this node has given, in another life than that."""
    return re.fullmatch(rf"dopq-{re.escape(node_id)}-ahead-(?!{but_of}-)[0-9a-f]+-[0-9]+", name) is not None


def made_ahead(
    request: ContainerRequest, name: ContainerName, *, namespace: ContainerName | None, latch: Path | None, mac: str
) -> ContainerRequest:
    """The request of the same container before its job has a lease: it gets the name of its attempt only then.

    Args:
        namespace: as in `container_request`.
        latch: the folder of the latch that is to hold its command back; None where it will only be created.
        mac: see `Proof`, for this name.
    """
    own = {NAMESPACE_LABEL: namespace or "", LATCH_LABEL: latch.name if latch else "", AHEAD_MAC_LABEL: mac}
    return replace(request, name=name, namespace=namespace, latch=latch, labels={**request.labels, **own})


def job_network(setting: str) -> str:
    """The engine's network for the setting `[container] network`."""
    return JOBS_NETWORK if setting == _BRIDGE else setting


def job_user(setting: str, *, service: tuple[int, int]) -> str | None:
    """Whom the processes of jobs run as, `uid:gid`; None: as the image says.

    Args:
        setting: `[container] user`.
        service: uid and gid of this service. One that is not root could neither move nor remove what another user has
            written, so by default its jobs run as itself.
    """
    if setting == AUTOMATIC_USER:
        return _NOBODY if service[0] == 0 else f"{service[0]}:{service[1]}"
    return setting or None


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
    user: str | None = None,
    namespace: ContainerName | None = None,
    mac: str = "",
    machine_bytes: int = 0,
) -> ContainerRequest:
    """All that the container of a job is created from.

    Args:
        folder: the job's private working folder; `output` and `input` below it become /output and /input.
        data: the lab's data, seen read-only as /data and, for bundles of DoPQ 1.0, as /imgdir.
        mac: see `Proof`.
        machine_bytes: memory of the machine; 0 where it is not known. /dev/shm takes half of what the job may have, as
            Linux gives half of the machine: what is in it counts against the job's limit anyway.
        namespace: a container of ours whose network namespace it joins; None: it gets its own.
        user: see `job_user`. The image's home folder is not theirs, so they get another.
    """
    spec = work.spec
    home = {"HOME": _HOME, **_CACHES} if user else {}
    memory_bytes = spec.memory_bytes or settings.memory_bytes or None
    identity = {"DOPQ_JOB": str(job.id), "DOPQ_ATTEMPT": str(lease.attempt)}
    labels = {NODE_LABEL: node_id, JOB_LABEL: str(job.id), ATTEMPT_LABEL: str(lease.attempt)}
    return ContainerRequest(
        name=container_name(node_id, job.id, lease.attempt),
        image=work.image,
        labels={**labels, NAMESPACE_LABEL: namespace or "", LATCH_LABEL: "", MAC_LABEL: mac},
        mounts=_mounts(folder, data, has_input=work.has_input),
        gpus=lease.gpus,
        command=spec.command,
        entrypoint=spec.entrypoint,
        environment={**home, **job_environment(templates, spec.template), **dict(spec.environment), **identity},
        working_dir=spec.working_dir,
        user=user,
        stop_signal=spec.stop_signal,
        hostname=HOSTNAME,
        network=job_network(settings.network),
        namespace=namespace,
        memory_bytes=memory_bytes,
        shm_bytes=spec.shm_bytes or settings.shm_bytes or (memory_bytes or machine_bytes) // 2 or None,
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
