"""How each GPU of a node is, from one look to the next. Pure.

A GPU that does not answer is handed out no more from that look on; only the second look without it makes it lost, and
its job with it. A lost one has to answer twice before it is handed out again. A hardware Xid stays with a GPU until it
has been lost and come back (its driver began it anew), the machine was started anew, or an admin calls it healed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime

from dopq.job import GpuId, Reason
from dopq.xids import HARDWARE

LOST = 2
"""So many looks in a row without an answer make a GPU lost."""

BACK = 2
"""So many looks in a row with one bring it back."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A hardware Xid, and when it was reported."""

    xid: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Health:
    """How one GPU is.

    Attributes:
        absent: looks in a row at which it did not answer, at most `LOST`; stays while it comes back.
        back: looks in a row at which it has answered since it was lost.
    """

    model: str | None = None
    absent: int = 0
    back: int = 0
    fault: Fault | None = None

    @property
    def is_broken(self) -> bool:
        """Whether a job that holds it cannot go on."""
        return self.fault is not None or (self.absent >= LOST and not self.back)

    def trouble(self, gpu: GpuId) -> Reason | None:
        """Why it is not handed out; None where nothing is wrong with it."""
        if self.fault is not None:
            meaning = HARDWARE[self.fault.xid]
            return Reason("gpu_fault", f"GPU {gpu} had a hardware fault (Xid {self.fault.xid}): {meaning}.")
        if self.absent:
            return Reason("gpu_lost", f"GPU {gpu} does not answer any more.")
        return None


Known = Mapping[GpuId, Health]
"""Every GPU that the node has, those that do not answer included."""


def looked(health: Health, *, answers: bool, fault: Fault | None = None) -> Health:
    """How a GPU is after one more look, at which it answered or not, and perhaps reported a fault."""
    fault = fault or health.fault
    if not answers:
        return replace(health, absent=min(health.absent + 1, LOST), back=0, fault=fault)
    if health.absent < LOST:
        return replace(health, absent=0, fault=fault)
    if health.back + 1 < BACK:
        return replace(health, back=health.back + 1, fault=fault)
    newer = fault if fault is not health.fault else None
    return replace(health, absent=0, back=0, fault=newer)


def after_look(
    known: Known,
    seen: Mapping[GpuId, str | None],
    xids: Iterable[tuple[GpuId, int]],
    now: datetime,
    *,
    first_of_boot: bool = False,
) -> dict[GpuId, Health]:
    """How all GPUs are after a look that saw these, by model.

    `first_of_boot`: nothing was seen since the machine was started. It had its chance to mend what was wrong, and what
    does not answer is taken to have been removed.
    """
    faults = {gpu: Fault(xid, now) for gpu, xid in xids if xid in HARDWARE}
    before = {gpu: Health() for gpu in seen} if first_of_boot else {**{gpu: Health() for gpu in seen}, **known}
    after = {gpu: looked(health, answers=gpu in seen, fault=faults.get(gpu)) for gpu, health in before.items()}
    return {gpu: replace(health, model=seen.get(gpu, health.model)) for gpu, health in after.items()}


def healed(known: Known, words: Mapping[GpuId, datetime]) -> dict[GpuId, Health]:
    """The same without the faults that are older than an admin's word."""
    return {
        gpu: replace(health, fault=None) if health.fault and gpu in words and words[gpu] >= health.fault.at else health
        for gpu, health in known.items()
    }


def to_json(known: Known) -> str:
    """As the journal notes it."""
    return json.dumps({gpu: asdict(health) for gpu, health in known.items()}, default=datetime.isoformat)


def from_json(text: str) -> dict[GpuId, Health]:
    """What `to_json` wrote."""
    return {GpuId(gpu): _health(**said) for gpu, said in json.loads(text).items()}


def _health(model: str | None, absent: int, back: int, fault: Mapping[str, str] | None) -> Health:
    reported = Fault(int(fault["xid"]), datetime.fromisoformat(fault["at"])) if fault else None
    return Health(model, absent, back, reported)
