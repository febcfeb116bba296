"""What a node says of its machine and its queue, from what it knows of them anyway. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dopq.clean import clean
from dopq.gpu_offer import Offer
from dopq.job import GpuId, Job, Queued, gpus_held
from dopq.peers.record import MOST_GPUS, Facts, GpuSpecs, Specs
from dopq.utils.cpu import Host
from dopq.utils.gpu import Gpu, GpuSurvey
from dopq.wire import Plain

MIB = 2**20
LONGEST_TEXT = 128

MOMENTARY = (
    "memory_used_mib",
    "utilisation_percent",
    "temperature_c",
    "sm_clock_mhz",
    "memory_clock_mhz",
    "fan_percent",
)
"""What of a GPU changes all the time: others are told with the next record, and none is signed for it alone."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What does not change while a node runs."""

    hostname: str
    platform: str
    cpu_model: str | None


def specs(
    machine: Machine, host: Host, survey: GpuSurvey, offer: Offer, alive: Iterable[Job], newest_waiting: Plain | None
) -> Specs:
    """A node's specs.

    Args:
        alive: every job that has not ended.
        newest_waiting: the waiting job that was handed in last, as it is told (docs/json.md): who comes now waits as
            long, more or less.
    """
    jobs = list(alive)
    held = {gpu for job in jobs for gpu in gpus_held(job.state)}
    free = offer.models.keys() - offer.withheld.keys() - held
    waiting = sum(isinstance(job.state, Queued) for job in jobs)
    disk = host.disks[0] if host.disks else None
    return Specs(
        hostname=_text(machine.hostname),
        platform=_text(machine.platform),
        cpu_model=_text(machine.cpu_model),
        cpus=host.cpus,
        memory_mib=_mib(host.memory_total_bytes),
        disk_mib=_mib(disk.total_bytes) if disk else None,
        disk_free_mib=_mib(disk.free_bytes) if disk else None,
        driver=_text(survey.driver),
        gpus=[_gpu(gpu, free) for gpu in survey.gpus[:MOST_GPUS]],
        free_gpus=len(free),
        queue_length=waiting,
        expected_wait_s=_wait_s(newest_waiting) if waiting else 0 if free or not offer.models else None,
    )


def settled(facts: Facts) -> Facts:
    """What a node says, without what changes all the time."""
    nothing = dict.fromkeys(MOMENTARY)
    gpus = [gpu.model_copy(update=nothing) for gpu in facts.specs.gpus]
    specs = facts.specs.model_copy(update={"gpus": gpus, "disk_free_mib": None, "expected_wait_s": None})
    return facts.model_copy(update={"specs": specs})


def _gpu(gpu: Gpu, free: Iterable[GpuId]) -> GpuSpecs:
    return GpuSpecs(
        model=_text(gpu.model),
        memory_mib=_mib(gpu.memory_total_bytes),
        memory_used_mib=_mib(gpu.memory_used_bytes),
        utilisation_percent=gpu.utilisation_percent,
        temperature_c=gpu.temperature_c,
        sm_clock_mhz=gpu.sm_clock_mhz,
        memory_clock_mhz=gpu.memory_clock_mhz,
        fan_percent=gpu.fan_percent,
        free=GpuId(gpu.uuid) in set(free),
    )


def _wait_s(job: Plain | None) -> int | None:
    eta: Mapping[str, float] | None = job["eta"] if job else None
    return round(eta["p50"]) if eta else None


def _mib(size_bytes: int | None) -> int | None:
    return None if size_bytes is None else size_bytes // MIB


def _text(text: str | None) -> str | None:
    """As others will take it: what a driver or a kernel says of itself is not ours."""
    return clean(text)[:LONGEST_TEXT] if text is not None else None
