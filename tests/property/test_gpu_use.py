"""Who explains a process on a GPU: nobody is called a stranger who may be a job, and no stranger goes unseen."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dopq.gpu_use import By, Use, explain, past_the_queue
from dopq.job import GpuId, JobId
from dopq.utils.gpu import GpuProcess
from dopq.utils.processes import Origin

GPUS = [GpuId(f"GPU-{number}") for number in range(3)]
IDS = ["a" * 64, "b" * 64, "c" * 64]
ONE, TWO = JobId(1), JobId(2)

gpus = st.sampled_from(GPUS)
processes = st.builds(GpuProcess, st.integers(1, 4), st.none() | st.integers(0, 2**34))
origins = st.builds(Origin, st.none() | st.frozensets(st.sampled_from(IDS), max_size=2), st.none() | st.just("eve"))
containers = st.dictionaries(st.sampled_from(IDS), st.sampled_from([None, ONE, TWO]), min_size=3)
leases = st.dictionaries(st.sampled_from([ONE, TWO]), st.frozensets(gpus, max_size=2))


@given(gpus, processes, origins, containers, leases)
def test_a_stranger_is_nobody_whose_container_is_a_jobs(
    gpu: GpuId,
    process: GpuProcess,
    origin: Origin,
    containers: dict[str, JobId | None],
    leases: dict[JobId, frozenset[GpuId]],
) -> None:
    use = explain(gpu, process, origin, containers, leases)
    if origin.containers is None:
        assert use.by is By.UNKNOWN
    else:
        assert (use.by is By.STRANGER) == all(containers[it] is None for it in origin.containers)


@given(gpus, processes, origins, containers, leases, st.frozensets(st.sampled_from([ONE, TWO])))
def test_a_trespasser_is_a_job_that_holds_other_gpus_or_has_outlived_its_lease(
    gpu: GpuId,
    process: GpuProcess,
    origin: Origin,
    containers: dict[str, JobId | None],
    leases: dict[JobId, frozenset[GpuId]],
    outlived: frozenset[JobId],
) -> None:
    use = explain(gpu, process, origin, containers, leases, outlived)
    if use.by is By.TRESPASSER:
        assert use.job is not None
        assert gpu not in leases.get(use.job, set())
        assert use.job in leases or use.job in outlived
    if use.by is By.JOB:
        assert use.job is not None
        assert gpu in leases[use.job] if use.job in leases else use.job not in outlived, "held a moment ago, or still"


@given(gpus, processes, origins, leases)
def test_while_the_engine_is_away_nobody_in_a_container_is_judged(
    gpu: GpuId, process: GpuProcess, origin: Origin, leases: dict[JobId, frozenset[GpuId]]
) -> None:
    use = explain(gpu, process, origin, None, leases)
    assert use.by is (By.STRANGER if origin.containers == frozenset() else By.UNKNOWN)


uses = st.lists(st.builds(Use, gpus, processes, st.sampled_from(By)), max_size=6)


@given(uses, uses, leases)
def test_a_gpu_is_foreign_for_whom_no_lease_explains_and_for_nobody_else(
    now: list[Use], before: list[Use], leases: dict[JobId, frozenset[GpuId]]
) -> None:
    foreign = past_the_queue(now, before, leases)
    for gpu in GPUS:
        here = [use for use in now if use.gpu == gpu]
        certain = any(use.by in {By.STRANGER, By.TRESPASSER} for use in here)
        assert not certain or gpu in foreign
        assert gpu not in foreign or any(use.by is not By.JOB for use in here)


@given(uses, leases)
def test_what_nobody_can_tell_is_foreign_only_on_a_free_gpu_and_at_the_second_look(
    now: list[Use], leases: dict[JobId, frozenset[GpuId]]
) -> None:
    unknown = [use for use in now if use.by is By.UNKNOWN]
    free = {use.gpu for use in unknown} - frozenset().union(*leases.values())
    assert past_the_queue(unknown, [], leases) == {}
    assert past_the_queue(unknown, unknown, leases).keys() == free


def test_the_reason_names_process_owner_and_memory() -> None:
    eve = Use(GPUS[0], GpuProcess(4711, 2 * 2**30), By.STRANGER, user="eve")
    job = Use(GPUS[0], GpuProcess(12), By.TRESPASSER, ONE, "nobody")
    reason = past_the_queue([eve, job], [], {})[GPUS[0]]
    assert reason.code == "gpu_foreign"
    assert reason.sentence == (
        "GPU GPU-0 is used past the queue: process 12 of job 1, which does not hold it, process 4711 of eve (2 GiB)."
    )
