"""What is said of a machine: engine, cores, memory, disks, processes and GPUs, as plain data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dopq.container_handler.engine import Capacity
from dopq.handover import Deferred
from dopq.job import GpuId, Job, gpus_held
from dopq.utils.cpu import Host, process_memory
from dopq.utils.gpu import GpuSurvey
from dopq.wire import Plain, time_to_wire


def engine_to_wire(capacity: Capacity | None) -> Plain | None:
    """The engine; None until it has answered once."""
    if capacity is None:
        return None
    return {"version": capacity.version, "cpus": capacity.cpus, "memory_bytes": capacity.memory_bytes}


def machine_to_wire(host: Host) -> Plain:
    """Cores, load, memory and disks. What could not be read is None."""
    return {
        "cpus": host.cpus,
        "load_1m": host.load_1m,
        "memory_total_bytes": host.memory_total_bytes,
        "memory_available_bytes": host.memory_available_bytes,
        "uptime_s": host.uptime_s,
        "disks": [
            {"folder": str(disk.folder), "total_bytes": disk.total_bytes, "free_bytes": disk.free_bytes}
            for disk in host.disks
        ],
    }


def processes_to_wire(pids: Mapping[str, int | None]) -> list[Plain]:
    """Our own processes and the memory that each takes; a pid of None is a process that does not live now."""
    return [
        {"name": name, "pid": pid, "rss_bytes": process_memory(pid).rss_bytes if pid else None}
        for name, pid in pids.items()
    ]


def deferred_to_wire(files: Iterable[Deferred]) -> list[Plain]:
    """The files in inboxes that are seen, but not taken yet, and why."""
    return [
        {
            "user": str(file.user),
            "name": file.name,
            "size_bytes": file.size_bytes,
            "since_at": time_to_wire(file.since),
            "why": file.why,
        }
        for file in files
    ]


def gpus_to_wire(survey: GpuSurvey, jobs: Iterable[Job]) -> list[Plain]:
    """Each GPU with what it does now and the jobs that hold it, or slots of it. What could not be read is None."""
    holders: dict[GpuId, list[int]] = {}
    for job in jobs:
        for gpu_id in gpus_held(job.state):
            holders.setdefault(gpu_id, []).append(int(job.id))
    return [
        {
            "uuid": gpu.uuid,
            "index": gpu.index,
            "model": gpu.model,
            "memory_total_bytes": gpu.memory_total_bytes,
            "memory_used_bytes": gpu.memory_used_bytes,
            "utilisation_percent": gpu.utilisation_percent,
            "temperature_c": gpu.temperature_c,
            "power_w": gpu.power_w,
            "jobs": holders.get(GpuId(gpu.uuid), []),
        }
        for gpu in survey.gpus
    ]
