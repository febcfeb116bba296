"""How much space has to stay free, and the reason to wait where it does not. Pure but for the probe."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from dopq.job import Reason
from dopq.utils.cpu import Disk

DiskProbe = Callable[[Path], Disk]
"""Looks at the disk that holds a folder; `dopq.utils.cpu.disk` is the real one."""


@dataclass(frozen=True, slots=True)
class Floor:
    """What has to stay free on each disk: `size_bytes` or `percent` of it, whichever is more."""

    size_bytes: int
    percent: float

    @property
    def of_starts(self) -> Floor:
        """The floor below which no job is started: lower, since what is built already mostly needs little."""
        return Floor(self.size_bytes // 10, self.percent / 10)

    def of(self, disk: Disk) -> int:
        """Bytes that have to stay free on this disk."""
        return max(self.size_bytes, int((disk.total_bytes or 0) * self.percent / 100))


def shortage(folders: Iterable[Path], floor: Floor, probe: DiskProbe, more_bytes: int = 0) -> Reason | None:
    """Why to wait for space before `more_bytes` are written; None when every disk has it.

    A disk that cannot be looked at is not low: whoever writes to it learns what is wrong.
    """
    for folder in folders:
        disk = probe(folder)
        if disk.free_bytes is not None and disk.free_bytes < floor.of(disk) + more_bytes:
            free, needed = _gib(disk.free_bytes), _gib(floor.of(disk) + more_bytes)
            return Reason("waiting_for_space", f"Waiting for space: {free} free at {folder}, needs {needed}.")
    return None


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
