"""The nodes of a lab for people: a line each, or all of one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from dopq.clean import clean
from dopq_client.words import NOTHING, size, span

Node = Mapping[str, Any]
MIB = 2**20


def nodes_table(nodes: Sequence[Node]) -> RenderableType:
    """A line a node, in the order in which they are told: the nearest first."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("NODE", no_wrap=True, overflow="ellipsis", max_width=24)
    for heading in ("STATE", "LATENCY"):
        table.add_column(heading, no_wrap=True)
    table.add_column("GPUS", overflow="fold")
    for heading in ("FREE", "QUEUE", "WAIT"):
        table.add_column(heading, justify="right", no_wrap=True)
    for node in nodes:
        specs = node["specs"]
        table.add_row(
            clean(node["name"]),
            clean(_state(node)),
            clean(_latency(node)),
            clean(_gpus(specs["gpus"])),
            clean(_said(specs["free_gpus"])),
            clean(_said(specs["queue_length"])),
            clean(_span(specs["expected_wait_s"])),
        )
    return table


def node_view(node: Node) -> RenderableType:
    """All that is known of a node."""
    specs = node["specs"]
    lines = {
        "node": node["name"],
        "id": node["node_id"],
        "version": node["version"],
        "state": _state(node),
        "addresses": ", ".join(node["addresses"]),
        "certificate": node["certificate"],
        "latency": f"{_latency(node)}{_age(node['latency_age_s'])}",
        "speed": speed_in_words(node),
        "machine": ", ".join(str(text) for text in (specs["hostname"], specs["platform"]) if text),
        "processor": f"{_said(specs['cpus'])} x {_said(specs['cpu_model'])}",
        "memory": _mib(specs["memory_mib"]),
        "disk": f"{_mib(specs['disk_free_mib'])} free of {_mib(specs['disk_mib'])}",
        "driver": _said(specs["driver"]),
        "free GPUs": _said(specs["free_gpus"]),
        "waiting": f"{_said(specs['queue_length'])} jobs, a new one would wait {_span(specs['expected_wait_s'])}",
        **{f"GPU {number}": _gpu(gpu) for number, gpu in enumerate(specs["gpus"])},
        **node["metadata"],
    }
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for name, text in lines.items():
        table.add_row(clean(name), clean(text or NOTHING))
    return table


def speed_in_words(node: Node) -> str:
    """How fast data goes there and comes back."""
    if node["speed_age_s"] is None:
        return "not measured"
    there, back = size(node["to_bytes_per_s"]), size(node["from_bytes_per_s"])
    return clean(f"{there}/s there, {back}/s back{_age(node['speed_age_s'])}")


def _state(node: Node) -> str:
    if node["is_self"]:
        return "this one"
    return f"{node['state']}{', trusted' if node['is_trusted'] else ''}"


def _latency(node: Node) -> str:
    return NOTHING if node["is_self"] or node["latency_s"] is None else f"{node['latency_s'] * 1000:.1f} ms"


def _gpus(gpus: Sequence[Node]) -> str:
    counts = Counter(str(gpu["model"] or "unknown") for gpu in gpus)
    return ", ".join(f"{count} x {model}" for model, count in counts.items()) or NOTHING


def _gpu(gpu: Node) -> str:
    parts = {
        "": gpu["model"],
        " used": f"{_mib(gpu['memory_used_mib'])} of {_mib(gpu['memory_mib'])}",
        " % busy": gpu["utilisation_percent"],
        " °C": gpu["temperature_c"],
        " MHz": gpu["sm_clock_mhz"],
        " MHz memory": gpu["memory_clock_mhz"],
        " % fan": gpu["fan_percent"],
    }
    told = [f"{value}{unit}" for unit, value in parts.items() if value is not None]
    return ", ".join([*told, "free" if gpu["free"] else "taken"])


def _said(value: object) -> str:
    return NOTHING if value is None else str(value)


def _mib(value: float | None) -> str:
    return size(None if value is None else value * MIB)


def _span(seconds: float | None) -> str:
    return NOTHING if seconds is None else span(seconds)


def _age(seconds: float | None) -> str:
    return "" if seconds is None else f" ({span(seconds)} ago)"
