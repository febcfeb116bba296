"""The GPUs as the real pynvml reads them from a driver library without GPUs (tests/nvml/README.md)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from dopq.utils.gpu import MOMENTARY, Gpu, GpuProcess, GpuSurvey, XidEvent
from dopq.utils.gpu_probe import NvmlGpus, SimulatedGpus, probe_for
from tests import fake_gpus
from tests.fake_gpus import FakeDriver
from tests.waiting import wait_until

GIB, MIB = 1024**3, 1024**2
PATIENT_S = 30.0  # a busy machine takes its time to start a process
HASTY_S = 2.0


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fake_gpus.build_library(tmp_path_factory.mktemp("nvml"))


@pytest.fixture(scope="session")
def old_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fake_gpus.build_library(tmp_path_factory.mktemp("old-nvml"), old_driver=True)


def installed(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDriver:
    driver = FakeDriver(library, tmp_path / "mood")
    for name, value in driver.environment.items():
        monkeypatch.setenv(name, value)
    return driver


@pytest.fixture
def driver(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDriver:
    return installed(library, tmp_path, monkeypatch)


@pytest.fixture
def probe() -> Iterator[NvmlGpus]:
    with closing(NvmlGpus(deadline_s=PATIENT_S)) as probe:
        yield probe


@pytest.fixture
def hasty() -> Iterator[NvmlGpus]:
    with closing(NvmlGpus(deadline_s=HASTY_S)) as probe:
        yield probe


def look(devices: str | list[str]) -> GpuSurvey:
    with closing(probe_for(devices)) as probe:
        return probe.survey()


def processes_of(probe: NvmlGpus) -> int | None:
    child = probe._nvml._process
    return child.pid if child else None


def uuids(gpus: tuple[Gpu, ...]) -> list[str]:
    return [gpu.uuid for gpu in gpus]


def test_every_figure_of_a_healthy_gpu_is_read(driver: FakeDriver, probe: NvmlGpus) -> None:
    driver.value("processes", 2, gpu=1)
    driver.value("process_memory_mb", 3)
    seen = probe.survey()
    assert (seen.reason, seen.driver, seen.stale) == (None, "550.54.15", False)
    assert uuids(seen.gpus) == [fake_gpus.uuid(0), fake_gpus.uuid(1)]
    assert seen.gpus[1] == Gpu(
        uuid=fake_gpus.uuid(1),
        index=1,
        model="Fake GPU 16 GB",
        memory_total_bytes=16 * GIB,
        memory_used_bytes=1 * GIB,
        utilisation_percent=37,
        temperature_c=41,
        memory_free_bytes=16 * GIB - 1 * GIB - 512 * MIB,
        power_w=65.5,
        sm_clock_mhz=1410,
        memory_clock_mhz=1215,
        fan_percent=30,
        ecc_uncorrected=0,
        mig=False,
        mig_instances=(),
        processes=(GpuProcess(1000, 3 * MIB), GpuProcess(1001, 3 * MIB)),
        missing={},
    )


def test_zero_is_a_figure_like_any_other(driver: FakeDriver, probe: NvmlGpus) -> None:
    for what in ("memory_used_mb", "utilisation", "temperature", "power_mw"):
        driver.value(what, 0)
    gpu = probe.survey().gpus[0]
    assert (gpu.memory_used_bytes, gpu.utilisation_percent, gpu.temperature_c, gpu.power_w) == (0, 0, 0, 0)
    assert gpu.missing == {}


@pytest.mark.parametrize(
    ("what", "fields"),
    [
        ("memory_total_mb", {"memory_total_bytes", "memory_used_bytes", "memory_free_bytes"}),
        ("utilisation", {"utilisation_percent"}),
        ("temperature", {"temperature_c"}),
        ("power_mw", {"power_w"}),
        ("processes", {"processes"}),
        ("sm_clock_mhz", {"sm_clock_mhz"}),
        ("memory_clock_mhz", {"memory_clock_mhz"}),
        ("fan", {"fan_percent"}),
        ("ecc_uncorrected", {"ecc_uncorrected"}),
        ("mig", {"mig"}),
        ("name", {"model"}),
    ],
)
def test_what_a_gpu_does_not_support_is_absent_with_a_reason(
    driver: FakeDriver, probe: NvmlGpus, what: str, fields: set[str]
) -> None:
    driver.error(what, fake_gpus.NOT_SUPPORTED, gpu=0)
    poor, rich = probe.survey().gpus
    assert {name for name in Gpu.__slots__ if getattr(poor, name) is None} == fields
    assert poor.missing == dict.fromkeys(fields, "Not Supported")
    assert rich.missing == {}


def test_a_gpu_without_memory_of_its_own_has_no_figure_rather_than_zero(driver: FakeDriver, probe: NvmlGpus) -> None:
    driver.value("memory_total_mb", 0, gpu=0)
    gpu = probe.survey().gpus[0]
    assert gpu.memory_total_bytes is None
    assert gpu.missing["memory_total_bytes"] == "Not Supported"


def test_a_name_that_is_no_text_leaves_the_rest_readable(driver: FakeDriver, probe: NvmlGpus) -> None:
    driver.value("name", 1, gpu=0)
    gpu = probe.survey().gpus[0]
    assert gpu.model is None
    assert gpu.temperature_c == 41
    assert "model" in gpu.missing


def test_an_old_driver_is_read_as_far_as_it_goes(
    old_library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, probe: NvmlGpus
) -> None:
    installed(old_library, tmp_path, monkeypatch)
    seen = probe.survey()
    assert seen.reason is None
    assert seen.gpus[0].memory_used_bytes == 1536 * MIB  # version 1 counts the driver's own memory as used
    assert set(seen.gpus[0].missing) == {"processes"}  # pynvml raises NVMLLibraryMismatchError, which is no NVMLError


@pytest.mark.parametrize("what", ["handle", "uuid", "temperature"])
@pytest.mark.parametrize("code", [fake_gpus.GPU_IS_LOST, fake_gpus.RESET_REQUIRED])
def test_a_lost_gpu_is_not_handed_out_and_its_neighbours_are(
    driver: FakeDriver, probe: NvmlGpus, what: str, code: int
) -> None:
    driver.value("count", 3)
    driver.error(what, code, gpu=1)
    seen = probe.survey()
    assert uuids(seen.gpus) == [fake_gpus.uuid(0), fake_gpus.uuid(2)]
    assert seen.reason is not None
    assert "GPU 1 cannot be used" in seen.reason
    assert not seen.stale


def test_a_lost_gpu_comes_back_when_it_answers_again(driver: FakeDriver, probe: NvmlGpus) -> None:
    driver.error("handle", fake_gpus.GPU_IS_LOST)
    assert probe.survey().gpus == ()
    driver.recover()
    assert len(probe.survey().gpus) == 2


def test_a_gpu_keeps_its_uuid_when_indices_change(driver: FakeDriver, probe: NvmlGpus) -> None:
    driver.value("uuid", 1, gpu=0)
    driver.value("uuid", 0, gpu=1)
    assert [(gpu.index, gpu.uuid) for gpu in probe.survey().gpus] == [(0, fake_gpus.uuid(1)), (1, fake_gpus.uuid(0))]


def test_no_library_means_no_gpus_and_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "libnvidia-ml.so.1").write_bytes(b"not a library")  # found first, also where a real driver is installed
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    seen = look("all")
    assert seen.gpus == ()
    assert seen.driver is None
    assert seen.reason is not None
    assert "install NVIDIA's driver" in seen.reason


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (fake_gpus.DRIVER_NOT_LOADED, "modprobe nvidia"),
        (fake_gpus.LIB_RM_VERSION_MISMATCH, "reboot"),
        (fake_gpus.NO_PERMISSION, "/dev/nvidia"),
        (998, "an error that only the fake knows"),
    ],
)
def test_a_driver_that_will_not_start_means_no_gpus_and_a_reason(
    driver: FakeDriver, probe: NvmlGpus, code: int, advice: str
) -> None:
    driver.error("init", code)
    seen = probe.survey()
    assert seen.gpus == ()
    assert seen.reason is not None
    assert advice in seen.reason


def test_a_driver_without_gpus_says_so(driver: FakeDriver, probe: NvmlGpus) -> None:
    driver.value("count", 0)
    seen = probe.survey()
    assert seen.gpus == ()
    assert seen.reason == "NVIDIA's driver is there, but it finds no GPU"


def test_a_hanging_driver_is_given_up_on_and_the_known_gpus_stay_known(driver: FakeDriver, hasty: NvmlGpus) -> None:
    probe = hasty
    known = probe.survey()
    driver.hang("utilisation", 60, gpu=1)
    before = time.monotonic()
    seen = probe.survey()
    assert time.monotonic() - before < HASTY_S + 5
    assert seen.stale
    assert seen.reason is not None
    assert "no answer within 2 s" in seen.reason
    assert uuids(seen.gpus) == uuids(known.gpus) != []
    for gpu in seen.gpus:
        assert gpu.memory_total_bytes == 16 * GIB
        assert all(getattr(gpu, name) is None and gpu.missing[name] == seen.reason for name in MOMENTARY)
    driver.recover()
    assert probe.survey() == known


def test_a_driver_that_hangs_from_the_start_leaves_no_gpus_to_know(driver: FakeDriver) -> None:
    driver.hang("init", 60)
    with closing(NvmlGpus(deadline_s=HASTY_S)) as probe:
        seen = probe.survey()
    assert seen.gpus == ()
    assert seen.stale


def test_a_library_that_crashes_does_not_take_us_along(driver: FakeDriver, probe: NvmlGpus) -> None:
    probe.survey()
    driver.crash("power_mw")
    seen = probe.survey()
    assert seen.stale
    assert seen.reason is not None
    assert "SIGABRT" in seen.reason
    assert len(seen.gpus) == 2


def test_threads_may_look_at_once(driver: FakeDriver, probe: NvmlGpus) -> None:
    seen: list[int] = []
    threads = [threading.Thread(target=lambda: seen.append(len(probe.survey().gpus))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENT_S)
    assert seen == [2, 2, 2, 2]


def test_only_the_listed_gpus_are_handed_out(driver: FakeDriver) -> None:
    driver.value("count", 4)
    seen = look([fake_gpus.uuid(3), fake_gpus.uuid(1)])
    assert uuids(seen.gpus) == [fake_gpus.uuid(1), fake_gpus.uuid(3)]
    assert seen.reason is None


def test_a_listed_gpu_that_is_not_there_is_named(driver: FakeDriver) -> None:
    seen = look([fake_gpus.uuid(0), "GPU-gone"])
    assert uuids(seen.gpus) == [fake_gpus.uuid(0)]
    assert seen.reason == "no GPU answers to GPU-gone ([gpu] devices)"


def test_all_means_what_the_driver_finds(driver: FakeDriver) -> None:
    assert len(look("all").gpus) == 2


def test_none_means_none_although_there_are_some(driver: FakeDriver) -> None:
    seen = look("none")
    assert seen.gpus == ()
    assert seen.reason is not None


def test_simulated_gpus_have_names_of_their_own_and_admit_what_they_are() -> None:
    probe = probe_for("simulate:12")
    seen = probe.survey()
    assert len(set(uuids(seen.gpus))) == 12
    assert seen.gpus[0].uuid == "GPU-00000000-0000-0000-0000-000000000000"
    assert all(gpu.missing["utilisation_percent"] == "simulated" for gpu in seen.gpus)
    assert probe.survey() == seen
    assert SimulatedGpus(1, memory_bytes=5).survey().gpus[0].memory_total_bytes == 5


@pytest.mark.parametrize("devices", ["", "ALL", "0", "simulate", "simulate:", "simulate:-1", "simulate:two", "GPU-1"])
def test_a_setting_that_means_nothing_is_refused(devices: str) -> None:
    with pytest.raises(ValueError, match="is none of"):
        probe_for(devices)


def test_the_asking_process_ends_by_itself_when_nobody_is_left_to_end_it(driver: FakeDriver) -> None:
    driver.hang("init", 60)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "dopq.utils.nvml", "1"]
    ended = subprocess.run(command, input=b"\n", env=environment, check=False, capture_output=True, timeout=PATIENT_S)
    assert ended.returncode == -signal.SIGALRM


def test_by_hand_it_prints_what_it_sees(driver: FakeDriver) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "dopq.utils.nvml"]
    done = subprocess.run(command, input=b"\n", env=environment, check=True, capture_output=True, timeout=PATIENT_S)
    assert [gpu["index"] for gpu in json.loads(done.stdout)["gpus"]] == [0, 1]


def test_one_process_holds_the_driver_from_look_to_look(driver: FakeDriver, probe: NvmlGpus) -> None:
    probe.survey()
    first = processes_of(probe)
    probe.survey()
    assert processes_of(probe) == first is not None


def test_a_process_that_has_ended_is_replaced_at_the_next_look(driver: FakeDriver, probe: NvmlGpus) -> None:
    probe.survey()
    killed = processes_of(probe)
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: probe._nvml._process is not None and probe._nvml._process.poll() is not None, 5.0)
    assert not probe.survey().stale
    assert processes_of(probe) != killed


def test_a_closed_probe_leaves_no_process(driver: FakeDriver) -> None:
    probe = NvmlGpus(deadline_s=PATIENT_S)
    probe.survey()
    child = processes_of(probe)
    probe.close()
    assert not Path(f"/proc/{child}").exists()


def test_the_process_ends_with_whoever_asks(driver: FakeDriver) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "dopq.utils.nvml"]
    subprocess.run(command, env=environment, input=b"", timeout=PATIENT_S, check=True)


def test_an_xid_is_told_once_and_with_its_gpu(driver: FakeDriver, probe: NvmlGpus) -> None:
    assert probe.survey().xids == ()
    driver.value("xid", 79, gpu=1)
    told: list[XidEvent] = []
    wait_until(lambda: told.extend(probe.survey().xids) or bool(told), 10.0)
    assert told == [XidEvent(fake_gpus.uuid(1), 79)]
    assert probe.survey().xids == ()


def test_while_one_gpu_is_lost_the_xids_of_others_are_heard(driver: FakeDriver, probe: NvmlGpus) -> None:
    driver.error("handle", fake_gpus.GPU_IS_LOST, gpu=0)
    for _ in range(3):
        assert probe.survey().reason
    driver.value("xid", 79, gpu=1)
    told: list[XidEvent] = []
    wait_until(lambda: told.extend(probe.survey().xids) or bool(told), 10.0)
    assert set(told) == {XidEvent(fake_gpus.uuid(1), 79)}


def test_what_a_process_saw_when_it_began_is_not_what_a_node_goes_by(driver: FakeDriver, probe: NvmlGpus) -> None:
    driver.error("init", fake_gpus.DRIVER_NOT_LOADED)
    for _ in range(2):
        assert probe.survey().stale
    driver.recover()
    assert not probe.survey().stale


def test_a_driver_without_events_is_read_all_the_same_and_says_so(driver: FakeDriver, probe: NvmlGpus) -> None:
    driver.error("events", fake_gpus.NOT_SUPPORTED)
    gpu = probe.survey().gpus[0]
    assert gpu.missing == {"xids": "Not Supported"}


def test_the_instances_of_a_parted_gpu_are_named(driver: FakeDriver, probe: NvmlGpus) -> None:
    driver.value("mig", 2, gpu=1)
    whole, parted = probe.survey().gpus
    assert (whole.mig, parted.mig) == (False, True)
    assert parted.mig_instances is not None
    assert len(set(parted.mig_instances)) == 2


def test_gpus_can_be_listed_by_index_too(driver: FakeDriver) -> None:
    driver.value("count", 4)
    assert uuids(look(["2", fake_gpus.uuid(0)]).gpus) == [fake_gpus.uuid(0), fake_gpus.uuid(2)]
