"""What a running job takes at the moment: cores, memory, and what its GPUs do. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from dopq.container_handler.engine import Sample
from dopq.job import GpuId
from dopq.utils.gpu import Gpu, GpuSurvey
from dopq.wire import Plain


@dataclass(frozen=True, slots=True)
class Load:
    """What a job takes of the machine's cores and memory; None where nobody could read it.

    Attributes:
        cpu_cores: how many cores it kept busy between two samples, on average.
        memory_bytes: in use at the second, without the page cache that could go.
    """

    cpu_cores: float | None = None
    memory_bytes: int | None = None


def load_between(before: Sample, now: Sample, seconds: float) -> Load:
    """The load of a job by two samples that lie so many seconds apart, more than none."""
    cores = None
    if before.cpu_s is not None and now.cpu_s is not None:
        cores = max(0.0, now.cpu_s - before.cpu_s) / seconds  # a container that was made anew counts from zero again
    return Load(cores, now.memory_bytes)


def live_to_wire(load: Load | None, survey: GpuSurvey, held: Collection[GpuId]) -> Plain:
    """The live figures of a job that holds these GPUs (docs/json.md#live). What nobody could read is None."""
    return {
        "cpu_cores": load.cpu_cores if load else None,
        "memory_bytes": load.memory_bytes if load else None,
        "gpus": [_gpu(gpu) for gpu in survey.gpus if GpuId(gpu.uuid) in held],
    }


def _gpu(gpu: Gpu) -> Plain:
    return {
        "uuid": gpu.uuid,
        "index": gpu.index,
        "utilisation_percent": gpu.utilisation_percent,
        "memory_used_bytes": gpu.memory_used_bytes,
        "memory_total_bytes": gpu.memory_total_bytes,
    }
