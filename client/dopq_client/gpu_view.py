"""The GPUs of a node for people: what each does, who computes on it, and why it is not handed out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dopq.clean import clean
from dopq_client.words import NOTHING, size

GpuInfo = Mapping[str, Any]


def gpus_view(gpus: list[GpuInfo]) -> Iterator[RenderableType]:
    """A table of the GPUs, and one of the processes on them where there are any."""
    yield _gpus(gpus)
    if any(gpu.get("processes") for gpu in gpus):
        yield Text()
        yield processes_view(gpus)


def processes_view(gpus: list[GpuInfo]) -> RenderableType:
    """A table of the processes on the GPUs, strangers among them, under its heading."""
    processes = [(gpu, process) for gpu in gpus for process in gpu.get("processes") or ()]
    return Group(Text("ON THE GPUS", "bold"), _processes(processes))


def _gpus(gpus: list[GpuInfo]) -> Table:
    table = _table("GPU", "uuid", "model", "memory", "use", "temp", "power", "jobs", "handed out")
    for gpu in gpus:
        withheld = gpu.get("withheld")
        table.add_row(
            _said(gpu.get("index")),
            _said(gpu.get("uuid")),
            _said(gpu.get("model")),
            f"{size(gpu.get('memory_used_bytes'))} / {size(gpu.get('memory_total_bytes'))}",
            _said(gpu.get("utilisation_percent"), " %"),
            _said(gpu.get("temperature_c"), " °C"),
            _said(gpu.get("power_w"), " W"),
            ", ".join(str(job) for job in gpu.get("jobs") or ()) or NOTHING,
            clean(f"no: {withheld['code']}") if withheld else "yes",
        )
    return table


def _processes(processes: list[tuple[GpuInfo, Mapping[str, Any]]]) -> Table:
    table = _table("GPU", "pid", "user", "memory", "job", "by")
    for gpu, process in processes:
        table.add_row(
            _said(gpu.get("index")),
            _said(process.get("pid")),
            _said(process.get("user")),
            size(process.get("memory_bytes")),
            _said(process.get("job")),
            _said(process.get("by")),
        )
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _said(value: object, unit: str = "") -> str:
    if value is None:
        return NOTHING
    return clean(f"{value:.4g}{unit}" if isinstance(value, float) else f"{value}{unit}")
