"""Is this machine ready: one finding a thing, and what to do about each that is not well."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dopq import certificate_folder
from dopq.certificate_maker import NODE_DAYS
from dopq.config import (
    BuildSettings,
    DiskSettings,
    EngineSettings,
    GpuSettings,
    NodeSettings,
    Paths,
    RemoteSettings,
    Settings,
)
from dopq.doctor import examine, looks
from dopq.doctor.finding import Finding
from dopq.doctor.folders import look_at_disks
from dopq.share import Share
from dopq.utils.cpu import Disk
from tests.little_rights import as_ordinary_user, as_root_in_a_plain_container


def found(folder: Path, what: str, settings: Settings | None = None) -> Finding:
    settings = settings or Settings(
        engine=EngineSettings(url=f"unix://{folder}/nothing.sock"),
        gpu=GpuSettings(devices="none"),
        remote=RemoteSettings(port=0),
    )
    return next(finding for finding in looks(settings, Paths(folder, settings.node))[what]() if finding.what == what)


def test_everything_is_looked_at_and_nothing_is_changed(tmp_path: Path) -> None:
    settings = Settings(engine=EngineSettings(url=f"unix://{tmp_path}/x.sock"), gpu=GpuSettings(devices="simulate:2"))
    findings = examine(settings, Paths(tmp_path / "node", settings.node))
    assert {finding.what for finding in findings} == {
        "engine", "gpus", "gate", "state", "journal", "share", "disk", "port", "tls", "limits"
    }  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_whatever_is_not_well_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file in the way")
    settings = Settings(engine=EngineSettings(url=f"unix://{tmp_path}/x.sock"), gpu=GpuSettings(devices="none"))
    findings = examine(settings, Paths(tmp_path, settings.node))
    troubles = [finding for finding in findings if finding.level != "ok"]
    assert {"engine", "gpus", "state"} <= {finding.what for finding in troubles}
    assert all(finding.fix for finding in troubles)


def test_an_engine_that_does_not_answer_is_an_error(tmp_path: Path) -> None:
    assert found(tmp_path, "engine").level == "error"


def test_no_engine_anywhere_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nothing.sock")
    finding = found(tmp_path, "engine", Settings(gpu=GpuSettings(devices="none")))
    assert (finding.level, "apt install docker.io" in finding.fix) == ("error", True)


def test_a_machine_without_gpus_is_fine_for_cpu_jobs(tmp_path: Path) -> None:
    finding = found(tmp_path, "gpus")
    assert finding.level == "warning"
    assert "CPU" in finding.fix


def test_gpus_are_counted_by_model(tmp_path: Path) -> None:
    settings = Settings(engine=EngineSettings(url="unix:///nothing.sock"), gpu=GpuSettings(devices="simulate:2"))
    assert found(tmp_path, "gpus", settings).found == "2: simulated."


GATE = """
import json
from dataclasses import asdict
from pathlib import Path
from dopq.config import Settings
from dopq.container_handler.rules import rules_of
from dopq.doctor.gate import look_at_gate

print(json.dumps(asdict(next(look_at_gate(rules_of(Settings(), Path(), has_gpus=False))))))
"""


def test_the_gate_is_tried_out(tmp_path: Path) -> None:
    finding = found(tmp_path, "gate")
    assert (finding.level, "without rights" in finding.found) == ("ok", True)


def test_the_gate_needs_no_root_where_there_are_user_namespaces() -> None:
    finding = as_ordinary_user(GATE, namespaces=10)
    assert (finding["level"], "user namespaces" in finding["found"]) == ("ok", True)


def test_without_root_and_user_namespaces_the_gate_is_an_error_that_says_what_to_do() -> None:
    finding = as_ordinary_user(GATE, namespaces=0)
    assert finding["level"] == "error"
    assert "does not let DoPQ" in finding["found"]
    assert "as root" in finding["fix"]
    assert "user namespaces" in finding["fix"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be root without one capability")
def test_a_gate_that_keeps_the_network_is_a_warning_that_says_what_to_do() -> None:
    finding = as_root_in_a_plain_container(GATE)
    assert (finding["level"], "could not leave the network" in finding["found"]) == ("warning", True)
    assert "SYS_ADMIN" in finding["fix"]


def test_templates_of_ones_own_are_looked_at(tmp_path: Path) -> None:
    settings = Settings(build=BuildSettings(templates="own"), gpu=GpuSettings(devices="none"))
    assert found(tmp_path, "templates", settings).level == "warning"
    file = tmp_path / "own" / "python" / "Dockerfile"
    file.parent.mkdir(parents=True)
    file.write_text("FROM $base")
    assert found(tmp_path, "templates", settings).level == "ok"
    file.write_bytes(b"\xff")
    assert found(tmp_path, "templates", settings).level == "error"


@pytest.mark.parametrize("name", ["state", "share"])
def test_a_folder_is_there_or_will_be_made_or_cannot(tmp_path: Path, name: str) -> None:
    assert found(tmp_path, name).found.endswith("will be made.")
    Paths(tmp_path, NodeSettings()).make()
    assert found(tmp_path, name).found.endswith("is there.")
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    assert found(in_the_way, name).level == "error"


def test_a_share_that_is_away_is_a_warning_and_one_that_is_back_is_fine(tmp_path: Path) -> None:
    paths = Paths(tmp_path, NodeSettings())
    paths.make()
    Share(paths).open()
    assert found(tmp_path, "share").level == "ok"
    mounted = paths.share.rename(tmp_path / "elsewhere")
    paths.share.mkdir()
    assert found(tmp_path, "share").level == "warning"
    paths.share.rmdir()
    mounted.rename(paths.share)
    assert found(tmp_path, "share").level == "ok"


GIB = 2**30


@pytest.mark.parametrize(
    ("disk", "level"),
    [
        (Disk(Path("/x"), 100 * GIB, 50 * GIB), "ok"),
        (Disk(Path("/x"), 100 * GIB, 9 * GIB), "warning"),
        (Disk(Path("/x"), 100 * GIB, 1 * GIB), "error"),
        (Disk(Path("/x"), None, None, reason="stale file handle"), "warning"),
    ],
)
def test_a_disk_is_held_against_the_floor_of_the_settings(tmp_path: Path, disk: Disk, level: str) -> None:
    paths = Paths(tmp_path, NodeSettings())
    [finding] = look_at_disks(paths, DiskSettings(floor_bytes=2 * GIB), None, lambda _: disk)
    assert (finding.what, finding.level) == ("disk", level)


def has_ipv6() -> bool:
    """Whether this machine has the address ::1; without it, nothing can listen there."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", *(["::1"] if has_ipv6() else [])])
def test_a_free_port_is_free_whatever_the_machine_is_called(tmp_path: Path, host: str) -> None:
    settings = Settings(remote=RemoteSettings(host=host, port=0), gpu=GpuSettings(devices="none"))
    assert found(tmp_path, "port", settings).level == "ok"


def test_a_port_that_is_taken_is_a_warning_since_it_may_be_our_own_node(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = Settings(remote=RemoteSettings(port=port), gpu=GpuSettings(devices="none"))
        finding = found(tmp_path, "port", settings)
    assert finding.level == "warning"
    assert str(port) in finding.found


TLS = Settings(remote=RemoteSettings(tls=True, port=0), gpu=GpuSettings(devices="none"))


def test_without_tls_the_service_is_for_this_machine(tmp_path: Path) -> None:
    finding = found(tmp_path, "tls")
    assert (finding.level, "this machine only" in finding.found) == ("ok", True)


@pytest.mark.parametrize(
    ("age_days", "level", "words"),
    [
        (0, "ok", "holds until"),
        (NODE_DAYS - 20, "warning", "expires in 19 days"),
        (NODE_DAYS + 1, "error", "expired on"),
    ],
)
def test_the_end_of_the_certificate_is_told_in_time(tmp_path: Path, age_days: int, level: str, words: str) -> None:
    made = datetime.now(UTC) - timedelta(days=age_days)
    certificate_folder.begin(Paths(tmp_path, TLS.node), "lab1", [], made)
    finding = found(tmp_path, "tls", TLS)
    assert (finding.level, words in finding.found) == (level, True)
    assert ("dopq cert renew" in finding.fix) == (level != "ok")


def test_tls_without_a_certificate_is_an_error_that_says_how_to_get_one(tmp_path: Path) -> None:
    finding = found(tmp_path, "tls", TLS)
    assert (finding.level, "dopq cert init" in finding.fix) == ("error", True)
