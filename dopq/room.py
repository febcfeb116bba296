"""What a node has to give: GPUs, slots of GPUs, places, cores and memory; and what of it is free.

Pure. A GPU is handed out whole, or in `slots_per_gpu` equal slots; a job gets whole GPUs, or slots of one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from heapq import nsmallest
from typing import NamedTuple, Self

from dopq.job import GpuId, Reason

ROUNDING = 1e-6
"""Cores, and parts of GPUs, are sums of fractions that no float holds exactly: three tenths are not three times one."""


class Demand(NamedTuple):
    """What a job asks for.

    Attributes:
        gpus: whole GPUs; 0 for a job that runs on the CPU alone, or takes slots.
        slots: slots of one GPU instead of whole GPUs; 0 for none.
        cpus: cores that it is limited to; 0 where it named no limit, which reserves nothing.
        memory_bytes: main memory that it is limited to; 0 as above.
    """

    gpus: int = 0
    slots: int = 0
    cpus: float = 0.0
    memory_bytes: int = 0

    @property
    def needs_gpu(self) -> bool:
        """Whether it waits for GPUs; others never do."""
        return self.gpus > 0 or self.slots > 0


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a node may hand out at all.

    Attributes:
        places: how many jobs may occupy the node at once.
        withheld: those of the GPUs that nobody gets at present, and why: they are sick, or used by others.
        cpus, memory_bytes: infinite where the node does not count them.
        weights: what a second of a GPU counts in usage; 1 for those that are not in it.
    """

    gpus: frozenset[GpuId] = frozenset()
    slots_per_gpu: int = 1
    places: int = 1
    cpus: float = float("inf")
    memory_bytes: float = float("inf")
    weights: Mapping[GpuId, float] = field(default_factory=dict)
    withheld: Mapping[GpuId, Reason] = field(default_factory=dict)

    def whole(self) -> Capacity:
        """The same with all its GPUs handed out."""
        return replace(self, withheld={})

    def part(self, demand: Demand) -> float:
        """How much a job of that demand holds of each of its GPUs, 1 for whole ones."""
        return demand.slots / self.slots_per_gpu if demand.slots else 1.0

    def weighed(self, demand: Demand, gpus: Iterable[GpuId]) -> float:
        """As how many GPUs these count in the usage of a job of that demand."""
        return self.part(demand) * sum(self.weights.get(gpu, 1.0) for gpu in gpus)


class Room:
    """What is free of a capacity. Deterministic: the same calls choose the same GPUs."""

    def __init__(self, capacity: Capacity) -> None:
        self._slots_per_gpu = capacity.slots_per_gpu
        self._known = capacity.gpus - capacity.withheld.keys()
        self._whole = set(self._known)
        self._in_parts: dict[GpuId, int] = {}  # slots that are free of a GPU, where not all of them are
        self.places = capacity.places
        self.cpus = capacity.cpus
        self.memory_bytes = capacity.memory_bytes

    def copy(self) -> Self:
        """Another room with as much in it."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._whole = self._whole.copy()
        other._in_parts = self._in_parts.copy()
        return other

    @property
    def free_gpus(self) -> int:
        """GPUs that are wholly free."""
        return len(self._whole)

    @property
    def free_slots(self) -> int:
        """The most slots that are free of any one GPU."""
        return self._slots_per_gpu if self._whole else max(self._in_parts.values(), default=0)

    def fits(self, demand: Demand) -> bool:
        """Whether a job of that demand may start now."""
        return (
            demand.gpus <= len(self._whole)
            and self.places > 0
            and demand.cpus <= self.cpus + ROUNDING
            and demand.memory_bytes <= self.memory_bytes
            and (not demand.slots or demand.slots <= self.free_slots)
        )

    def choose(self, demand: Demand) -> frozenset[GpuId]:
        """The GPUs that a job which fits would get: the first of `choices`."""
        return next(self.choices(demand))

    def choices(self, demand: Demand) -> Iterator[frozenset[GpuId]]:
        """The GPUs that a job which fits might get, best first; those that differ in nothing but their name once.

        Whole GPUs are all alike. Of slots, those of the fullest GPU go first, so that GPUs stay whole.
        """
        if not demand.slots:
            yield frozenset(nsmallest(demand.gpus, self._whole))
            return
        for _, gpu in sorted((free, gpu) for gpu, free in self._in_parts.items() if free >= demand.slots):
            yield frozenset({gpu})
        if self._whole:
            yield frozenset({min(self._whole)})

    def take(self, demand: Demand, gpus: Iterable[GpuId]) -> None:
        """A job of that demand occupies these GPUs; those that it does not hand out (any more) count for nothing."""
        self._occupy(demand, gpus, 1)

    def give_back(self, demand: Demand, gpus: Iterable[GpuId]) -> None:
        """It has ended."""
        self._occupy(demand, gpus, -1)

    def _occupy(self, demand: Demand, gpus: Iterable[GpuId], sign: int) -> None:
        self.places -= sign
        self.cpus -= sign * demand.cpus
        self.memory_bytes -= sign * demand.memory_bytes
        for gpu in gpus:
            if gpu in self._known:
                self._set_free(gpu, self._free_of(gpu) - sign * (demand.slots or self._slots_per_gpu))

    def _free_of(self, gpu: GpuId) -> int:
        return self._in_parts.get(gpu, self._slots_per_gpu)

    def _set_free(self, gpu: GpuId, slots: int) -> None:
        was_whole = gpu not in self._in_parts
        if slots == self._slots_per_gpu:
            if not was_whole:
                del self._in_parts[gpu]
                self._whole.add(gpu)
        else:
            self._in_parts[gpu] = slots
            if was_whole:
                self._whole.remove(gpu)
