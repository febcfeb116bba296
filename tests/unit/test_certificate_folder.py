"""The certificates of a node on its disk: whole or not at all, for its owner alone, and warned of in time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dopq import certificate_folder as folder
from dopq.certificate_maker import NODE_DAYS
from dopq.config import GpuSettings, NodeSettings, Paths, RemoteSettings, Settings
from dopq.errors import OperatorError, UserError
from dopq.node import Node
from dopq.utils.clock import SystemClock
from dopq.utils.files import write_atomic

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


@pytest.fixture
def lab(tmp_path: Path) -> Paths:
    """The machine of the lab that issues."""
    paths = Paths(tmp_path / "lab", NodeSettings())
    folder.begin(paths, "lab1", ["lab1.example.org"], NOW)
    return paths


@pytest.fixture
def other(tmp_path: Path) -> Paths:
    """A machine without certificates."""
    return Paths(tmp_path / "other", NodeSettings())


def contents(paths: Paths) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in paths.certificates.iterdir()}


# --- begin ---


def test_everything_is_for_the_service_alone(lab: Paths) -> None:
    assert {file.name: file.stat().st_mode & 0o777 for file in lab.certificates.iterdir()} == dict.fromkeys(
        ["ca.pem", "ca.key", "node.pem", "node.key"], 0o600
    )
    assert lab.certificates.stat().st_mode & 0o777 == 0o700
    assert lab.state.stat().st_mode & 0o777 == 0o700


def test_the_nodes_file_has_its_own_certificate_first_and_then_the_cas(lab: Paths) -> None:
    own, authority = folder.shown(lab)
    assert (own.name, own.issuer, own.is_authority) == ("lab1", authority.name, False)
    assert authority.is_authority
    assert set(own.hosts) == {"lab1", "lab1.example.org", "localhost", "127.0.0.1", "::1"}
    assert authority.pem == (lab.certificates / "ca.pem").read_bytes()


def test_a_ca_is_never_overwritten(lab: Paths) -> None:
    before = contents(lab)
    with pytest.raises(OperatorError, match="already") as refused:
        folder.begin(lab, "lab1", [], NOW)
    assert "dopq cert renew" in refused.value.hint
    assert contents(lab) == before


def test_of_two_that_begin_at_once_one_is_refused_and_the_other_whole(other: Paths) -> None:
    def attempt(_number: int) -> bool:
        try:
            folder.begin(other, "lab1", [], NOW)
        except OperatorError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(attempt, range(4))) == [False, False, False, True]
    assert folder.own(other, NOW).name == "lab1"
    assert [path.name for path in other.state.iterdir()] == ["certificates"]


def test_a_wrong_host_leaves_nothing_behind(other: Paths) -> None:
    with pytest.raises(UserError, match="neither a host name"):
        folder.begin(other, "lab1", ["no host"], NOW)
    assert not other.state.exists()


def test_a_disk_that_takes_nothing_is_told(other: Paths) -> None:
    other.root.mkdir()
    other.state.write_text("a file in the way")
    with pytest.raises(OperatorError, match="cannot be written"):
        folder.begin(other, "lab1", [], NOW)


# --- other nodes ---


def test_another_node_installs_what_was_issued_for_it_without_the_cas_key(lab: Paths, other: Paths) -> None:
    pem = folder.issue(lab, "lab2", ["lab2.example.org"], NOW)
    installed = folder.install(other, pem, "lab2.pem", NOW)
    assert folder.own(other, NOW) == installed
    assert {"lab2", "lab2.example.org"} <= set(installed.hosts)
    assert contents(other).keys() == {"node.pem", "node.key", "ca.pem"}


def test_a_node_without_the_cas_key_issues_nothing_and_says_where_to_go(lab: Paths, other: Paths) -> None:
    for paths in (other, other):
        with pytest.raises(OperatorError, match=r"ca\.key") as refused:
            folder.issue(paths, "lab3", [], NOW)
        assert "where the lab's CA is" in refused.value.hint
        if not other.certificates.exists():
            folder.install(other, folder.issue(lab, "lab2", [], NOW), "lab2.pem", NOW)
    with pytest.raises(OperatorError, match=r"ca\.key"):
        folder.renew(other, "lab2", [], NOW)


@pytest.mark.parametrize("name", ["", "Lab2", "lab 2", "../lab2", "lab2-", "lab2\n"])
def test_only_what_can_be_a_nodes_name_is_issued_for(lab: Paths, name: str) -> None:
    with pytest.raises(UserError):
        folder.issue(lab, name, [], NOW)


def test_a_node_can_be_given_a_new_certificate_of_the_same_lab_only(lab: Paths, other: Paths, tmp_path: Path) -> None:
    folder.install(other, folder.issue(lab, "lab2", [], NOW), "lab2.pem", NOW)
    renewed = folder.install(other, folder.issue(lab, "lab2", [], NOW), "lab2.pem", NOW)
    assert folder.own(other, NOW) == renewed
    foreign = Paths(tmp_path / "foreign", NodeSettings())
    folder.begin(foreign, "lab1", [], NOW)
    with pytest.raises(OperatorError, match="another CA"):
        folder.install(other, folder.issue(foreign, "lab2", [], NOW), "lab2.pem", NOW)
    assert folder.own(other, NOW) == renewed


@pytest.mark.parametrize(
    ("years", "words"), [(6, "expired on 2031"), (-1, "does not hold before 2026")], ids=["late", "early"]
)
def test_a_certificate_that_does_not_hold_is_not_installed(lab: Paths, other: Paths, years: int, words: str) -> None:
    with pytest.raises(OperatorError, match=words):
        folder.install(other, folder.issue(lab, "lab2", [], NOW), "lab2.pem", NOW + timedelta(days=years * 366))
    assert not other.certificates.exists()


# --- renew ---


def test_a_renewed_certificate_keeps_its_hosts_and_its_ca_and_changes_its_key(lab: Paths) -> None:
    before, (old, authority) = contents(lab), folder.shown(lab)
    new = folder.renew(lab, "lab1", ["192.0.2.9"], NOW + timedelta(days=100))
    assert set(new.hosts) == {*old.hosts, "192.0.2.9"}
    assert new.not_after == old.not_after + timedelta(days=100)
    assert folder.shown(lab) == [new, authority]
    after = contents(lab)
    assert {file for file in before if before[file] != after[file]} == {"node.pem", "node.key"}


def test_a_renewal_that_was_broken_off_half_way_is_seen_and_mended_by_another(lab: Paths) -> None:
    old = (lab.certificates / "node.pem").read_bytes()
    folder.renew(lab, "lab1", [], NOW)
    write_atomic(lab.certificates / "node.pem", old, mode=0o600)
    with pytest.raises(OperatorError, match="do not belong together") as refused:
        folder.own(lab, NOW)
    assert "dopq cert renew" in refused.value.hint
    folder.renew(lab, "lab1", [], NOW)
    folder.own(lab, NOW)


@pytest.mark.parametrize("content", [None, b"", b"damaged"])
@pytest.mark.parametrize("file", ["node.pem", "node.key"])
def test_a_lost_or_damaged_certificate_is_mended_by_a_renewal(lab: Paths, file: str, content: bytes | None) -> None:
    (lab.certificates / file).unlink()
    if content is not None:
        (lab.certificates / file).write_bytes(content)
    with pytest.raises(OperatorError):
        folder.own(lab, NOW)
    folder.renew(lab, "lab1", [], NOW)
    assert folder.own(lab, NOW).name == "lab1"


def test_a_disk_that_takes_no_new_certificate_is_told(lab: Paths) -> None:
    (lab.certificates / "node.key").unlink()
    (lab.certificates / "node.key").mkdir()
    with pytest.raises(OperatorError, match="cannot be written"):
        folder.renew(lab, "lab1", [], NOW)


# --- in time ---


def test_the_days_left_are_counted_in_whole_ones_and_below_zero(lab: Paths, other: Paths) -> None:
    end = NOW + timedelta(days=NODE_DAYS)
    assert folder.days_left(lab, NOW) == NODE_DAYS
    assert folder.days_left(lab, end - timedelta(hours=1)) == 0
    assert folder.days_left(lab, end + timedelta(hours=1)) == -1
    assert folder.days_left(other, NOW) is None


def test_the_warning_comes_thirty_days_before_the_end_and_says_what_to_do(lab: Paths, other: Paths) -> None:
    end = NOW + timedelta(days=NODE_DAYS)
    assert folder.expiry_warning(lab, end - timedelta(days=30)) is None
    warning = folder.expiry_warning(lab, end - timedelta(days=30) + timedelta(seconds=1))
    assert warning is not None
    assert "expires in 29 days" in warning.message
    assert "dopq cert renew" in warning.hint
    expired = folder.expiry_warning(lab, end + timedelta(days=1))
    assert expired is not None
    assert "has expired" in expired.message
    assert folder.expiry_warning(other, NOW) is None


def test_a_node_that_cannot_issue_is_told_where_its_new_certificate_comes_from(lab: Paths, other: Paths) -> None:
    folder.install(other, folder.issue(lab, "lab2", [], NOW), "lab2.pem", NOW)
    warning = folder.expiry_warning(other, NOW + timedelta(days=NODE_DAYS))
    assert warning is not None
    assert "dopq cert install" in warning.hint


def test_a_certificate_that_cannot_be_read_is_warned_of(lab: Paths) -> None:
    (lab.certificates / "node.pem").write_text("gone")
    warning = folder.expiry_warning(lab, NOW)
    assert warning is not None
    assert "node.pem" in warning.message


@pytest.mark.parametrize("tls", [True, False])
def test_a_node_that_uses_tls_tells_the_warning_to_all_who_look_at_it(tmp_path: Path, tls: bool) -> None:
    settings = Settings(remote=RemoteSettings(tls=tls, port=0, socket="off"), gpu=GpuSettings(devices="none"))
    paths = Paths(tmp_path, settings.node)
    paths.make()
    folder.begin(paths, "lab1", [], datetime.now(UTC) - timedelta(days=NODE_DAYS - 5))
    node = Node(settings, paths, f"unix://{tmp_path}/no-engine.sock", SystemClock(), lambda: None)
    try:
        told = any("expires in 4 days" in warning for warning in node.system()["warnings"])
    finally:
        node.boundary.stop(1.0)
        node.close()
    assert told is tls
