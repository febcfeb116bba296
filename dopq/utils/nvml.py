"""The process that holds NVML (libnvidia-ml.so.1, part of NVIDIA's driver), and tells what it sees.

For each line on stdin it looks once and writes one JSON object, a `GpuSurvey`, in a line on stdout; it ends when stdin
does. Run by hand, `echo | python -m dopq.utils.nvml` shows one look.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, TypeVar

import pynvml

from dopq.utils.gpu import Gpu, GpuProcess, GpuSurvey
from dopq.utils.nvml_events import TROUBLE, XidListener, sentence

_Value = TypeVar("_Value")

LIMIT_S = 11
"""How long one look may take where no other limit is given."""


def survey(listener: XidListener) -> GpuSurvey:
    """Look at all GPUs once; stale where NVML does not say which there are."""
    try:
        count = pynvml.nvmlDeviceGetCount()
    except TROUBLE as trouble:
        return GpuSurvey(reason=sentence(trouble), stale=True)
    gpus: list[Gpu] = []
    unusable: list[str] = []
    for index in range(count):
        try:
            gpus.append(_gpu(index, listener))
        except TROUBLE as trouble:
            unusable.append(f"GPU {index} cannot be used: {sentence(trouble)}")
    reason = "; ".join(unusable) if count else "NVIDIA's driver is there, but it finds no GPU"
    return GpuSurvey(tuple(gpus), reason or None, _driver_version(), xids=listener.take())


def _gpu(index: int, listener: XidListener) -> Gpu:
    """The GPU that has this index now. Raises what NVML raises when it is lost or has no UUID to offer."""
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    uuid = pynvml.nvmlDeviceGetUUID(handle)
    missing: dict[str, str] = {}

    def read(names: str, source: Callable[[Any], _Value]) -> _Value | None:
        try:
            return source(handle)
        except (pynvml.NVMLError_GpuIsLost, pynvml.NVMLError_ResetRequired):
            raise
        except TROUBLE as trouble:
            missing.update(dict.fromkeys(names.split(), sentence(trouble)))
            return None

    memory = read("memory_total_bytes memory_used_bytes memory_free_bytes", _memory)
    read("xids", lambda h: listener.listen(uuid, h))
    return Gpu(
        uuid=uuid,
        index=index,
        model=read("model", pynvml.nvmlDeviceGetName),
        memory_total_bytes=memory.total if memory else None,
        memory_used_bytes=memory.used if memory else None,
        memory_free_bytes=memory.free if memory else None,
        utilisation_percent=read("utilisation_percent", lambda h: pynvml.nvmlDeviceGetUtilizationRates(h).gpu),
        temperature_c=read("temperature_c", lambda h: pynvml.nvmlDeviceGetTemperature(h, pynvml.NVML_TEMPERATURE_GPU)),
        power_w=read("power_w", lambda h: pynvml.nvmlDeviceGetPowerUsage(h) / 1000),  # NVML counts milliwatts
        sm_clock_mhz=read("sm_clock_mhz", lambda h: pynvml.nvmlDeviceGetClockInfo(h, pynvml.NVML_CLOCK_SM)),
        memory_clock_mhz=read("memory_clock_mhz", lambda h: pynvml.nvmlDeviceGetClockInfo(h, pynvml.NVML_CLOCK_MEM)),
        fan_percent=read("fan_percent", pynvml.nvmlDeviceGetFanSpeed),
        ecc_uncorrected=read("ecc_uncorrected", _uncorrected),
        mig=read("mig", lambda h: pynvml.nvmlDeviceGetMigMode(h)[0] == pynvml.NVML_DEVICE_MIG_ENABLE),
        mig_instances=read("mig_instances", _mig_instances),
        processes=read("processes", _processes),
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


def _uncorrected(handle: Any) -> int:
    kind, since = pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC
    count: int = pynvml.nvmlDeviceGetTotalEccErrors(handle, kind, since)
    return count


def _mig_instances(handle: Any) -> tuple[str, ...]:
    found = []
    for number in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        try:
            instance = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number)
        except pynvml.NVMLError_NotFound:  # as many are possible, fewer have been made
            continue
        found.append(pynvml.nvmlDeviceGetUUID(instance))
    return tuple(found)


def _processes(handle: Any) -> tuple[GpuProcess, ...]:
    return tuple(
        GpuProcess(process.pid, process.usedGpuMemory)
        for process in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
    )


def _driver_version() -> str | None:
    try:
        version: str = pynvml.nvmlSystemGetDriverVersion()
    except TROUBLE:
        return None
    return version


def _begin() -> str | None:
    """Why NVML cannot be used; None where it can."""
    try:
        pynvml.nvmlInit()
    except TROUBLE as trouble:
        return sentence(trouble)
    return None


def _serve(limit_s: int) -> None:
    listener, begun, trouble = XidListener(), False, None
    for _ in sys.stdin:
        signal.alarm(limit_s)
        if not begun:
            begun, trouble = True, _begin()
        seen = GpuSurvey(reason=trouble, stale=True) if trouble else survey(listener)
        sys.stdout.write(json.dumps(asdict(seen)) + "\n")
        sys.stdout.flush()
        signal.alarm(0)


if __name__ == "__main__":
    _serve(int(sys.argv[1]) if len(sys.argv) > 1 else LIMIT_S)
