"""A build log whose share refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from dopq.build_log_file import BuildLogFile


def test_the_log_is_there_while_it_is_written(tmp_path: Path) -> None:
    with BuildLogFile(tmp_path / "build.log", tmp_path / "instead") as log:
        log.write(b"one\n")
        assert (tmp_path / "build.log").read_bytes() == b"one\n"
        log.write(b"two\n")
    assert (tmp_path / "build.log").read_bytes() == b"one\ntwo\n"
    assert not (tmp_path / "instead").exists()


def test_what_a_share_did_not_take_is_added_when_it_is_back(tmp_path: Path) -> None:
    share = tmp_path / "share"
    with BuildLogFile(share / "build.log", tmp_path / "instead") as log:
        log.write(b"one\n")
        share.mkdir()
        log.write(b"two\n")
    assert (share / "build.log").read_bytes() == b"one\ntwo\n"


def test_a_share_that_stays_away_costs_the_log_alone(tmp_path: Path) -> None:
    with BuildLogFile(tmp_path / "share" / "build.log", tmp_path / "instead") as log:
        log.write(b"one\n")
    assert (tmp_path / "instead").read_bytes() == b"one\n"


def test_a_share_that_fails_in_the_middle_ends_nothing(tmp_path: Path) -> None:
    """/dev/full takes no byte: every write fails as on a full disk."""
    (tmp_path / "build.log").symlink_to("/dev/full")
    with BuildLogFile(tmp_path / "build.log", tmp_path / "instead") as log:
        log.write(b"one\n")
        log.write(b"two\n")
    assert (tmp_path / "instead").read_bytes() == b"one\ntwo\n"


def test_a_failed_build_keeps_its_log(tmp_path: Path) -> None:
    def fail() -> None:
        with BuildLogFile(tmp_path / "build.log", tmp_path / "instead") as log:
            log.write(b"one\n")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (tmp_path / "build.log").read_bytes() == b"one\n"
