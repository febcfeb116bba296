"""What runs, and what it takes at the moment: cores, memory, GPUs. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from rich.text import Text

from dopq.clean import clean
from dopq.job import StateName
from dopq_client.shapes import GpuLive, JobInfo
from dopq_client.top.bars import bar, share
from dopq_client.top.lists import GPUS, JOB, NAME, STATE, USER
from dopq_client.top.moment import Moment
from dopq_client.top.table import Column
from dopq_client.top.trends import Trends
from dopq_client.words import NOTHING, elapsed, outcome, since, size

BUSY, MEMORY = "cyan", "magenta"
"""The colours of bars and lines."""

_BAR, _STEPS = 6, 12


def note(trends: Trends, jobs: Iterable[JobInfo], at_s: float) -> None:
    """Remember what each job takes."""
    for job in jobs:
        live = job.get("live")
        if live:
            trends.add(("cpu", job["id"]), at_s, live["cpu_cores"])
            trends.add(("memory", job["id"]), at_s, live["memory_bytes"])
            for gpu in live["gpus"]:
                note_gpu(trends, gpu["uuid"], gpu["utilisation_percent"], at_s)


def note_gpu(trends: Trends, uuid: str, utilisation_percent: float | None, at_s: float) -> None:
    """Remember how busy a GPU is."""
    trends.add(("gpu", uuid), at_s, utilisation_percent)


def columns(moment: Moment) -> tuple[Column[JobInfo], ...]:
    """The columns of what runs."""
    return (
        JOB,
        NAME,
        USER,
        replace(STATE, wide=True),
        Column("FOR", lambda job: _for(job, moment), by=lambda job: since(job) or "", right=True),
        Column("CPU", cpu, by=lambda job: -(_live(job, "cpu_cores") or 0.0), right=True),
        Column("", lambda job: Text(moment.line(("cpu", job["id"]), _STEPS), BUSY), wide=True),
        Column("MEMORY", memory, by=lambda job: -(_live(job, "memory_bytes") or 0), right=True),
        GPUS,
        Column("GPU", gpu_use, by=lambda job: -(_utilisation(job) or 0.0)),
        Column("GPU MEM", lambda job: Text(bar(_filled(job), _BAR), MEMORY), by=lambda job: -(_filled(job) or 0.0)),
        Column("", gpu_memory, right=True, wide=True),
    )


def detail(job: JobInfo, moment: Moment, width: int) -> list[Text]:
    """The selected job: where it stands, its trends, and each of its GPUs."""
    live = job.get("live")
    lines = [Text(outcome(job))]
    if not live:
        return lines
    steps = max(_STEPS, (width - 48) // 2)
    limit = job["memory_bytes"]
    lines.append(
        Text.assemble(
            f"CPU {cpu(job):>6} cores ",
            (moment.line(("cpu", job["id"]), steps), BUSY),
            f"  memory {memory(job):>10}{f' of {size(limit)}' if limit else ''} ",
            (moment.line(("memory", job["id"]), steps, limit), MEMORY),
        )
    )
    return lines + [gpu_line(gpu, moment, width) for gpu in live["gpus"]]


def gpu_line(gpu: GpuLive, moment: Moment, width: int) -> Text:
    """One GPU: how busy it is and was, how full its memory is."""
    used, total = gpu["memory_used_bytes"], gpu["memory_total_bytes"]
    index = NOTHING if gpu["index"] is None else gpu["index"]
    return Text.assemble(
        f"GPU {index!s:>2} {percent(gpu['utilisation_percent']):>5} ",
        (bar(share(gpu["utilisation_percent"], 100), 8), BUSY),
        " ",
        (moment.line(("gpu", gpu["uuid"]), max(_STEPS, width - 61), 100), BUSY),
        f"  memory {size(used):>9} / {size(total):<9} ",
        (bar(share(used, total), 8), MEMORY),
    )


def cpu(job: JobInfo) -> str:
    """The cores that a job keeps busy: `3.9`."""
    cores = _live(job, "cpu_cores")
    return NOTHING if cores is None else f"{cores:.1f}"


def memory(job: JobInfo) -> str:
    """The memory that a job has in use."""
    return size(_live(job, "memory_bytes"))


def gpu_use(job: JobInfo) -> Text:
    """How busy a job's GPUs are, on average: `97 %` and a bar."""
    busy = _utilisation(job)
    return Text.assemble(f"{percent(busy):>5} ", (bar(share(busy, 100), _BAR), BUSY)) if _gpus(job) else Text(NOTHING)


def gpu_memory(job: JobInfo) -> str:
    """The memory in use on a job's GPUs, together."""
    used = [gpu["memory_used_bytes"] for gpu in _gpus(job)]
    return size(sum(it for it in used if it is not None)) if any(it is not None for it in used) else NOTHING


def percent(value: float | None) -> str:
    """`97 %`, or that nobody knows."""
    return NOTHING if value is None else f"{value:.0f} %"


def _for(job: JobInfo, moment: Moment) -> str:
    """How long it runs; before and after that, where it stands."""
    return elapsed(since(job), moment.now) if job["state"] == StateName.RUNNING else clean(job["state"])


def _live(job: JobInfo, field: str) -> float | None:
    live = job.get("live")
    value = live.get(field) if live else None
    return value if isinstance(value, int | float) else None


def _gpus(job: JobInfo) -> list[GpuLive]:
    live = job.get("live")
    return live["gpus"] if live else []


def _utilisation(job: JobInfo) -> float | None:
    known = [gpu["utilisation_percent"] for gpu in _gpus(job)]
    told = [it for it in known if it is not None]
    return sum(told) / len(told) if told else None


def _filled(job: JobInfo) -> float | None:
    """How full the memory of the job's GPUs is, together."""
    pairs = [(gpu["memory_used_bytes"], gpu["memory_total_bytes"]) for gpu in _gpus(job)]
    known = [(used, total) for used, total in pairs if used is not None and total]
    return sum(used for used, _ in known) / sum(total for _, total in known) if known else None
