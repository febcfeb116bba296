"""Slots: a part of one GPU, on nodes that part their GPUs (`gpu.slots_per_gpu`)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from dopq.job import JobSpec, Problem


class SlotsAsked(NamedTuple):
    """What a spec says of GPUs and slots, unchecked; None where it says nothing.

    Attributes:
        key: how the spec spells slots.
    """

    key: str
    gpus: Any
    slots: Any


def slots_problems(file: str, asked: SlotsAsked, slots_per_gpu: int) -> list[Problem]:
    """Why such slots cannot be had. What is no whole number is left to the check of types."""
    if type(asked.slots) is not int:
        return []
    where, slots = f"{file}: {asked.key}", "1 slot was" if asked.slots == 1 else f"{asked.slots} slots were"
    if slots_per_gpu == 1 and asked.slots != 1:
        return [Problem(where, f"{slots} asked for; this node hands out whole GPUs only", "Write 1, or leave it out.")]
    if not 1 <= asked.slots <= slots_per_gpu:
        what = f"{slots} asked for; a GPU of this node has {slots_per_gpu}"
        return [Problem(where, what, f"Write 1 to {slots_per_gpu}, or leave it out for whole GPUs.")]
    if asked.slots < slots_per_gpu and type(asked.gpus) is int and asked.gpus != 1:
        what = f"{slots} asked for, and {asked.gpus} GPUs; slots are those of one GPU"
        return [Problem(where, what, "Ask for one GPU, or leave the slots out.")]
    return []


def in_slots(spec: JobSpec, asked: SlotsAsked, slots_per_gpu: int) -> JobSpec:
    """The spec with the slots that were asked for, which are all right. All slots of a GPU are the whole GPU."""
    if asked.slots is None or slots_per_gpu == 1:
        return spec
    gpus = 1 if asked.gpus is None else spec.gpus
    return replace(spec, gpus=gpus, slots=asked.slots if asked.slots < slots_per_gpu else None)
