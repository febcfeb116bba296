"""Who explains a process that computes on a GPU: a lease, or nobody. Pure.

What cannot be known is not guessed: of a GPU that a job holds, a process whose origin cannot be read is taken to be the
job's; of one that nobody holds, no lease can explain it, and it is only given time to end.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from dopq.job import GpuId, JobId, Reason
from dopq.utils.gpu import GpuProcess
from dopq.utils.processes import Origin


class By(StrEnum):
    """Who uses a GPU."""

    JOB = "job"  # one that holds it, or held it a moment ago
    TRESPASSER = "trespasser"  # a job that does not hold it
    STRANGER = "stranger"  # no job of this node
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Use:
    """One process on one GPU; `job` where it is one's, `user` whom it runs as, where that can be read."""

    gpu: GpuId
    process: GpuProcess
    by: By
    job: JobId | None = None
    user: str | None = None


Leases = Mapping[JobId, frozenset[GpuId]]


def explain(
    gpu: GpuId,
    process: GpuProcess,
    origin: Origin,
    containers: Mapping[str, JobId | None] | None,
    leases: Leases,
    outlived: Collection[JobId] = (),
) -> Use:
    """Who uses a GPU by this process.

    Args:
        containers: whose each container is, None for nobody's; None where the engine does not answer.
        leases: what every job holds, read after the look at the GPU.
        outlived: jobs whose processes have had their time to end with the lease.
    """
    if origin.containers is None or (containers is None and origin.containers):
        return Use(gpu, process, By.UNKNOWN, user=origin.user)
    job = next((job for it in origin.containers if (job := (containers or {}).get(it)) is not None), None)
    if job is None:
        return Use(gpu, process, By.STRANGER, user=origin.user)
    is_its = gpu in leases[job] if job in leases else job not in outlived
    return Use(gpu, process, By.JOB if is_its else By.TRESPASSER, job, origin.user)


def unleased_since(
    before: Mapping[JobId, float], uses: Iterable[Use], leases: Leases, now_s: float
) -> dict[JobId, float]:
    """Since when each job that holds nothing has been seen to use a GPU; monotonic seconds. `before`: the same then."""
    return {use.job: before.get(use.job, now_s) for use in uses if use.job is not None and use.job not in leases}


def past_the_queue(uses: Iterable[Use], before: Collection[Use], leases: Leases) -> dict[GpuId, Reason]:
    """The GPUs that are used by somebody whom no lease explains, and who that is.

    `before`: the uses of the look before. What nobody can tell of a GPU that is free has to be there twice: it may be
    the last of a job that has just ended.
    """
    leased = frozenset[GpuId]().union(*leases.values())
    known = {(use.gpu, use.process.pid) for use in before}
    found: dict[GpuId, list[Use]] = {}
    for use in uses:
        lingers = use.gpu not in leased and (use.gpu, use.process.pid) in known
        if use.by in {By.TRESPASSER, By.STRANGER} or (use.by is By.UNKNOWN and lingers):
            found.setdefault(use.gpu, []).append(use)
    return {gpu: _reason(gpu, its) for gpu, its in found.items()}


def _reason(gpu: GpuId, uses: list[Use]) -> Reason:
    named = ", ".join(_named(use) for use in sorted(uses, key=lambda use: use.process.pid))
    return Reason("gpu_foreign", f"GPU {gpu} is used past the queue: {named}.")


def _named(use: Use) -> str:
    whose = f"job {use.job}, which does not hold it" if use.job is not None else use.user or "somebody unknown"
    memory = use.process.memory_bytes
    return f"process {use.process.pid} of {whose}" + (f" ({memory / 2**30:.3g} GiB)" if memory is not None else "")
