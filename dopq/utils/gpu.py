"""The GPUs of this machine, as NVML (libnvidia-ml.so.1, part of NVIDIA's driver) sees them. The only user of pynvml.

NVML is asked in a short-lived child process, because it lies, dies and is slow: a hanging driver can make a thread
unkillable, and the service with it; a library that was loaded before the driver was upgraded refuses until its process
ends. Run by hand (`python -m dopq.utils.gpu`), this file prints what that child tells: one JSON object.
"""

from __future__ import annotations

import json
import math
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol, TypeVar

import pynvml

from dopq.utils.deadline import ImpatientCommand, NoAnswer

_Value = TypeVar("_Value")

DEADLINE_S = 10.0
"""How long NVML may take; the first call after boot loads the driver, which takes seconds on large machines."""

SIMULATE = "simulate:"

ON_PAPER = "GPU-00000000-0000-0000-0000-"
"""How the UUIDs of simulated GPUs begin; a real one is drawn at random."""

MOMENTARY = ("memory_used_bytes", "utilisation_percent", "temperature_c", "power_w", "pids")
"""The fields of a Gpu that mean nothing without a fresh look."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU that answers. What could not be read is None and has its reason in `missing`, by field name.

    Attributes:
        uuid: `GPU-...`, the name that stays; `index` may change with every boot.
        memory_total_bytes: None also where the GPU shares the machine's main memory.
        memory_used_bytes: without what the driver keeps for itself, where the driver tells the two apart (since 510).
        utilisation_percent: time in the last sample (1/6 to 1 s) in which a kernel ran, 0 to 100.
        power_w: draw of the whole board, watts.
        pids: processes that compute on it, ours and others', as the host numbers them.
    """

    uuid: str
    index: int
    model: str | None = None
    memory_total_bytes: int | None = None
    memory_used_bytes: int | None = None
    utilisation_percent: int | None = None
    temperature_c: int | None = None
    power_w: float | None = None
    pids: tuple[int, ...] | None = None
    missing: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GpuSurvey:
    """One look at all GPUs.

    Attributes:
        gpus: those that can be handed out, by index.
        reason: why there are none, or fewer than there should be; None when all is well.
        driver: version of the driver; None when it did not say.
        stale: there was no answer; `gpus` are those of the last good look, without their metrics.
    """

    gpus: tuple[Gpu, ...] = ()
    reason: str | None = None
    driver: str | None = None
    stale: bool = False


class GpuProbe(Protocol):
    """Where GPUs come from."""

    def survey(self) -> GpuSurvey:
        """Look at the GPUs now. Takes seconds at most and never raises: trouble is a reason in the survey."""
        ...


def probe_for(devices: str | Sequence[str]) -> GpuProbe:
    """The probe for the setting `[gpu] devices`: "all", "none", "simulate:N", or a list of UUIDs to hand out alone.

    Raises:
        ValueError: none of these.
    """
    if not isinstance(devices, str):
        return NvmlGpus(only=devices)
    if devices == "all":
        return NvmlGpus()
    if devices == "none":
        return SimulatedGpus(0, reason="the settings say that this node has none ([gpu] devices)")
    if devices.startswith(SIMULATE) and (count := devices.removeprefix(SIMULATE)).isdecimal():
        return SimulatedGpus(int(count))
    raise ValueError(f'{devices!r} is none of "all", "none", "{SIMULATE}N" or a list of GPU UUIDs')


def is_simulated(uuid: str) -> bool:
    """Whether a GPU is one on paper, of which no engine knows."""
    return uuid.startswith(ON_PAPER)


class SimulatedGpus:
    """GPUs on paper, to try the queue on a machine without. Their UUIDs count from 0."""

    def __init__(self, count: int, memory_bytes: int = 16 * 1024**3, reason: str | None = None) -> None:
        gpus = tuple(
            Gpu(
                uuid=f"{ON_PAPER}{index:012x}",
                index=index,
                model="simulated",
                memory_total_bytes=memory_bytes,
                missing=dict.fromkeys(MOMENTARY, "simulated"),
            )
            for index in range(count)
        )
        self._survey = GpuSurvey(gpus, reason)

    def survey(self) -> GpuSurvey:
        """The same each time."""
        return self._survey


class NvmlGpus:
    """The GPUs that NVML reports, or of these only those with the UUIDs `only`. Safe to share between threads."""

    def __init__(self, only: Sequence[str] | None = None, deadline_s: float = DEADLINE_S) -> None:
        self._only = only
        self._last = GpuSurvey()
        # The alarm ends a child whose parent was killed while it waited.
        argv = (sys.executable, "-P", "-m", "dopq.utils.gpu", str(math.ceil(deadline_s) + 1))
        self._nvml = ImpatientCommand(argv, deadline_s)

    def survey(self) -> GpuSurvey:
        """Look at the GPUs now; takes about twice the deadline at most, whatever the driver does."""
        try:
            self._last = _restricted(_from_json(self._nvml.run()), self._only)
        except NoAnswer as trouble:
            return _stale(self._last, f"asking the NVIDIA driver failed: {trouble}")
        return self._last


def _restricted(survey: GpuSurvey, only: Sequence[str] | None) -> GpuSurvey:
    if only is None:
        return survey
    absent = sorted(set(only) - {gpu.uuid for gpu in survey.gpus})
    reasons = [survey.reason] if survey.reason else []
    if absent:
        reasons.append(f"no GPU answers to {', '.join(absent)} ([gpu] devices)")
    gpus = tuple(gpu for gpu in survey.gpus if gpu.uuid in only)
    return replace(survey, gpus=gpus, reason="; ".join(reasons) or None)


def _stale(last: GpuSurvey, trouble: str) -> GpuSurvey:
    missing = dict.fromkeys(MOMENTARY, trouble)
    gpus = tuple(
        Gpu(gpu.uuid, gpu.index, gpu.model, gpu.memory_total_bytes, missing={**gpu.missing, **missing})
        for gpu in last.gpus
    )
    return replace(last, gpus=gpus, reason=trouble, stale=True)


def _from_json(answer: bytes) -> GpuSurvey:
    try:
        said = json.loads(answer)
        gpus = tuple(Gpu(**{**gpu, "pids": _tuple_or_none(gpu["pids"])}) for gpu in said.pop("gpus"))
        return GpuSurvey(gpus=gpus, **said)
    except (ValueError, TypeError, KeyError) as trouble:  # for example DoPQ was upgraded under a running service
        raise NoAnswer(f"its answer makes no sense ({trouble}); restart the service") from trouble


def _tuple_or_none(pids: list[int] | None) -> tuple[int, ...] | None:
    return None if pids is None else tuple(pids)


# --- what follows runs in the child process ---------------------------------------------------------------------------

# NVMLLibraryMismatchError is no NVMLError. UnicodeDecodeError: pynvml decodes whatever bytes a sick driver hands out.
_TROUBLE = (pynvml.NVMLError, pynvml.NVMLLibraryMismatchError, OSError, UnicodeDecodeError)

_ADVICE = {
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: (
        'libnvidia-ml.so.1 is not there: install NVIDIA\'s driver, or set [gpu] devices = "none"'
    ),
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "NVIDIA's driver is not loaded: try `modprobe nvidia`, then look into `dmesg`",
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: (
        "NVIDIA's driver was upgraded, but the old one is still loaded: reboot the machine"
    ),
    pynvml.NVML_ERROR_NO_PERMISSION: "this user may not use the GPUs: look at the owner of /dev/nvidia*",
}


def _look() -> GpuSurvey:
    try:
        pynvml.nvmlInit()
        driver = _driver_version()
        count = pynvml.nvmlDeviceGetCount()
    except _TROUBLE as trouble:
        return GpuSurvey(reason=_sentence(trouble))
    gpus: list[Gpu] = []
    unusable: list[str] = []
    for index in range(count):
        try:
            gpus.append(_gpu(index))
        except _TROUBLE as trouble:
            unusable.append(f"GPU {index} cannot be used: {_sentence(trouble)}")
    reason = "; ".join(unusable) if count else "NVIDIA's driver is there, but it finds no GPU"
    return GpuSurvey(tuple(gpus), reason or None, driver)


def _gpu(index: int) -> Gpu:
    """The GPU that has this index now. Raises what NVML raises when it is lost or has no UUID to offer."""
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    uuid = pynvml.nvmlDeviceGetUUID(handle)
    missing: dict[str, str] = {}

    def read(names: tuple[str, ...], source: Callable[[Any], _Value]) -> _Value | None:
        try:
            return source(handle)
        except (pynvml.NVMLError_GpuIsLost, pynvml.NVMLError_ResetRequired):
            raise
        except _TROUBLE as trouble:
            missing.update(dict.fromkeys(names, _sentence(trouble)))
            return None

    memory = read(("memory_total_bytes", "memory_used_bytes"), _memory)
    return Gpu(
        uuid=uuid,
        index=index,
        model=read(("model",), pynvml.nvmlDeviceGetName),
        memory_total_bytes=memory.total if memory else None,
        memory_used_bytes=memory.used if memory else None,
        utilisation_percent=read(("utilisation_percent",), lambda h: pynvml.nvmlDeviceGetUtilizationRates(h).gpu),
        temperature_c=read(
            ("temperature_c",), lambda h: pynvml.nvmlDeviceGetTemperature(h, pynvml.NVML_TEMPERATURE_GPU)
        ),
        power_w=read(("power_w",), lambda h: pynvml.nvmlDeviceGetPowerUsage(h) / 1000),  # NVML counts milliwatts
        pids=read(("pids",), lambda h: tuple(p.pid for p in pynvml.nvmlDeviceGetComputeRunningProcesses(h))),
        missing=missing,
    )


def _memory(handle: Any) -> Any:
    try:
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)
    except pynvml.NVMLError_FunctionNotFound:  # drivers before 510 know version 1 alone
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    if memory.total == 0:  # some drivers say so of GPUs which share the machine's memory; others: not supported
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
    return memory


def _driver_version() -> str | None:
    try:
        version: str = pynvml.nvmlSystemGetDriverVersion()
    except _TROUBLE:
        return None
    return version


def _sentence(trouble: Exception) -> str:
    return _ADVICE.get(getattr(trouble, "value", None), str(trouble))


def _tell(limit_s: int) -> None:
    signal.alarm(limit_s)
    sys.stdout.write(json.dumps(asdict(_look())) + "\n")


if __name__ == "__main__":
    _tell(int(sys.argv[1]) if len(sys.argv) > 1 else math.ceil(DEADLINE_S))
