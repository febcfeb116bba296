"""Where GPUs come from: NVML, asked in a child process, or the settings alone.

NVML lies, dies and is slow: a hanging driver can make a thread unkillable, and the service with it; a library that
was loaded before the driver was upgraded refuses until its process ends. So a child (nvml.py) holds it and answers
plain values over a pipe; it is given up on when it hangs, and begun anew when it is gone (docs/adr/0060).
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from dopq.utils.deadline import ImpatientChild, NoAnswer
from dopq.utils.gpu import MOMENTARY, ON_PAPER, ClosableProbe, Gpu, GpuProcess, GpuSurvey, XidEvent

DEADLINE_S = 10.0
"""How long NVML may take; the first call after boot loads the driver, which takes seconds on large machines."""

SIMULATE = "simulate:"


def probe_for(devices: str | Sequence[str]) -> ClosableProbe:
    """The probe for the setting `[gpu] devices`: "all", "none", "simulate:N", or a list of UUIDs or indices.

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
    raise ValueError(f'{devices!r} is none of "all", "none", "{SIMULATE}N" or a list of GPU UUIDs or indices')


class SimulatedGpus:
    """GPUs on paper, to try the queue on a machine without. Their UUIDs count from 0."""

    def __init__(self, count: int, memory_bytes: int = 16 * 1024**3, reason: str | None = None) -> None:
        gpus = tuple(
            Gpu(
                uuid=f"{ON_PAPER}{index:012x}",
                index=index,
                model="simulated",
                memory_total_bytes=memory_bytes,
                missing=dict.fromkeys((*MOMENTARY, "mig", "mig_instances"), "simulated"),
            )
            for index in range(count)
        )
        self._survey = GpuSurvey(gpus, reason)

    def survey(self) -> GpuSurvey:
        """The same each time."""
        return self._survey

    def close(self) -> None:
        """See ClosableProbe."""


class NvmlGpus:
    """The GPUs that NVML reports, or only those whose UUID or index is in `only`. Safe to share between threads."""

    def __init__(self, only: Sequence[str] | None = None, deadline_s: float = DEADLINE_S) -> None:
        self._only = only
        self._last = GpuSurvey()
        self._complained = False
        # The alarm ends a child whose parent was killed while it waited for the driver.
        argv = (sys.executable, "-P", "-m", "dopq.utils.nvml", str(math.ceil(deadline_s) + 1))
        self._nvml = ImpatientChild(argv, deadline_s)

    def survey(self) -> GpuSurvey:
        """Look at the GPUs now; takes about twice the deadline at most, whatever the driver does."""
        try:
            seen = self._ask()
        except NoAnswer as trouble:
            return _stale(self._last, f"asking the NVIDIA driver failed: {trouble}")
        if seen.stale:
            return _stale(self._last, seen.reason or "NVML gave no reason")
        self._last = replace(_restricted(seen, self._only), xids=())
        return replace(self._last, xids=seen.xids)

    def close(self) -> None:
        """See ClosableProbe."""
        self._nvml.close()

    def _ask(self) -> GpuSurvey:
        """What NVML says. While it complains, a fresh process is asked besides.

        NVML keeps what it saw when it was loaded: only a fresh process sees what has come back. The one before is asked
        all the same, for the Xids that it has heard.
        """
        seen, complained = _from_json(self._nvml.ask()), self._complained
        self._complained = seen.reason is not None
        if not (complained and seen.reason):
            return seen
        self._nvml.close()
        fresh = _from_json(self._nvml.ask())
        return replace(fresh, xids=seen.xids + fresh.xids)


def _restricted(survey: GpuSurvey, only: Sequence[str] | None) -> GpuSurvey:
    if only is None:
        return survey
    names = {name for gpu in survey.gpus for name in (gpu.uuid, str(gpu.index))}
    absent = sorted(set(only) - names)
    reasons = [survey.reason] if survey.reason else []
    if absent:
        reasons.append(f"no GPU answers to {', '.join(absent)} ([gpu] devices)")
    gpus = tuple(gpu for gpu in survey.gpus if gpu.uuid in only or str(gpu.index) in only)
    return replace(survey, gpus=gpus, reason="; ".join(reasons) or None)


def _stale(last: GpuSurvey, trouble: str) -> GpuSurvey:
    """The last good look without what has changed since, `trouble` being why there is no newer one."""
    nothing: dict[str, Any] = dict.fromkeys(MOMENTARY)
    gpus = tuple(
        replace(gpu, **nothing, missing={**gpu.missing, **dict.fromkeys(MOMENTARY, trouble)}) for gpu in last.gpus
    )
    return replace(last, gpus=gpus, reason=trouble, stale=True)


def _from_json(answer: bytes) -> GpuSurvey:
    try:
        said = json.loads(answer)
        gpus = tuple(_gpu(gpu) for gpu in said.pop("gpus"))
        xids = tuple(XidEvent(**xid) for xid in said.pop("xids"))
        return GpuSurvey(gpus=gpus, xids=xids, **said)
    except (ValueError, TypeError, KeyError, AttributeError) as trouble:  # DoPQ was upgraded under a running service
        raise NoAnswer(f"its answer makes no sense ({trouble}); restart the service") from trouble


def _gpu(said: Mapping[str, Any]) -> Gpu:
    processes, instances = said["processes"], said["mig_instances"]
    listed = {
        "processes": None if processes is None else tuple(GpuProcess(**process) for process in processes),
        "mig_instances": None if instances is None else tuple(instances),
    }
    return Gpu(**{**said, **listed})
