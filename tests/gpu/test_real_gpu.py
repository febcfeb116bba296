"""On a machine with an NVIDIA GPU: NVML is read, and a job gets a lease on the GPU. Skipped, and said so, elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields
from pathlib import Path

import pytest

from dopq.gpu_watch import GpuWatch
from dopq.job import GpuId, Job, StateName, gpus_held
from dopq.room import Capacity
from dopq.scheduler import Scheduler
from dopq.utils.gpu import Gpu, GpuSurvey
from dopq.utils.gpu_probe import NvmlGpus
from tests.platforms import Home
from tests.waiting import wait_until

pytestmark = pytest.mark.gpu

FIRST_LOOK_S = 60.0  # the first call after boot loads the driver


@pytest.fixture(scope="module")
def survey() -> GpuSurvey:
    with closing(NvmlGpus(deadline_s=FIRST_LOOK_S)) as probe:
        seen = probe.survey()
    if not seen.gpus:
        pytest.skip(f"no NVIDIA GPU answers on this machine: {seen.reason}")
    return seen


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path)
    yield home
    home.close()


def test_every_figure_of_a_real_gpu_is_a_value_or_has_a_reason(survey: GpuSurvey) -> None:
    assert survey.driver
    for gpu in survey.gpus:
        assert gpu.uuid.startswith("GPU-")
        assert gpu.memory_total_bytes is None or gpu.memory_total_bytes > 2**30
        assert gpu.temperature_c is None or 0 < gpu.temperature_c < 120
        absent = {field.name for field in fields(Gpu) if getattr(gpu, field.name) is None}
        assert absent == gpu.missing.keys() - {"xids"}


def test_a_job_gets_a_lease_on_a_real_gpu_and_the_next_one_waits_for_it(survey: GpuSurvey, home: Home) -> None:
    watch = GpuWatch(NvmlGpus(deadline_s=FIRST_LOOK_S), home.journal, home.clock, "all")
    watch.start(FIRST_LOOK_S)
    carried: list[Job] = []
    scheduler = Scheduler(home.platform, watch.offer, carried.append, home.settings, Capacity(places=99), home.clock)
    scheduler.start()
    try:
        first = home.queued(gpus=len(survey.gpus))
        wait_until(lambda: carried, 10.0)
        assert gpus_held(carried[0].state) == {GpuId(gpu.uuid) for gpu in survey.gpus}
        second = home.queued(gpus=1)
        wait_until(lambda: home.platform.describe([second])[0]["reason"]["code"] == "waits_for_gpus", 10.0)
        assert home.platform.job(first.id).state.name is StateName.STARTING
    finally:
        scheduler.stop(5.0)
        watch.stop(5.0)
