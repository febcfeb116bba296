"""Our values in Docker's JSON, and what Docker's JSON means to us."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from dopq.container_handler.docker_json import container_body, instant, observation, sample
from dopq.container_handler.docker_words import is_transient, plain_words
from dopq.container_handler.engine import (
    Absent,
    Alive,
    ContainerName,
    ContainerRequest,
    Created,
    Exited,
    Observation,
    Sample,
)
from dopq.job import GpuId, ImageId, Mount
from dopq.utils.gpu_probe import SimulatedGpus

GO_ZERO_TIME = "0001-01-01T00:00:00Z"
MADE = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
BEGAN = datetime(2026, 1, 5, 9, 1, 2, 264976, tzinfo=UTC)
ENDED = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)


def body(**settings: Any) -> dict[str, Any]:
    request = ContainerRequest(name=ContainerName("dopq-1-1"), image=ImageId("sha256:1"), labels={"a": "b"}, **settings)
    return container_body(request)


REMOVED = ["CUDA_VISIBLE_DEVICES", "LD_PRELOAD", "LD_AUDIT"]  # without "=": not to be in the environment at all


def test_every_container_is_hardened_whatever_was_asked() -> None:
    host = body()["HostConfig"]
    assert host["Init"] is True
    assert host["RestartPolicy"] == {"Name": "no"}
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["CapDrop"] == ["ALL"]
    assert host["Runtime"] == "runc"
    assert host["NetworkMode"] == "none"
    assert not {"Privileged", "CapAdd", "Binds", "Devices", "PidMode", "IpcMode", "UsernsMode"} & host.keys()
    assert body()["Healthcheck"] == {"Test": ["NONE"]}


def test_an_operators_own_log_options_reach_no_job() -> None:
    # dockerd fills in what we leave out; seen on 20.10 with max-size=10k: 218 of 3,000 lines were left
    options = body()["HostConfig"]["LogConfig"]["Config"]
    assert options == {"max-size": "1000p", "max-file": "1", "compress": "false", "mode": "blocking"}


def test_gpus_are_asked_for_by_uuid_and_a_job_cannot_see_others() -> None:
    wanted = body(gpus=frozenset({GpuId("GPU-b"), GpuId("GPU-a")}), environment={"NVIDIA_VISIBLE_DEVICES": "all"})
    assert wanted["HostConfig"]["DeviceRequests"] == [{"DeviceIDs": ["GPU-a", "GPU-b"], "Capabilities": [["gpu"]]}]
    assert wanted["Env"] == ["NVIDIA_VISIBLE_DEVICES=GPU-a,GPU-b", "CUDA_DEVICE_ORDER=PCI_BUS_ID", *REMOVED]
    assert "Runtime" not in wanted["HostConfig"], "the engine chooses the one that hands out GPUs"


def test_simulated_gpus_are_told_to_the_job_and_not_asked_of_the_engine() -> None:
    """No engine has them: it would not start the container, and a queue without GPUs could not be tried out."""
    on_paper = frozenset(GpuId(gpu.uuid) for gpu in SimulatedGpus(2).survey().gpus)
    wanted = body(gpus=on_paper)
    assert wanted["HostConfig"]["DeviceRequests"] == []
    assert wanted["Env"][0] == f"NVIDIA_VISIBLE_DEVICES={','.join(sorted(on_paper))}"


def test_a_job_without_gpus_asks_for_none_and_sees_none() -> None:
    wanted = body(environment={"NVIDIA_VISIBLE_DEVICES": "all", "SEED": "1"})
    assert wanted["HostConfig"]["DeviceRequests"] == []
    assert wanted["Env"] == ["NVIDIA_VISIBLE_DEVICES=void", "SEED=1", "CUDA_DEVICE_ORDER=PCI_BUS_ID", *REMOVED]


def test_the_memory_limit_leaves_no_room_for_swap() -> None:
    host = body(memory_bytes=1 << 30, cpus=1.5, pids_limit=100, shm_bytes=1 << 20)["HostConfig"]
    assert host["Memory"] == host["MemorySwap"] == 1 << 30
    assert (host["NanoCpus"], host["PidsLimit"], host["ShmSize"]) == (1_500_000_000, 100, 1 << 20)


def test_mounts_are_read_only_unless_told_otherwise() -> None:
    mounts = body(mounts=(Mount("/in", "/input"), Mount("/out", "/output", read_only=False)))["HostConfig"]["Mounts"]
    assert [(m["Source"], m["Target"], m["ReadOnly"]) for m in mounts] == [
        ("/in", "/input", True),
        ("/out", "/output", False),
    ]
    assert {m["Type"] for m in mounts} == {"bind"}


def test_what_was_not_asked_is_left_to_the_image() -> None:
    untouched = body()
    assert (untouched["Cmd"], untouched["Entrypoint"]) == (None, None)
    assert untouched["WorkingDir"] == ""


def test_the_stop_signal_is_ours_whatever_the_image_says() -> None:
    assert body()["StopSignal"] == "SIGTERM"
    assert body(stop_signal="SIGINT")["StopSignal"] == "SIGINT"


def inspected(status: str, **state: Any) -> dict[str, Any]:
    defaults = {"ExitCode": 0, "Error": "", "OOMKilled": False, "StartedAt": GO_ZERO_TIME, "FinishedAt": GO_ZERO_TIME}
    return {"Created": "2026-01-05T09:00:00Z", "State": {"Status": status, **defaults, **state}}


BEGAN_AT = "2026-01-05T09:01:02.264976881Z"
ENDED_AT = "2026-01-05T10:00:00Z"


@pytest.mark.parametrize(
    ("answer", "means"),
    [
        (inspected("created"), Created()),
        (inspected("running", StartedAt=BEGAN_AT), Alive(BEGAN)),
        (inspected("paused", StartedAt=BEGAN_AT), Alive(BEGAN)),
        (inspected("exited", StartedAt=BEGAN_AT, FinishedAt=ENDED_AT, ExitCode=3), Exited(3, BEGAN, ENDED)),
        (inspected("exited", StartedAt=ENDED_AT, FinishedAt=BEGAN_AT), Exited(0, ENDED, ENDED)),
        (inspected("dead", StartedAt=BEGAN_AT, FinishedAt=ENDED_AT, ExitCode=137), Exited(137, BEGAN, ENDED)),
        (inspected("removing", StartedAt=BEGAN_AT, FinishedAt=ENDED_AT), Exited(0, BEGAN, ENDED)),
        (inspected("removing"), Absent()),
        (
            inspected("created", ExitCode=128, Error="unable to find user x: no matching entries in passwd file"),
            Exited(128, MADE, MADE, error="unable to find user x: no matching entries in passwd file"),
        ),
    ],
)
def test_each_state_of_dockers_means_one_of_ours(answer: dict[str, Any], means: Observation) -> None:
    assert observation(answer) == means


def test_gos_zero_time_is_no_time() -> None:
    assert instant(GO_ZERO_TIME) is None


@pytest.mark.parametrize("text", [BEGAN_AT, "2026-01-05T11:01:02.264976881+02:00", "2026-01-05T09:01:02.264976Z"])
def test_times_are_cut_to_microseconds_and_turned_to_utc(text: str) -> None:
    assert instant(text) == BEGAN


def test_use_is_unknown_when_no_process_runs() -> None:
    nothing = Sample(cpu_s=None, memory_bytes=None, memory_peak_bytes=None)
    assert sample({"cpu_stats": {"cpu_usage": {"total_usage": 0}}, "memory_stats": {}}) == nothing
    assert sample({}) == nothing


def test_the_memory_peak_is_taken_where_the_kernel_tells_it() -> None:
    cpu = {"cpu_usage": {"total_usage": 2_500_000_000}}
    v1, v2 = {"usage": 5, "max_usage": 9}, {"usage": 5}
    assert sample({"cpu_stats": cpu, "memory_stats": v1}) == Sample(2.5, memory_bytes=5, memory_peak_bytes=9)
    assert sample({"cpu_stats": cpu, "memory_stats": v2}) == Sample(2.5, memory_bytes=5, memory_peak_bytes=5)


@pytest.mark.parametrize(
    ("details", "in_use"), [({"total_inactive_file": 3}, 5), ({"inactive_file": 2}, 6), ({"inactive_file": 99}, 0)]
)
def test_files_that_could_leave_the_page_cache_are_not_in_use(details: dict[str, int], in_use: int) -> None:
    assert sample({"memory_stats": {"usage": 8, "stats": details}}).memory_bytes == in_use


def test_dockers_words_are_freed_of_the_layers_they_came_through() -> None:
    words = (
        "failed to create shim task: OCI runtime create failed: runc create failed: "
        'unable to start container process: exec: "/nope": stat /nope: no such file or directory: unknown'
    )
    assert plain_words(words) == 'exec: "/nope": stat /nope: no such file or directory'


@pytest.mark.parametrize(
    ("words", "transient"),
    [
        ("context deadline exceeded", True),
        ("removal of container x is already in progress", True),
        ("No such image: x", False),
        ('could not select device driver "" with capabilities: [[gpu]]', False),
    ],
)
def test_not_now_is_told_from_no(words: str, transient: bool) -> None:
    assert is_transient(words) is transient


def test_an_empty_answer_about_a_container_that_just_ends_is_no_use_and_no_defect() -> None:
    assert sample(None) == Sample()
