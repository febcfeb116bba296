"""The node: lock and warnings first, then its GPUs and who computes on them, memory and disks, all else. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from dopq.clean import clean
from dopq.wire import Plain
from dopq_client.gpu_view import processes_view
from dopq_client.system_view import system_view
from dopq_client.top.bars import bar, share
from dopq_client.top.moment import Moment
from dopq_client.top.running import BUSY, MEMORY, note_gpu, percent
from dopq_client.top.table import Column, draw
from dopq_client.top.trends import Trends
from dopq_client.words import NOTHING, local, size

Gpu = Mapping[str, Any]
Filled = tuple[str, float | None, float | None]
"""Something that fills up: what, bytes used, bytes in all."""

_BAR, _STEPS = 10, 18
_BAD = "bold yellow"


def note(trends: Trends, system: Plain, at_s: float) -> None:
    """Remember how busy each GPU is."""
    for gpu in system.get("gpus") or ():
        note_gpu(trends, gpu["uuid"], gpu.get("utilisation_percent"), at_s)


def notices(system: Plain, now: datetime) -> list[Text]:
    """What everybody should know before anything else: drain, lock, warnings."""
    queue = system.get("queue") or {}
    lines = []
    if drain := queue.get("drain"):
        lines.append(
            Text(f"{clean(drain['owner'])} drains the node: nothing new starts. {clean(drain['reason'])}", _BAD)
        )
    if lock := queue.get("lock"):
        until = local(lock["until"], now)
        lines.append(Text(f"{clean(lock['owner'])} has locked the queue until {until}. {clean(lock['reason'])}", _BAD))
    return lines + [Text(clean(warning), "yellow") for warning in system.get("warnings") or ()]


def page(system: Plain, moment: Moment, width: int) -> RenderableType:
    """All that the node tells of itself, most important first."""
    return Group(*_parts(system, moment, width))


def _parts(system: Plain, moment: Moment, width: int) -> Iterator[RenderableType]:
    if told := notices(system, moment.now):
        yield from told
        yield Text()
    gpus = system.get("gpus") or []
    for columns in (_gpu_columns(moment), _WHICH) if gpus else ():
        heading, lines = draw(columns, gpus, width)
        yield from (heading, *lines, Text())
    if any(gpu.get("processes") for gpu in gpus):
        yield processes_view(gpus)
        yield Text()
    if filled := list(_filled(system)):
        heading, lines = draw(_FILLED, filled, width)
        yield from (heading, *lines, Text())
    yield system_view({key: value for key, value in system.items() if key not in {"gpus", "warnings"}}, moment.now)


def _gpu_columns(moment: Moment) -> tuple[Column[Gpu], ...]:
    return (
        Column("GPU", lambda gpu: _said(gpu.get("index")), right=True),
        Column("USE", lambda gpu: percent(gpu.get("utilisation_percent")), right=True),
        Column("", lambda gpu: Text(bar(share(gpu.get("utilisation_percent"), 100), _BAR), BUSY)),
        Column("", lambda gpu: Text(moment.line(("gpu", gpu["uuid"]), _STEPS, 100), BUSY), wide=True),
        Column("MEMORY", _memory, right=True),
        Column("", lambda gpu: Text(bar(_memory_share(gpu), _BAR), MEMORY), wide=True),
        Column("TEMP", lambda gpu: _said(gpu.get("temperature_c"), " °C"), right=True),
        Column("POWER", lambda gpu: _said(gpu.get("power_w"), " W"), right=True, wide=True),
        Column("JOBS", lambda gpu: ", ".join(str(job) for job in gpu.get("jobs") or ()) or NOTHING, most=12),
        Column("HANDED OUT", _handed_out, most=20),
    )


_WHICH: tuple[Column[Gpu], ...] = (
    Column("GPU", lambda gpu: _said(gpu.get("index")), right=True),
    Column("MODEL", lambda gpu: _said(gpu.get("model")), least=6),
    Column("UUID", lambda gpu: _said(gpu.get("uuid"))),
)

_FILLED: tuple[Column[Filled], ...] = (
    Column("SPACE", lambda filled: clean(filled[0]), least=6, most=40),
    Column("USED", lambda filled: size(filled[1]), right=True),
    Column("OF", lambda filled: size(filled[2]), right=True),
    Column("", lambda filled: Text(bar(share(filled[1], filled[2]), _BAR * 2), MEMORY)),
)


def _filled(system: Plain) -> Iterator[Filled]:
    machine = system.get("machine") or {}
    yield _used("memory", machine.get("memory_available_bytes"), machine.get("memory_total_bytes"))
    for disk in machine.get("disks") or ():
        yield _used(str(disk["folder"]), disk.get("free_bytes"), disk.get("total_bytes"))


def _used(what: str, free: float | None, total: float | None) -> Filled:
    return what, None if free is None or total is None else total - free, total


def _memory(gpu: Gpu) -> str:
    return f"{size(gpu.get('memory_used_bytes'))} / {size(gpu.get('memory_total_bytes'))}"


def _memory_share(gpu: Gpu) -> float | None:
    return share(gpu.get("memory_used_bytes"), gpu.get("memory_total_bytes"))


def _handed_out(gpu: Gpu) -> str:
    withheld = gpu.get("withheld")
    return clean(f"no: {withheld['code']}") if withheld else "yes"


def _said(value: object, unit: str = "") -> str:
    if value is None:
        return NOTHING
    return clean(f"{value:.4g}{unit}" if isinstance(value, float) else f"{value}{unit}")
