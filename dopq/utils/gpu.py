"""What can be said of this machine's GPUs, as values, and the port through which it is asked.

Where the values come from: gpu_probe.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

ON_PAPER = "GPU-00000000-0000-0000-0000-"
"""How the UUIDs of simulated GPUs begin; a real one is drawn at random."""

MOMENTARY = (
    "memory_used_bytes",
    "memory_free_bytes",
    "utilisation_percent",
    "temperature_c",
    "power_w",
    "sm_clock_mhz",
    "memory_clock_mhz",
    "fan_percent",
    "ecc_uncorrected",
    "processes",
)
"""The fields of a Gpu that mean nothing without a fresh look."""


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A process that computes on a GPU, as the host numbers it; `memory_bytes` None where the driver does not say."""

    pid: int
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU that answers. What could not be read is None and has its reason in `missing`, by field name.

    Attributes:
        uuid: `GPU-...`, the name that stays; `index` may change with every boot.
        memory_total_bytes: None also where the GPU shares the machine's main memory.
        memory_used_bytes: without what the driver keeps for itself, where the driver tells the two apart (since 510).
        utilisation_percent: time in the last sample (1/6 to 1 s) in which a kernel ran, 0 to 100.
        power_w: draw of the whole board, watts.
        sm_clock_mhz, memory_clock_mhz: clocks as they are now.
        fan_percent: of the fans' full speed; GPUs that are cooled by the case have none.
        ecc_uncorrected: memory errors since the driver was loaded that could not be corrected.
        mig: whether the GPU is parted in hardware (MIG); its parts are in `mig_instances`, by UUID.
        processes: what computes on it, ours and others'; what only draws (a desktop) is not among them.
    """

    uuid: str
    index: int | None
    model: str | None = None
    memory_total_bytes: int | None = None
    memory_used_bytes: int | None = None
    memory_free_bytes: int | None = None
    utilisation_percent: int | None = None
    temperature_c: int | None = None
    power_w: float | None = None
    sm_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    fan_percent: int | None = None
    ecc_uncorrected: int | None = None
    mig: bool | None = None
    mig_instances: tuple[str, ...] | None = None
    processes: tuple[GpuProcess, ...] | None = None
    missing: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class XidEvent:
    """An error that the driver reported of a GPU: the `code` is from NVIDIA's catalogue of Xids (xids.py)."""

    uuid: str
    code: int


@dataclass(frozen=True, slots=True)
class GpuSurvey:
    """One look at all GPUs.

    Attributes:
        gpus: those that answer, by index.
        reason: why there are none, or fewer than there should be; None when all is well.
        driver: version of the driver; None when it did not say.
        stale: NVML did not say which GPUs there are; `gpus` are those of the last good look, without their metrics.
        xids: what happened since the look before; told once.
    """

    gpus: tuple[Gpu, ...] = ()
    reason: str | None = None
    driver: str | None = None
    stale: bool = False
    xids: tuple[XidEvent, ...] = ()


class GpuProbe(Protocol):
    """Where GPUs come from."""

    def survey(self) -> GpuSurvey:
        """Look at the GPUs now. Takes seconds at most and never raises: trouble is a reason in the survey."""
        ...


class ClosableProbe(GpuProbe, Protocol):
    """One that may hold a process."""

    def close(self) -> None:
        """Look no more, and leave no process behind. Twice is fine."""
        ...


def is_simulated(uuid: str) -> bool:
    """Whether a GPU is one on paper, of which no engine knows."""
    return uuid.startswith(ON_PAPER)
