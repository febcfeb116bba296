"""What a node has to give: whole GPUs, slots, places, cores, memory."""

from __future__ import annotations

import pytest

from dopq.job import GpuId
from dopq.room import Capacity, Demand, Room
from tests.queues import gpus

G0, G1, G2 = sorted(gpus(3))
ROOMY = Capacity(gpus(3), slots_per_gpu=4, places=9, cpus=8.0, memory_bytes=100)


@pytest.mark.parametrize(
    ("demand", "fits"),
    [
        (Demand(3), True),
        (Demand(4), False),
        (Demand(slots=4), True),
        (Demand(slots=5), False),
        (Demand(cpus=8.0), True),
        (Demand(cpus=8.1), False),
        (Demand(memory_bytes=100), True),
        (Demand(memory_bytes=101), False),
        (Demand(), True),
    ],
)
def test_a_job_fits_when_there_is_enough_of_everything_that_it_asks_for(demand: Demand, fits: bool) -> None:
    assert Room(ROOMY).fits(demand) is fits


def test_nothing_fits_where_all_places_are_taken() -> None:
    room = Room(Capacity(places=1))
    room.take(Demand(), ())
    assert not room.fits(Demand())


def test_a_job_without_gpus_fits_where_all_gpus_are_taken() -> None:
    room = Room(ROOMY)
    room.take(Demand(3), gpus(3))
    assert room.fits(Demand(cpus=1.0))
    assert not room.fits(Demand(1))
    assert not room.fits(Demand(slots=1))


def test_a_gpu_of_which_a_slot_is_taken_is_not_whole() -> None:
    room = Room(ROOMY)
    room.take(Demand(slots=1), {G0})
    assert (room.free_gpus, room.free_slots) == (2, 4)
    room.take(Demand(2), {G1, G2})
    assert (room.free_gpus, room.free_slots) == (0, 3)
    assert not room.fits(Demand(1))
    assert room.fits(Demand(slots=3))
    assert not room.fits(Demand(slots=4))


def test_slots_of_two_gpus_do_not_make_room_for_a_job_that_needs_them_on_one() -> None:
    room = Room(Capacity(gpus(2), slots_per_gpu=2, places=9))
    for gpu in (G0, G1):
        room.take(Demand(slots=1), {gpu})
    assert room.free_slots == 1
    assert not room.fits(Demand(slots=2))


def test_slots_are_taken_of_the_fullest_gpu_that_has_enough_and_a_whole_one_comes_last() -> None:
    room = Room(ROOMY)
    room.take(Demand(slots=3), {G1})
    room.take(Demand(slots=2), {G2})
    assert list(room.choices(Demand(slots=1))) == [{G1}, {G2}, {G0}]
    assert list(room.choices(Demand(slots=2))) == [{G2}, {G0}]
    assert list(room.choices(Demand(slots=4))) == [{G0}]
    assert room.choose(Demand(slots=1)) == {G1}


def test_whole_gpus_are_all_alike() -> None:
    assert list(Room(ROOMY).choices(Demand(2))) == [{G0, G1}]
    assert list(Room(ROOMY).choices(Demand())) == [frozenset()]


@pytest.mark.parametrize("demand", [Demand(2, 0, 0.7, 9), Demand(slots=3, cpus=0.1), Demand(slots=4), Demand()])
def test_what_is_given_back_is_as_if_it_had_never_been_taken(demand: Demand) -> None:
    room = Room(ROOMY)
    on = room.choose(demand)
    room.take(demand, on)
    room.give_back(demand, on)
    assert (room.free_gpus, room.free_slots, room.places, room.memory_bytes) == (3, 4, 9, 100)
    assert room.choose(Demand(3)) == gpus(3)
    assert room.fits(Demand(3, cpus=8.0))


def test_tenths_of_cores_add_up() -> None:
    room = Room(Capacity(places=9, cpus=0.3))
    room.take(Demand(cpus=0.1), ())
    assert room.fits(Demand(cpus=0.2))
    assert not room.fits(Demand(cpus=0.21))


def test_a_gpu_that_the_node_has_lost_is_neither_free_nor_given_back() -> None:
    lost = GpuId("GPU-lost")
    room = Room(ROOMY)
    room.take(Demand(1, memory_bytes=60), {lost})
    assert (room.free_gpus, room.places, room.memory_bytes) == (3, 8, 40)
    room.give_back(Demand(1, memory_bytes=60), {lost})
    assert room.choose(Demand(3)) == gpus(3)


def test_a_copy_goes_its_own_way() -> None:
    room = Room(ROOMY)
    room.take(Demand(slots=1), {G0})
    other = room.copy()
    other.take(Demand(slots=3), {G0})
    other.take(Demand(1, memory_bytes=1), {G1})
    assert (room.free_gpus, room.free_slots, room.places, room.memory_bytes) == (2, 4, 8, 100)
    room.give_back(Demand(slots=1), {G0})
    assert (other.free_gpus, room.free_gpus) == (1, 3)
