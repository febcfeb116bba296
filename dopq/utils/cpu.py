"""What the machine has besides GPUs: cores, load, memory, disks, and what a process takes of it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import psutil

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Disk:
    """Space on the disk that holds `folder`; what could not be read is None, with `reason`.

    `free_bytes` is what an ordinary user may still take, without root's reserve.
    """

    folder: Path
    total_bytes: int | None
    free_bytes: int | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Host:
    """One look at the machine. What could not be read is None and has its reason in `missing`, by field name.

    Attributes:
        cpus: logical cores.
        load_1m: processes that ran or wanted to, averaged over a minute (getloadavg(3)); `load_5m`, `load_15m` alike.
        memory_available_bytes: what new processes may take without swapping.
        uptime_s: seconds since boot, those in suspend included.
    """

    cpus: int | None
    load_1m: float | None
    load_5m: float | None
    load_15m: float | None
    memory_total_bytes: int | None
    memory_available_bytes: int | None
    uptime_s: float | None
    disks: tuple[Disk, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ProcessMemory:
    """Main memory that a process holds now (resident set); None with a reason where it could not be read."""

    pid: int
    rss_bytes: int | None
    reason: str | None = None


def survey(folders: Iterable[Path] = ()) -> Host:
    """Look at the machine and at the disks that hold `folders`, in their order. What cannot be read is no error."""
    missing: dict[str, str] = {}
    load = _read(missing, ("load_1m", "load_5m", "load_15m"), os.getloadavg) or (None, None, None)
    memory = _read(missing, ("memory_total_bytes", "memory_available_bytes"), psutil.virtual_memory)
    return Host(
        cpus=_read(missing, ("cpus",), psutil.cpu_count),
        load_1m=load[0],
        load_5m=load[1],
        load_15m=load[2],
        memory_total_bytes=memory.total if memory else None,
        memory_available_bytes=memory.available if memory else None,
        uptime_s=_read(missing, ("uptime_s",), lambda: time.clock_gettime(time.CLOCK_BOOTTIME)),
        disks=tuple(disk(folder) for folder in folders),
        missing=missing,
    )


def process_memory(pid: int) -> ProcessMemory:
    """Main memory of the process `pid` now; no such process is a reason, not an error."""
    try:
        return ProcessMemory(pid, rss_bytes=psutil.Process(pid).memory_info().rss)
    except (psutil.Error, ValueError) as trouble:  # ValueError: a pid that no process can have
        return ProcessMemory(pid, rss_bytes=None, reason=str(trouble))


def disk(folder: Path) -> Disk:
    """Look at the disk that holds `folder`. What cannot be read is no error."""
    try:
        usage = psutil.disk_usage(str(folder))
    except OSError as trouble:
        return Disk(folder, total_bytes=None, free_bytes=None, reason=str(trouble))
    return Disk(folder, total_bytes=usage.total, free_bytes=usage.free)


def _read(missing: dict[str, str], names: tuple[str, ...], source: Callable[[], _Value | None]) -> _Value | None:
    try:
        value = source()
    except (OSError, psutil.Error) as trouble:
        missing.update(dict.fromkeys(names, str(trouble)))
        return None
    if value is None:
        missing.update(dict.fromkeys(names, "the system does not say"))
    return value


def model() -> str | None:
    """What the processor calls itself (proc(5), /proc/cpuinfo); None where the kernel does not say."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)


def boot_id() -> str:
    """A text that is another one after every start of the machine; empty where the kernel tells none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
