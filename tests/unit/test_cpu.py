"""What the machine has besides GPUs, against what the kernel itself says."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import psutil
import pytest

from dopq.utils import cpu


def test_the_machine_is_described_as_the_kernel_sees_it() -> None:
    host = cpu.survey()
    meminfo = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    assert host.memory_total_bytes == int(meminfo["MemTotal"].split()[0]) * 1024
    assert host.memory_available_bytes is not None
    assert 0 < host.memory_available_bytes <= host.memory_total_bytes
    assert host.cpus == os.cpu_count()
    assert host.load_1m is not None
    assert host.load_1m >= 0
    assert host.uptime_s is not None
    assert abs(host.uptime_s - float(Path("/proc/uptime").read_text().split()[0])) < 60
    assert host.missing == {}


def test_disks_come_in_the_order_asked_for(tmp_path: Path) -> None:
    first, second = cpu.survey([tmp_path, Path("/")]).disks
    facts = os.statvfs(tmp_path)
    assert (first.folder, second.folder) == (tmp_path, Path("/"))
    assert first.total_bytes == facts.f_blocks * facts.f_frsize
    assert first.free_bytes is not None
    assert first.free_bytes <= facts.f_bfree * facts.f_frsize + 2**30
    assert first.reason is None


def test_a_disk_that_cannot_be_read_is_absent_with_a_reason(tmp_path: Path) -> None:
    (disk,) = cpu.survey([tmp_path / "unmounted"]).disks
    assert (disk.total_bytes, disk.free_bytes) == (None, None)
    assert disk.reason is not None
    assert "No such file" in disk.reason


def test_what_the_system_does_not_tell_is_absent_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*_: object) -> None:
        raise PermissionError("/proc is closed")

    monkeypatch.setattr(psutil, "virtual_memory", closed)
    monkeypatch.setattr(os, "getloadavg", closed)
    monkeypatch.setattr(psutil, "cpu_count", lambda: None)
    host = cpu.survey()
    assert (host.memory_total_bytes, host.memory_available_bytes, host.load_15m, host.cpus) == (None,) * 4
    assert host.uptime_s is not None
    assert host.missing == {
        "memory_total_bytes": "/proc is closed",
        "memory_available_bytes": "/proc is closed",
        "load_1m": "/proc is closed",
        "load_5m": "/proc is closed",
        "load_15m": "/proc is closed",
        "cpus": "the system does not say",
    }


def test_the_memory_of_a_living_process_is_told() -> None:
    mine = cpu.process_memory(os.getpid())
    assert mine.rss_bytes is not None
    assert mine.rss_bytes > 2**20
    assert mine.reason is None


def test_the_memory_of_a_dead_process_is_absent_with_a_reason() -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    gone = cpu.process_memory(dead.pid)
    assert gone.rss_bytes is None
    assert gone.reason is not None
    assert str(dead.pid) in gone.reason


def test_a_number_that_is_no_pid_is_absent_with_a_reason() -> None:
    assert cpu.process_memory(-1).reason is not None
