"""A share that is there is told from an empty mount point, and nothing is written to the latter."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dopq.config import NodeSettings, Paths
from dopq.errors import OperatorError
from dopq.outbox import Outbox
from dopq.share import MARK, Share, ShareAway, make_user_folders
from tests.platforms import ANNA, BERT, Home


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = Paths(tmp_path, NodeSettings())
    paths.make()
    Share(paths).open()
    return paths


def unmount(paths: Paths) -> Path:
    """What is left is the empty folder on which it was mounted."""
    away = paths.share.rename(paths.share.with_name("away"))
    paths.share.mkdir()
    return away


def test_a_share_is_marked_at_the_first_start(paths: Paths) -> None:
    assert (paths.share / MARK).exists()
    assert Share(paths).trouble() is None


def test_an_empty_mount_point_is_no_share(paths: Paths) -> None:
    away = unmount(paths)
    trouble = Share(paths).trouble()
    assert trouble is not None
    assert "not mounted, or empty" in trouble
    paths.share.rmdir()
    away.rename(paths.share)
    assert Share(paths).trouble() is None


def test_a_share_that_lost_all_files_but_its_mark_is_a_share(paths: Paths) -> None:
    for folder in (paths.inbox, paths.outbox, paths.invalid, paths.failed):
        shutil.rmtree(folder)
    assert Share(paths).trouble() is None


def test_a_later_start_makes_nothing_on_a_bare_mount_point(paths: Paths) -> None:
    unmount(paths)
    paths.make()
    assert not Share(paths).open()
    assert list(paths.share.iterdir()) == []


def test_another_nodes_share_is_not_taken_for_ours(paths: Paths) -> None:
    (paths.share / MARK).write_text("somebody else\n")
    assert "Another share" in (Share(paths).trouble() or "")


def test_a_new_state_folder_takes_over_the_mark_of_an_old_share(paths: Paths) -> None:
    mark = (paths.share / MARK).read_bytes()
    paths.share_mark.unlink()
    assert Share(paths).open()
    assert (paths.share / MARK).read_bytes() == mark
    assert Share(paths).trouble() is None


def test_a_share_that_cannot_be_read_says_why(paths: Paths) -> None:
    (paths.share / MARK).unlink()
    (paths.share / MARK).mkdir()
    assert "Is a directory" in (Share(paths).trouble() or "")


def test_no_user_folder_is_made_on_a_bare_mount_point(paths: Paths) -> None:
    unmount(paths)
    with pytest.raises(OperatorError, match="not mounted"):
        make_user_folders(paths, ANNA, None)
    assert list(paths.share.iterdir()) == []


def test_a_user_has_four_folders_and_owns_the_inbox(paths: Paths) -> None:
    inbox = make_user_folders(paths, BERT, 12345)
    assert make_user_folders(paths, BERT, 12345) == inbox
    assert inbox == paths.inbox / BERT
    assert inbox.stat().st_uid == 12345
    for folder in (paths.outbox, paths.invalid, paths.failed):
        assert (folder / BERT).stat().st_uid == 0


def test_no_job_folder_is_made_on_a_bare_mount_point(tmp_path: Path) -> None:
    home = Home(tmp_path)
    Share(home.paths).open()
    unmount(home.paths)
    with pytest.raises(ShareAway):
        Outbox(home.paths.outbox, Share(home.paths).check).folder(home.building())
    assert list(home.paths.share.iterdir()) == []
    home.close()
