"""What jobs do with their GPUs: idleness needs proof at every look, and nobody answers for a neighbour."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from dopq.gpu_conduct import idle, idle_since, overruns
from dopq.gpu_use import By, Use
from dopq.job import GpuId, JobId, Lease
from dopq.utils.gpu import GpuProcess

START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
GPUS = [GpuId(f"GPU-{number}") for number in range(3)]
GIB = 2**30
readings = st.lists(
    st.dictionaries(st.sampled_from(GPUS), st.sampled_from([None, 0, 0, 0, 1, 99])), min_size=1, max_size=8
)


def lease(*gpus: GpuId, part: float = 1.0) -> Lease:
    return Lease(1, frozenset(gpus), START, None, part)


def at(number: int) -> datetime:
    return START + timedelta(minutes=number)


@given(readings, st.frozensets(st.sampled_from(GPUS)), st.integers(0, 8))
def test_a_job_is_idle_since_the_first_look_after_which_all_its_gpus_stood_still(
    looks: list[dict[GpuId, int | None]], held: frozenset[GpuId], began: int
) -> None:
    since: dict[GpuId, datetime] = {}
    for number, look in enumerate(looks):
        since = idle_since(since, look, at(number))
    found = idle(lease(*held), since, at(began))
    if found is None:
        assert not held or any(looks[-1].get(gpu) != 0 for gpu in held)
    else:
        assert held
        assert found >= at(began)
        for number, look in enumerate(looks):
            assert at(number) < found or all(look.get(gpu) == 0 for gpu in held)


takes = st.lists(
    st.builds(
        Use,
        st.sampled_from(GPUS),
        st.builds(GpuProcess, st.integers(1, 99), st.none() | st.integers(0, 16 * GIB)),
        st.sampled_from(By),
        st.sampled_from([None, JobId(1), JobId(2), JobId(3)]),
    ),
    max_size=8,
)
parts = st.dictionaries(st.sampled_from([JobId(1), JobId(2)]), st.sampled_from([0.25, 0.5, 1.0]))


@given(takes, parts)
def test_whoever_overruns_took_more_than_its_part_itself(uses: list[Use], parts: dict[JobId, float]) -> None:
    leases = {job: lease(GPUS[0], part=part) for job, part in parts.items()}
    found = overruns(leases, uses, {GPUS[0]: 16 * GIB})
    for job, part in parts.items():
        own = [use for use in uses if use.by is By.JOB and use.job == job and use.gpu == GPUS[0]]
        taken = sum(use.process.memory_bytes or 0 for use in own)
        assert (job in found) == (part < 1 and taken > part * 16 * GIB)
    assert found.keys() <= parts.keys()


def test_of_a_gpu_whose_memory_nobody_can_read_nothing_is_held_against_anybody() -> None:
    uses = [Use(GPUS[0], GpuProcess(1, 99 * GIB), By.JOB, JobId(1))]
    assert overruns({JobId(1): lease(GPUS[0], part=0.5)}, uses, {}) == {}
