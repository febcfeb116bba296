"""A build log whose share refuses: it is whole on our own disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from dopq.build_log_file import BuildLogFile


def test_the_log_is_there_while_it_is_written(tmp_path: Path) -> None:
    shared, kept = tmp_path / "build.log", tmp_path / "kept"
    with BuildLogFile(shared, kept) as log:
        log.write(b"one\n")
        assert shared.read_bytes() == kept.read_bytes() == b"one\n"
        log.write(b"two\n")
    assert shared.read_bytes() == kept.read_bytes() == b"one\ntwo\n"


def test_a_build_that_begins_anew_begins_its_log_anew(tmp_path: Path) -> None:
    shared, kept = tmp_path / "build.log", tmp_path / "kept"
    for text in (b"the first life\n", b"second\n"):
        with BuildLogFile(shared, kept) as log:
            log.write(text)
    assert shared.read_bytes() == kept.read_bytes() == b"second\n"


def test_a_share_that_is_away_costs_nothing_of_the_log(tmp_path: Path) -> None:
    with BuildLogFile(tmp_path / "share" / "build.log", tmp_path / "kept") as log:
        log.write(b"one\n")
        (tmp_path / "share").mkdir()
        log.write(b"two\n")
    assert (tmp_path / "kept").read_bytes() == b"one\ntwo\n"


def test_a_share_that_fails_in_the_middle_ends_nothing(tmp_path: Path) -> None:
    """/dev/full takes no byte: every write fails as on a full disk."""
    (tmp_path / "build.log").symlink_to("/dev/full")
    with BuildLogFile(tmp_path / "build.log", tmp_path / "kept") as log:
        log.write(b"one\n")
        log.write(b"two\n")
    assert (tmp_path / "kept").read_bytes() == b"one\ntwo\n"


def test_a_failed_build_keeps_its_log(tmp_path: Path) -> None:
    def fail() -> None:
        with BuildLogFile(tmp_path / "build.log", tmp_path / "kept") as log:
            log.write(b"one\n")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (tmp_path / "build.log").read_bytes() == (tmp_path / "kept").read_bytes() == b"one\n"
