"""What was seen of a job's GPUs, from one look to the next. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from dopq.job import GpuId, Lease, ResourceUse
from dopq.utils.gpu import Gpu

_SHARED = "it shared its GPU with others, and the driver does not tell whose use is whose"
_SILENT = "its GPU did not answer"


@dataclass(frozen=True, slots=True)
class GpuSamples:
    """What the looks at the GPUs of one job have in sum.

    Attributes:
        looks: at a GPU of which the utilisation could be read; `percent_sum` is what they saw.
        memory_peak_bytes: the most of any of its GPUs that was in use; None: never read.
        memory_bytes: how much that GPU has.
        missing: why something could not be read when that happened last.
    """

    looks: int = 0
    percent_sum: int = 0
    memory_peak_bytes: int | None = None
    memory_bytes: int | None = None
    missing: str | None = None

    def after(self, lease: Lease, gpus: Iterable[Gpu]) -> GpuSamples:
        """With one more look, which saw these GPUs."""
        if lease.part < 1:
            return replace(self, missing=_SHARED)
        samples, seen = self, {GpuId(gpu.uuid): gpu for gpu in gpus}
        for held in sorted(lease.gpus):
            samples = samples._with(seen[held]) if held in seen else replace(samples, missing=_SILENT)
        return samples

    def _with(self, gpu: Gpu) -> GpuSamples:
        samples, percent, used = self, gpu.utilisation_percent, gpu.memory_used_bytes
        if percent is None:
            samples = replace(samples, missing=gpu.missing.get("utilisation_percent"))
        else:
            samples = replace(samples, looks=self.looks + 1, percent_sum=self.percent_sum + percent)
        if used is None:
            return replace(samples, missing=gpu.missing.get("memory_used_bytes"))
        if used > (self.memory_peak_bytes or -1):
            return replace(samples, memory_peak_bytes=used, memory_bytes=gpu.memory_total_bytes)
        return samples

    def added_to(self, use: ResourceUse) -> ResourceUse:
        """What a run took, with this."""
        return replace(
            use,
            gpu_utilisation_percent=self.percent_sum / self.looks if self.looks else None,
            gpu_memory_peak_bytes=self.memory_peak_bytes,
            gpu_memory_bytes=self.memory_bytes,
            gpu_missing=self.missing,
        )
