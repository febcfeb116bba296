"""How much has to stay free, and the words for it."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from dopq.disk import Floor, shortage
from dopq.utils.cpu import Disk

GIB = 2**30
STATE, DOCKER = Path("/state"), Path("/var/lib/docker")


def probe(**free: int | None) -> dict[Path, Disk]:
    return {
        STATE: Disk(STATE, 100 * GIB, free["state"], None if free["state"] is not None else "gone"),
        DOCKER: Disk(DOCKER, 500 * GIB, free["docker"]),
    }


def test_each_disk_is_held_to_the_floor() -> None:
    disks = probe(state=50 * GIB, docker=int(3.1 * GIB))
    reason = shortage([STATE, DOCKER], Floor(10 * GIB, 0), disks.__getitem__)
    assert reason is not None
    assert reason.code == "waiting_for_space"
    assert reason.sentence == "Waiting for space: 3.1 GiB free at /var/lib/docker, needs 10.0 GiB."


def test_a_percentage_counts_where_it_is_more() -> None:
    disks = probe(state=12 * GIB, docker=30 * GIB)
    assert shortage([STATE, DOCKER], Floor(10 * GIB, 5), disks.__getitem__) is None
    low = shortage([STATE, DOCKER], Floor(10 * GIB, 10), disks.__getitem__)
    assert low is not None
    assert "at /var/lib/docker, needs 50.0 GiB" in low.sentence


def test_what_is_about_to_be_written_counts_too() -> None:
    disks = probe(state=12 * GIB, docker=500 * GIB)
    assert shortage([STATE], Floor(10 * GIB, 0), disks.__getitem__, 2 * GIB) is None
    assert shortage([STATE], Floor(10 * GIB, 0), disks.__getitem__, 2 * GIB + 1) is not None


def test_a_disk_that_cannot_be_looked_at_is_not_low() -> None:
    assert shortage([STATE], Floor(10 * GIB, 0), probe(state=None, docker=0).__getitem__) is None


@given(free=st.integers(0, 100 * GIB), floor=st.integers(0, 100 * GIB), percent=st.floats(0, 99))
def test_more_space_never_makes_anything_wait(free: int, floor: int, percent: float) -> None:
    def low(bytes_free: int) -> bool:
        return shortage([STATE], Floor(floor, percent), lambda f: Disk(f, 100 * GIB, bytes_free)) is not None

    assert low(free) or not low(free + 1)
