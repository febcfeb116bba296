"""What is said of a machine: engine, cores, memory, disks, processes and GPUs, as plain data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict

from dopq.container_handler.engine import Capacity
from dopq.gpu_offer import Offer
from dopq.gpu_use import Use
from dopq.handover import Deferred
from dopq.job import GpuId, Job, gpus_held
from dopq.utils.cpu import Host, process_memory
from dopq.utils.gpu import Gpu, GpuProcess, GpuSurvey
from dopq.wire import Plain, reason_to_wire, time_to_wire


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


def gpus_to_wire(survey: GpuSurvey, offer: Offer, uses: Iterable[Use], jobs: Iterable[Job]) -> list[Plain]:
    """Each GPU with what it does now and the jobs that hold it, or slots of it.

    What could not be read is None, with the reason in `missing`. Those that do not answer come last, with nothing but
    their model.
    """
    holders: dict[GpuId, list[int]] = {}
    for job in jobs:
        for gpu_id in gpus_held(job.state):
            holders.setdefault(gpu_id, []).append(int(job.id))
    by = {(str(use.gpu), use.process): use for use in uses}
    answering = {gpu.uuid for gpu in survey.gpus}
    silent = [
        Gpu(uuid, index=None, model=offer.models[uuid], missing={"index": "it does not answer"})
        for uuid in sorted(offer.models.keys() - answering)
    ]
    return [
        {
            **asdict(gpu),
            "processes": None
            if gpu.processes is None
            else [_process(it, by.get((gpu.uuid, it))) for it in gpu.processes],
            "missing": dict(gpu.missing),
            "withheld": reason_to_wire(offer.withheld.get(GpuId(gpu.uuid))),
            "jobs": holders.get(GpuId(gpu.uuid), []),
        }
        for gpu in (*survey.gpus, *silent)
    ]


def _process(process: GpuProcess, use: Use | None) -> Plain:
    return {
        "pid": process.pid,
        "memory_bytes": process.memory_bytes,
        "user": use.user if use else None,
        "job": int(use.job) if use and use.job is not None else None,
        "by": str(use.by) if use else None,
    }
