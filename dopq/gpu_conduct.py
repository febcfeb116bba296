"""What jobs do with the GPUs that they hold: nothing at all, or more than their share. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from dopq.gpu_use import By, Use
from dopq.job import GpuId, JobId, Lease, Reason


def idle_since(
    before: Mapping[GpuId, datetime], utilisation: Mapping[GpuId, int | None], now: datetime
) -> dict[GpuId, datetime]:
    """Since when each GPU was at 0 % at every look; those of which nothing can be read are not called idle."""
    return {gpu: before.get(gpu, now) for gpu, percent in utilisation.items() if percent == 0}


def idle(lease: Lease, since: Mapping[GpuId, datetime], began: datetime) -> datetime | None:
    """Since when a job that began then leaves all its GPUs idle; None where it does not.

    Of a GPU that is shared nobody can tell who uses it: all its jobs are idle when the GPU is, else none of them.
    """
    if not lease.gpus or not lease.gpus <= since.keys():
        return None
    return max(began, *(since[gpu] for gpu in lease.gpus))


def idle_warning(since: datetime) -> Reason:
    """What its user is told; the time is that of the node's own zone."""
    at = since.astimezone().strftime("%H:%M on %d %b")
    return Reason("gpu_idle", f"Its GPUs have done nothing since {at}, and count as used all the same.")


def overruns(leases: Mapping[JobId, Lease], uses: Iterable[Use], totals: Mapping[GpuId, int]) -> dict[JobId, Reason]:
    """The jobs that share a GPU and take more of its memory than their part of it.

    `totals`: bytes of memory of each GPU, as far as it can be read. Processes whose memory or job cannot be read count
    for nothing.
    """
    taken: dict[tuple[JobId, GpuId], int] = {}
    for use in uses:
        if use.by is By.JOB and use.job is not None and use.process.memory_bytes is not None:
            key = use.job, use.gpu
            taken[key] = taken.get(key, 0) + use.process.memory_bytes
    found: dict[JobId, Reason] = {}
    for (job, gpu), memory_bytes in sorted(taken.items()):
        lease = leases.get(job)
        if lease and lease.part < 1 and gpu in totals and memory_bytes > lease.part * totals[gpu]:
            found[job] = _overrun(gpu, lease.part * totals[gpu])
    return found


def trespasses(uses: Iterable[Use]) -> dict[JobId, Reason]:
    """The jobs that compute on GPUs that they do not hold."""
    return {
        use.job: Reason("gpu_trespass", f"It uses GPU {use.gpu}, which it does not hold.")
        for use in uses
        if use.by is By.TRESPASSER and use.job is not None
    }


def _overrun(gpu: GpuId, share_bytes: float) -> Reason:
    sentence = f"It takes more memory of GPU {gpu} than its slots are: {share_bytes / 2**30:.3g} GiB."
    return Reason("gpu_overrun", sentence)
