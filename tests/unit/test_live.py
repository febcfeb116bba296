"""What a running job takes at the moment: worked out, told, and to whom."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dopq.container_handler.engine import Sample
from dopq.job import GpuId
from dopq.live import Load, live_to_wire, load_between
from dopq.utils.gpu import Gpu, GpuProcess, GpuSurvey
from tests.in_memory_node import InMemoryNode

GPU = Gpu("GPU-1", index=0, model="A100", utilisation_percent=97, memory_used_bytes=3, memory_total_bytes=8)
LIVE = {"cpu_cores": 1.5, "memory_bytes": 5, "gpus": [{"uuid": "GPU-1", "utilisation_percent": 97}]}


@pytest.fixture
def node(tmp_path: Path) -> Iterator[InMemoryNode]:
    node = InMemoryNode(tmp_path)
    yield node
    node.close()


def test_two_samples_tell_how_many_cores_were_busy_between_them() -> None:
    assert load_between(Sample(10.0, 4, 9), Sample(13.0, 5, 9), 2.0) == Load(1.5, 5)


@pytest.mark.parametrize(("before", "now"), [(Sample(), Sample(3.0)), (Sample(3.0), Sample())])
def test_no_cores_are_told_where_they_are_not_known(before: Sample, now: Sample) -> None:
    assert load_between(before, now, 1.0).cpu_cores is None


def test_a_container_that_was_made_anew_is_not_less_than_idle() -> None:
    assert load_between(Sample(10.0), Sample(1.0), 1.0).cpu_cores == 0.0


def test_live_figures_are_of_the_jobs_own_gpus_alone() -> None:
    other = Gpu("GPU-2", index=1, processes=(GpuProcess(1),))
    live = live_to_wire(Load(1.5, 5), GpuSurvey((GPU, other)), frozenset({GpuId("GPU-1")}))
    assert (live["cpu_cores"], live["memory_bytes"]) == (1.5, 5)
    assert live["gpus"] == [
        {
            "uuid": "GPU-1",
            "index": 0,
            "utilisation_percent": 97,
            "memory_used_bytes": 3,
            "memory_total_bytes": 8,
        }
    ]


def test_what_nobody_could_read_is_none() -> None:
    lost = frozenset({GpuId("GPU-9")})
    assert live_to_wire(None, GpuSurvey((GPU,)), lost) == {"cpu_cores": None, "memory_bytes": None, "gpus": []}


@pytest.mark.parametrize(("who", "cores", "memory"), [("anna", 1.5, 5), ("olga", 1.5, 5), ("bert", None, None)])
def test_of_others_jobs_only_what_their_gpus_do_is_told(
    node: InMemoryNode, who: str, cores: float | None, memory: int | None
) -> None:
    job = node.running("anna")
    node.live = {int(job.id): LIVE}
    [told] = node.link(node.tokens[who]).call("get_running_containers_info")
    assert told["live"] == {"cpu_cores": cores, "memory_bytes": memory, "gpus": LIVE["gpus"]}


def test_a_job_without_live_figures_has_none(node: InMemoryNode) -> None:
    node.running("anna")
    link = node.link(node.tokens["bert"])
    [told] = link.call("get_running_containers_info")
    assert told["live"] is None
    assert link.call("get_job", "1")["live"] is None
