"""Which GPUs a node has, and which of them nobody gets at present. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dopq.gpu_health import Known
from dopq.job import GpuId, Reason

FRESH_S = 30.0
"""A GPU of whose health nothing has been heard for so long is given to nobody until it answers."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What there is to hand out.

    Attributes:
        models: every GPU of the node, also those that do not answer.
        withheld: those that are not handed out, and why.
        broken: those of them with which no job can go on, and why.
    """

    models: Mapping[GpuId, str | None] = field(default_factory=dict)
    withheld: Mapping[GpuId, Reason] = field(default_factory=dict)
    broken: Mapping[GpuId, Reason] = field(default_factory=dict)


def offer(
    known: Known,
    parted: frozenset[GpuId],
    foreign: Mapping[GpuId, Reason],
    silent_s: float,
    silence: str | None,
) -> Offer:
    """What there is to hand out now.

    Args:
        parted: GPUs in MIG mode.
        foreign: GPUs that somebody uses past the queue.
        silent_s: seconds since the last good look; `silence`: why there was none since.
    """
    troubles = {gpu: trouble for gpu, health in known.items() if (trouble := health.trouble(gpu))}
    withheld = {**{gpu: _parted(gpu) for gpu in parted}, **foreign}
    if silent_s > FRESH_S:
        withheld |= dict.fromkeys(known, _unknown(silent_s, silence))
    withheld |= troubles
    return Offer(
        {gpu: health.model for gpu, health in known.items()},
        {gpu: reason for gpu, reason in withheld.items() if gpu in known},
        {gpu: reason for gpu, reason in troubles.items() if known[gpu].is_broken},
    )


def _parted(gpu: GpuId) -> Reason:
    sentence = f"GPU {gpu} is in MIG mode; its instances are not handed out (`nvidia-smi -mig 0` makes it whole)."
    return Reason("gpu_parted", sentence)


def _unknown(silent_s: float, silence: str | None) -> Reason:
    since = "since the node started" if silent_s == float("inf") else f"for {silent_s:.0f} s"
    why = f" ({silence})" if silence else ""
    return Reason("gpu_unknown", f"Nothing has been heard of the GPUs {since}{why}.")
