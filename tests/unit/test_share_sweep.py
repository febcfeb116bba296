"""Retention in the share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from dopq.config import ShareSettings
from dopq.disk import Floor
from dopq.housekeeping import Housekeeping
from dopq.image_sweep import ImageSweep
from dopq.images import Images
from dopq.share import Share
from dopq.share_sweep import ShareSweep
from dopq.uploads import Uploads
from dopq.utils.cpu import disk
from tests.fakes import FakeEngine
from tests.platforms import ANNA, Home

DAY_S = 86400.0


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path)
    yield home
    home.close()


def put(path: Path, at: datetime) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    os.utime(path, (at.timestamp(), at.timestamp()))
    return path


def sweep(home: Home, **days: int) -> None:
    settings = ShareSettings(**{"keep_invalid_days": 0, "keep_failed_days": 0, "keep_outbox_days": 0, **days})
    ShareSweep(home.platform, home.paths, settings).sweep(home.clock.now())


@pytest.mark.parametrize("shelf", ["invalid", "failed"])
def test_what_lies_on_a_shelf_for_too_long_goes(home: Home, shelf: str) -> None:
    folder = home.paths.share / shelf / ANNA
    old = [put(folder / name, home.clock.now()) for name in ("a.zip", "a.zip.reason.txt", "a.zip.reason.json")]
    (folder / "folder").mkdir()
    put(folder / "folder" / "Dockerfile", home.clock.now())
    os.utime(folder / "folder", (home.clock.now().timestamp(),) * 2)
    home.clock.advance(10 * DAY_S)
    new = put(folder / "b.zip", home.clock.now())
    sweep(home, **{f"keep_{shelf}_days": 11})
    assert all(path.exists() for path in [*old, new])
    home.clock.advance(1 * DAY_S + 1)
    sweep(home, **{f"keep_{shelf}_days": 11})
    assert list(folder.iterdir()) == [new]


def test_zero_days_keep_for_ever(home: Home) -> None:
    kept = [put(home.paths.share / shelf / ANNA / "a.zip", home.clock.now()) for shelf in ("invalid", "failed")]
    home.outbox.folder(home.ended())
    home.clock.advance(10_000 * DAY_S)
    sweep(home)
    assert all(path.exists() for path in kept)
    assert len(list((home.paths.outbox / ANNA).iterdir())) == 1


def test_an_outbox_goes_so_long_after_its_jobs_end(home: Home) -> None:
    running, ended = home.running(), home.ended()
    folders = {job.id: home.outbox.folder(job) for job in (running, ended)}
    put(folders[ended.id] / "output" / "model.bin", home.clock.now())
    home.clock.advance(5 * DAY_S + 1)
    sweep(home, keep_outbox_days=6)
    assert folders[ended.id].exists()
    home.clock.advance(1 * DAY_S)
    sweep(home, keep_outbox_days=6)
    assert not folders[ended.id].exists()
    assert folders[running.id].exists(), "a job that has not ended keeps everything"


def test_what_is_no_jobs_folder_stays_in_the_outbox(home: Home) -> None:
    kept = [put(home.paths.outbox / ANNA / name, home.clock.now()) for name in ("notes.txt", "999-gone", "12a-x")]
    home.clock.advance(1000 * DAY_S)
    sweep(home, keep_outbox_days=1)
    assert all(path.exists() for path in kept)


def test_links_go_but_what_they_point_to_stays(home: Home, tmp_path: Path) -> None:
    treasure = put(tmp_path / "treasure" / "file", home.clock.now())
    folder = home.paths.failed / ANNA
    folder.mkdir(parents=True)
    (folder / "link").symlink_to(treasure.parent)
    (home.paths.failed / "bert").symlink_to(treasure.parent)
    os.utime(folder / "link", (0, 0), follow_symlinks=False)
    sweep(home, keep_failed_days=1)
    assert list(folder.iterdir()) == []
    assert treasure.exists()


def test_a_share_that_is_away_is_not_tidied_but_unfinished_uploads_are(home: Home) -> None:
    images = ImageSweep(Images(home.database), FakeEngine(), 30, Floor(0, 0), disk)
    files = ShareSweep(home.platform, home.paths, ShareSettings(keep_failed_days=1))
    uploads = Uploads(home.paths.uploads, home.paths.spool, 1000, lambda _bytes: None)
    abandoned = put(home.paths.uploads / "upload-0.anna", home.clock.now())
    housekeeping = Housekeeping(home.paths.journal, images, files, Share(home.paths), uploads, home.clock)
    Share(home.paths).open()
    old = put(home.paths.failed / ANNA / "a.zip", home.clock.now())
    home.clock.advance(2 * DAY_S)
    mark = (home.paths.share / ".dopq-share").rename(home.paths.share / "mark")
    housekeeping.tidy(files=True)
    assert old.exists()
    assert not abandoned.exists()
    mark.rename(home.paths.share / ".dopq-share")
    housekeeping.tidy(files=False)
    assert old.exists()
    housekeeping.tidy(files=True)
    assert not old.exists()
