"""What `dopq check` says of who could get at more than is theirs, and that nothing which hangs keeps it waiting."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dopq.config import EngineSettings, NodeSettings, Paths, QueueSettings, ShareSettings
from dopq.container_handler.docker_facts import EngineFacts, facts_of
from dopq.doctor import look_at_limits
from dopq.doctor.engine import judge
from dopq.doctor.escapes import judge as judge_version
from dopq.doctor.escapes import known
from dopq.doctor.finding import Finding, ok
from dopq.doctor.folders import look_at_state
from dopq.doctor.gpus import look_at_toolkit
from dopq.doctor.network import look_at_socket, look_at_tcp, members_of, tcp_hosts
from dopq.doctor.patience import look_at
from dopq.doctor.share import judge_inboxes, look_at_share
from dopq.doctor.version import Version, has_fix, read
from dopq.job import UserName
from dopq.share import make_user_folders
from dopq.users import Role, User
from tests.platforms import Home

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders away")

# --- versions ---


def version(text: str) -> Version:
    understood = read(text)
    assert understood, text
    return understood[0]


def test_versions_are_ordered_as_they_were_released() -> None:
    ordered = [
        "1.0.0-alpha1",
        "1.0.0-beta.2",
        "1.0.0-rc3",
        "1.0.0-rc7",
        "1.0.0-rc10",
        "1.0.0-rc93",
        "v1.0.0",
        "1.0.1",
        "1.1.9",
        "1.1.12",
        "1.2.0-rc.3",
        "1.2.0",
        "1.10.0",
        "18.09.2",
        "20.10.24",
    ]
    versions = [version(text) for text in ordered]
    assert versions == sorted(versions)
    assert len(set(versions)) == len(versions)


@pytest.mark.parametrize(
    ("text", "plain", "from_distribution"),
    [
        ("1.1.5+ds1", "1.1.5", True),
        ("1.1.5+ds1-1+deb12u1", "1.1.5", True),
        ("20.10.24+dfsg1", "20.10.24", True),
        ("24.0.7-0ubuntu4", "24.0.7", True),
        ("1.1.12-0ubuntu2~22.04.1", "1.1.12", True),
        ("25.0.3~3-1", "25.0.3", True),
        ("1.2.0-rc.3+ds1", "1.2.0-rc.3", True),
        ("18.09.1-ce", "18.9.1", False),
        ("27.1.1", "27.1.1", False),
        ("1.17", "1.17.0", False),
        ("1.0.0-rc95", "1.0.0-rc95", False),
    ],
)
def test_a_distributions_build_is_told_from_the_projects_own(text: str, plain: str, from_distribution: bool) -> None:
    assert read(text) == (version(plain), from_distribution)


@pytest.mark.parametrize("text", ["", "unknown", "v", "latest", "a1.2.3"])
def test_what_is_no_version_is_none(text: str) -> None:
    assert read(text) is None


FIXED = ["1.2.8", "1.3.3", "1.4.0-rc.3"]


@pytest.mark.parametrize(
    ("text", "has"),
    [
        ("1.1.15", False),
        ("1.2.7", False),
        ("1.2.8", True),
        ("1.2.9", True),
        ("1.3.2", False),
        ("1.3.3", True),
        ("1.4.0-rc.2", False),
        ("1.4.0-rc.3", True),
        ("1.4.0", True),
        ("1.5.0-rc.1", True),
        ("2.0.0", True),
    ],
)
def test_a_fix_is_there_from_the_version_of_its_branch_on(text: str, has: bool) -> None:
    assert has_fix(version(text), [version(fixed) for fixed in FIXED]) is has


numbers = st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
versions = st.builds(Version, numbers, st.just(3), st.just(0))


@given(versions, st.lists(versions, min_size=1, max_size=4))
def test_no_version_below_every_fix_has_it_and_none_above_all_lacks_it(it: Version, fixed: list[Version]) -> None:
    assert has_fix(it, fixed) or it < max(fixed)
    assert not has_fix(it, fixed) or it >= min(fixed)


# --- escapes ---


def open_to(component: str, text: str, *in_use: str) -> set[str]:
    [finding] = judge_version(component, text, in_use)
    return {escape.cve for escape in known() if escape.cve in finding.found} if finding.level != "ok" else set()


RUNC_2025 = {"CVE-2025-31133", "CVE-2025-52565", "CVE-2025-52881"}


@pytest.mark.parametrize(
    ("component", "text", "expected"),
    [
        ("runc", "1.0.0-rc6", {"CVE-2019-5736", "CVE-2021-30465", *RUNC_2025}),
        ("runc", "1.0.0-rc92", {"CVE-2021-30465", *RUNC_2025}),  # 2024-21626 began with rc93
        ("runc", "1.1.11", {"CVE-2024-21626", *RUNC_2025}),
        ("runc", "1.1.12", RUNC_2025),
        ("runc", "1.2.8", set()),
        ("runc", "1.3.2", RUNC_2025),
        ("runc", "1.3.3", set()),
        ("engine", "20.10.8", {"CVE-2021-41091", "CVE-2024-23651", "CVE-2024-23652", "CVE-2024-23653"}),
        ("engine", "24.0.8", {"CVE-2024-23651", "CVE-2024-23652", "CVE-2024-23653"}),
        ("engine", "24.0.9", set()),
        ("engine", "25.0.1", {"CVE-2024-23651", "CVE-2024-23652", "CVE-2024-23653"}),
        ("engine", "28.2.2", set()),
        ("toolkit", "1.16.1", {"CVE-2024-0132", "CVE-2025-23359", "CVE-2025-23266", "CVE-2025-23267"}),
        ("toolkit", "1.17.3", {"CVE-2025-23359", "CVE-2025-23266", "CVE-2025-23267"}),
        ("toolkit", "1.17.7", {"CVE-2025-23266", "CVE-2025-23267"}),
        ("toolkit", "1.17.8", set()),
    ],
)
def test_versions_are_open_to_what_their_advisories_say(component: str, text: str, expected: set[str]) -> None:
    assert open_to(component, text) == expected


def test_what_concerns_authorization_plugins_concerns_only_who_has_some() -> None:
    assert open_to("engine", "27.1.0") == set()
    assert open_to("engine", "27.1.0", "authorization plugins") == {"CVE-2024-41110", "CVE-2026-34040"}
    assert open_to("engine", "29.3.1", "authorization plugins") == set()


def test_an_open_escape_is_an_error_that_names_the_version_to_go_to() -> None:
    [finding] = judge_version("runc", "1.1.5")
    assert finding.level == "error"
    assert finding.fix == "Update it to 1.2.8 or later."
    assert [f.fix for f in judge_version("runc", "1.3.1")] == ["Update it to 1.3.3 or later."]
    assert [f.fix for f in judge_version("runc", "1.4.0-rc.1")] == ["Update it to 1.4.0-rc.3 or later."]


def test_of_a_distributions_build_one_cannot_know_and_is_told_whom_to_ask() -> None:
    [finding] = judge_version("runc", "1.1.5+ds1")
    assert (finding.level, "ask your distribution" in finding.fix) == ("warning", True)
    assert "CVE-2024-21626" in finding.found
    assert [f.level for f in judge_version("runc", "1.3.4+ds1")] == ["ok"]


def test_a_version_that_cannot_be_read_is_a_warning() -> None:
    assert [f.level for f in judge_version("engine", "master-dev")] == ["warning"]


def test_every_row_of_the_table_is_complete() -> None:
    assert {escape.component for escape in known()} == {"engine", "runc", "toolkit"}
    assert len({escape.cve for escape in known()}) == len(known()) >= 15
    for escape in known():
        assert escape.is_open(escape.since or version("0.0.1")), escape.cve
        assert not any(escape.is_open(fixed) for fixed in escape.fixed), escape.cve


# --- the engine ---

GOOD = EngineFacts(
    version="28.5.1",
    runc="1.3.3",
    root=Path("/var/lib/docker"),
    security=frozenset({"apparmor", "seccomp", "cgroupns"}),
    seccomp_profile="builtin",
    logging_driver="json-file",
    cgroup_version="2",
    live_restore=True,
    authorization=(),
    warnings=(),
)


def levels(**changes: Any) -> dict[str, str]:
    found = list(judge(replace(GOOD, **changes)))
    assert all(finding.fix for finding in found if finding.level != "ok")
    return {finding.what: finding.level for finding in found if finding.level != "ok"}


def test_nothing_is_said_against_an_engine_that_is_set_up_well() -> None:
    assert levels() == {}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"live_restore": False}, {"restore": "warning"}),
        ({"security": frozenset({"seccomp"})}, {"confine": "warning"}),
        ({"security": frozenset({"apparmor"})}, {"confine": "error"}),
        ({"seccomp_profile": "unconfined"}, {"confine": "error"}),
        ({"logging_driver": "none"}, {"log driver": "error"}),
        ({"cgroup_version": "1"}, {"cgroups": "warning"}),
        ({"runc": "1.1.11"}, {"runc": "error"}),
        ({"version": "20.10.24+dfsg1"}, {"engine": "warning"}),
        ({"runc": None}, {}),
        ({"warnings": ("WARNING: API is accessible on http://0.0.0.0:2375 without encryption.",)}, {"tcp": "error"}),
        ({"warnings": ("WARNING: No swap limit support",)}, {}),
    ],
)
def test_what_is_not_well_with_an_engine_is_said(changes: dict[str, Any], expected: dict[str, str]) -> None:
    assert levels(**changes) == expected


@pytest.mark.parametrize(("option", "word"), [("rootless", "without root"), ("userns", "userns-remap")])
def test_what_becomes_of_root_in_a_container_is_told(option: str, word: str) -> None:
    found = [finding.found for finding in judge(replace(GOOD, security=GOOD.security | {option}))]
    assert any(word in text for text in found)


def test_the_words_of_an_engine_are_understood_also_where_it_leaves_some_out() -> None:
    parts = {"Components": [{"Name": "Engine", "Version": "28.5.1"}, {"Name": "runc", "Version": "1.3.3"}]}
    info: Mapping[str, Any] = {
        "DockerRootDir": "/var/lib/docker",
        "SecurityOptions": ["name=apparmor", "name=seccomp,profile=builtin", "name=cgroupns"],
        "LoggingDriver": "json-file",
        "CgroupVersion": "2",
        "LiveRestoreEnabled": True,
        "Plugins": {"Authorization": None},
        "Warnings": None,
    }
    assert facts_of({"Version": "28.5.1", **parts}, info) == GOOD
    bare = facts_of({"Version": "20.10.1"}, {"DockerRootDir": "/x"})
    assert (bare.runc, bare.security, bare.cgroup_version) == (None, frozenset(), "1")


@pytest.mark.parametrize(
    ("said", "level"),
    [
        ("NVIDIA Container Toolkit CLI version 1.17.8\ncommit: abc", "ok"),
        ("NVIDIA Container Toolkit CLI version 1.16.1", "error"),
        ("nothing that makes sense", "warning"),
    ],
)
def test_the_toolkit_is_asked_for_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, level: str
) -> None:
    command = tmp_path / "nvidia-ctk"
    command.write_text(f"#!/bin/sh\ncat <<'END'\n{said}\nEND\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert [finding.level for finding in look_at_toolkit()] == [level]


# --- who can get at the engine ---


@pytest.fixture
def docker_socket(tmp_path: Path) -> Iterator[Path]:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "d.sock"))
        yield tmp_path / "d.sock"


def at_socket(path: Path) -> list[Finding]:
    return list(look_at_socket(EngineSettings(url=f"unix://{path}")))


def test_a_socket_that_everybody_can_open_is_an_error(docker_socket: Path) -> None:
    docker_socket.chmod(0o666)
    assert [finding.level for finding in at_socket(docker_socket)] == ["error"]


def test_a_socket_of_one_account_is_fine(docker_socket: Path) -> None:
    docker_socket.chmod(0o600)
    assert [finding.level for finding in at_socket(docker_socket)] == ["ok"]


@root_only
def test_the_members_of_the_sockets_group_are_named_since_they_are_root(docker_socket: Path) -> None:
    docker_socket.chmod(0o660)
    os.chown(docker_socket, 0, 1)
    assert members_of(1) == ["daemon"]
    [finding] = at_socket(docker_socket)
    assert (finding.level, "daemon" in finding.found) == ("warning", True)
    assert "root" in finding.fix


def test_an_engine_over_tcp_without_tls_is_an_error(tmp_path: Path) -> None:
    assert [f.level for f in look_at_tcp(EngineSettings(url="tcp://127.0.0.1:2375"), tmp_path / "none")] == ["error"]
    daemon = tmp_path / "daemon.json"
    daemon.write_text(json.dumps({"hosts": ["unix:///var/run/docker.sock", "tcp://0.0.0.0:2375"]}))
    [finding] = look_at_tcp(EngineSettings(), daemon)
    assert "tcp://0.0.0.0:2375" in finding.found
    for fine in ({"hosts": ["tcp://0.0.0.0:2376"], "tlsverify": True}, {"hosts": ["unix:///x"]}, ["no", "table"]):
        daemon.write_text(json.dumps(fine))
        assert list(look_at_tcp(EngineSettings(), daemon)) == []


@pytest.mark.parametrize(
    ("arguments", "hosts"),
    [
        (["dockerd", "-H", "fd://"], []),
        (["dockerd", "-H", "tcp://0.0.0.0:2375", "-H", "unix:///x"], ["tcp://0.0.0.0:2375"]),
        (["dockerd", "--host=tcp://1.2.3.4:2375"], ["tcp://1.2.3.4:2375"]),
        (["dockerd", "--tlsverify", "-H", "tcp://0.0.0.0:2376"], []),
    ],
)
def test_the_addresses_of_a_running_daemon_are_read_from_its_arguments(arguments: list[str], hosts: list[str]) -> None:
    assert tcp_hosts(arguments) == hosts


# --- folders ---


def found(findings: Iterator[Finding]) -> dict[str, str]:
    return {finding.what: finding.level for finding in findings}


def test_a_state_folder_that_others_can_read_is_a_warning(tmp_path: Path) -> None:
    paths = Paths(tmp_path, NodeSettings())
    paths.make()
    assert found(look_at_state(paths)) == {"state": "ok", "journal": "ok", "private": "ok"}
    paths.state.chmod(0o755)
    assert found(look_at_state(paths))["private"] == "warning"
    assert stat.S_IMODE(paths.state.stat().st_mode) == 0o755, "a check changes nothing"


@root_only
def test_a_state_folder_of_another_account_is_an_error(tmp_path: Path) -> None:
    paths = Paths(tmp_path, NodeSettings())
    paths.make()
    os.chown(paths.state, 1234, -1)
    assert found(look_at_state(paths))["private"] == "error"


def user(name: str, uid: int | None) -> User:
    return User(UserName(name), Role.USER, 1.0, uid, datetime(2026, 1, 5, tzinfo=UTC))


@root_only
def test_inboxes_belong_to_their_users_and_nobody_else_can_write_to_them(tmp_path: Path) -> None:
    paths = Paths(tmp_path, NodeSettings())
    paths.make()
    ana, bert = user("ana", 54001), user("bert", 54002)
    for one in (ana, bert):
        make_user_folders(paths, one.name, one.uid)
    inbox = paths.inbox / "ana"
    assert [f.level for f in judge_inboxes(paths.inbox, [ana, bert])] == ["ok"]
    inbox.chmod(0o775)
    [finding] = judge_inboxes(paths.inbox, [ana, bert])
    assert (finding.level, finding.fix) == ("error", f"chmod go-w {inbox}")
    inbox.chmod(0o755)
    os.chown(inbox, 54002, -1)
    [finding] = judge_inboxes(paths.inbox, [ana, bert])
    assert (finding.level, finding.fix) == ("error", f"chown 54001 {inbox}")
    inbox.rmdir()
    inbox.symlink_to(paths.inbox / "bert")
    assert [f.level for f in judge_inboxes(paths.inbox, [ana])] == ["error"]
    inbox.unlink()
    assert [f.level for f in judge_inboxes(paths.inbox, [ana])] == ["warning"]
    paths.inbox.chmod(0o777)
    assert [f.level for f in judge_inboxes(paths.inbox, [bert])] == ["error"]


def test_users_without_a_uid_are_named_in_a_warning(tmp_path: Path) -> None:
    home = Home(tmp_path)
    for one in home.users.all():
        make_user_folders(home.paths, one.name, None)
    told = list(look_at_share(home.paths, ShareSettings()))
    assert found(iter(told)) == {"share": "ok", "owners": "ok", "inboxes": "warning"}
    assert "anna, bert, olga are registered without a uid" in told[-1].found
    assert found(look_at_share(home.paths, ShareSettings(identity="folder")))["owners"] == "warning"
    home.close()


# --- limits, and patience ---


def test_a_default_time_limit_above_the_longest_is_a_warning() -> None:
    assert found(look_at_limits(QueueSettings())) == {"limits": "ok"}
    assert found(look_at_limits(QueueSettings(max_time_limit_s=3600))) == {"limits": "warning"}


def test_what_does_not_answer_is_an_error_and_keeps_nothing_else_waiting() -> None:
    never = threading.Event()

    def hangs() -> list[Finding]:
        never.wait()
        return []

    def breaks() -> list[Finding]:
        raise OSError(5, "Input/output error")

    began = time.monotonic()
    findings = look_at({"share": hangs, "disk": hangs, "port": lambda: [ok("port", "free")], "gpus": breaks}, 0.3)
    assert time.monotonic() - began < 5.0
    never.set()
    assert [(f.what, f.level) for f in findings] == [
        ("share", "error"),
        ("disk", "error"),
        ("port", "ok"),
        ("gpus", "error"),
    ]
    assert "does not answer" in findings[0].found
    assert "Input/output error" in findings[3].found


def test_an_engine_that_accepts_and_never_answers_does_not_hang_the_command(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "d.sock"))
        silent.listen(50)
        (tmp_path / "config.toml").write_text(f'[engine]\nurl = "unix://{tmp_path}/d.sock"\n[gpu]\ndevices = "none"\n')
        command = [sys.executable, "-m", "dopq", "check", "--json", "--config", str(tmp_path / "config.toml")]
        said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    checks = {check["what"]: check["level"] for check in json.loads(said.stdout)["checks"]}
    assert said.returncode == 1
    assert (checks["engine"], checks["state"], checks["limits"]) == ("error", "ok", "ok")
