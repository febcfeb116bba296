"""Watching the inboxes: what is taken, what is left and why, and whom nobody keeps waiting."""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dopq import user_inbox
from dopq.config import NodeSettings, Paths
from dopq.handover import Accepted, Declined, Taken
from dopq.inbox_watch import InboxWatch, WatchSettings
from dopq.intake import Drop
from dopq.job import JobId
from dopq.share import Share
from dopq.share_owners import flattening
from dopq.stamp import Stamp
from dopq.utils.cpu import disk
from tests.bundles import good_bundle
from tests.fakes import FakeClock
from tests.platforms import ANNA, BERT
from tests.waiting import wait_until


def has_end(path: Path) -> bool:
    return path.suffix != ".zip" or b"PK\x05\x06" in path.read_bytes()


class Bench:
    """A watch over a real share, with a clock that stands still."""

    def __init__(self, folder: Path) -> None:
        self.paths = Paths(folder, NodeSettings())
        self.paths.make()
        self.share = Share(self.paths)
        self.share.open()
        self.clock = FakeClock()
        self.taken: list[Taken] = []
        self.full: str | None = None
        for user in (ANNA, BERT):
            (self.paths.inbox / user).mkdir()
        settings = WatchSettings(self.paths.inbox, self.paths.spool, self.paths.invalid, 0.2, 0.1, 0.5)
        self.watch = InboxWatch(
            settings, self.taken.append, self.share.trouble, has_end, lambda _: self.full, flattening, self.clock, disk
        )

    def inbox(self, user: str = ANNA) -> Path:
        return self.paths.inbox / user

    def look(self, times: int = 1, every_s: float = 0.3) -> None:
        for _ in range(times):
            self.watch.look()
            self.clock.advance(every_s)
            wait_until(lambda: all(copy.done() for copy in self.watch._copies.values()), 10.0)

    def names(self) -> list[str]:
        return [taken.bundle for taken in self.taken]

    def accept_all(self) -> None:
        for taken in self.taken:
            self.watch.answer(Accepted(taken.key, JobId(1), taken.user, taken.bundle, "", build=True))

    def why(self) -> dict[str, str]:
        return {file.name: file.why for file in self.watch.deferred}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.watch.stop()


def test_a_bundle_that_stands_still_is_taken_and_then_removed(bench: Bench) -> None:
    path = good_bundle(bench.inbox() / "a.zip")
    content = path.read_bytes()
    bench.look(2)
    [taken] = bench.taken
    assert (taken.user, taken.bundle) == (ANNA, "a.zip")
    assert (bench.paths.spool / taken.key).read_bytes() == content
    assert path.exists(), "it goes only when the node has it in its journal"
    bench.accept_all()
    bench.look()
    assert not path.exists()


def test_a_bundle_is_asked_about_once(bench: Bench) -> None:
    good_bundle(bench.inbox() / "a.zip")
    bench.look(10)
    assert bench.names() == ["a.zip"]


def test_a_growing_file_is_left_and_told_of(bench: Bench) -> None:
    path = bench.inbox() / "big.tar"
    for n in range(10):
        with path.open("ab") as file:
            file.write(b"x" * 100)
        os.utime(path, ns=(n, n))
        bench.look()
    assert bench.taken == []
    [file] = bench.watch.deferred
    assert (file.user, file.name, file.size_bytes) == (ANNA, "big.tar", 1000)
    assert "still changing" in file.why
    bench.look(2)
    assert bench.names() == ["big.tar"]
    assert bench.watch.deferred == ()


def test_a_zip_without_its_end_is_waited_for_and_then_judged(bench: Bench) -> None:
    path = good_bundle(bench.inbox() / "cut.zip")
    path.write_bytes(path.read_bytes()[:-30])
    bench.look(10)
    assert bench.taken == []
    assert "end of the archive is missing" in bench.why()["cut.zip"]
    bench.look(10)
    assert bench.names() == ["cut.zip"]


@pytest.mark.parametrize("name", ["a.zip.part", "a.zip.tmp", "a.zip~", ".a.zip", "a.zip.crdownload"])
def test_a_temporary_name_is_never_taken_and_told_of(bench: Bench, name: str) -> None:
    path = good_bundle(bench.inbox() / name)
    bench.look(10)
    assert bench.taken == []
    assert "temporary" in bench.why()[name]
    path.rename(bench.inbox() / "done.zip")
    bench.look(2)
    assert bench.names() == ["done.zip"]


def test_a_file_that_is_only_arriving_is_not_told_of(bench: Bench) -> None:
    (bench.inbox() / "a.zip.part").touch()
    bench.look(3)
    assert bench.watch.deferred == ()


def test_what_is_deferred_is_logged_once(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    (bench.inbox() / "a.zip.part").touch()
    bench.look(50)
    assert sum("drop_deferred" in line for line in caplog.messages) == 1


def test_the_bundles_of_a_stranger_stay_and_are_asked_about_again(bench: Bench) -> None:
    path = good_bundle(bench.inbox() / "a.zip")
    bench.look(2)
    [taken] = bench.taken
    bench.watch.answer(Declined(taken.key, "no user anna is registered"))
    bench.look(10)
    assert path.exists()
    assert list(bench.paths.spool.iterdir()) == [], "nobody's bytes fill our disk"
    assert "no user anna is registered" in bench.why()["a.zip"]
    assert len(bench.taken) == 1
    bench.clock.advance(30)
    bench.look(2)
    assert len(bench.taken) == 2


def test_with_a_full_disk_bundles_wait_in_the_inbox(bench: Bench) -> None:
    good_bundle(bench.inbox() / "a.zip")
    bench.full = "Waiting for space: 0.1 GiB free at /state, needs 2.0 GiB."
    bench.look(10)
    assert bench.taken == []
    assert bench.why()["a.zip"] == bench.full
    bench.full = None
    bench.look(2)
    assert bench.names() == ["a.zip"]


def test_a_share_that_lets_nothing_go_is_told_of_and_nothing_is_taken_twice(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(drop: Drop, stamp: Stamp) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(drop.path))

    path = good_bundle(bench.inbox() / "a.zip")
    with monkeypatch.context() as share:
        share.setattr(user_inbox, "remove_drop", read_only)
        bench.look(2)
        bench.accept_all()
        bench.look(40)
        assert "Read-only file system" in (bench.watch.trouble or "")
        assert "taken, but cannot be removed" in bench.why()["a.zip"]
    bench.look(40)
    assert not path.exists()
    assert len(bench.taken) == 1
    assert bench.watch.trouble is None


def test_a_file_that_cannot_be_read_holds_up_no_other(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    really = user_inbox.copy_to_spool

    def failing(drop: Drop, stamp: Stamp, spool: Path) -> str | None:
        if drop.path.name == "bad.zip":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return really(drop, stamp, spool)

    monkeypatch.setattr(user_inbox, "copy_to_spool", failing)
    good_bundle(bench.inbox() / "bad.zip")
    good_bundle(bench.inbox() / "good.zip")
    bench.look(10)
    assert bench.names() == ["good.zip"]
    assert "Input/output error" in bench.why()["bad.zip"]


def test_a_name_that_is_not_utf_8_becomes_text(bench: Bench) -> None:
    good_bundle(bench.inbox() / "plain.zip").rename(os.fsdecode(os.fsencode(bench.inbox()) + b"/caf\xe9.zip"))
    bench.look(2)
    assert bench.names() == ["caf\ufffd.zip"]
    bench.accept_all()
    bench.look()
    assert list(bench.inbox().iterdir()) == []


def test_a_drop_is_the_same_after_its_share_was_mounted_anew(bench: Bench) -> None:
    drop = Drop(ANNA, good_bundle(bench.inbox() / "a.zip"))
    stamp = Stamp.of(drop.path.stat())
    assert drop.key(replace(stamp, device=stamp.device + 1)) == drop.key(stamp)
    assert drop.key(replace(stamp, inode=stamp.inode + 1)) != drop.key(stamp)
    assert drop.key(replace(stamp, ctime_ns=stamp.ctime_ns + 1)) != drop.key(stamp)


def test_a_share_that_is_away_is_waited_for_and_told_of_once_a_minute(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    good_bundle(bench.inbox() / "a.zip")
    away = bench.paths.share.rename(bench.paths.share.with_name("away"))
    bench.paths.share.mkdir()
    bench.look(150, every_s=1.0)
    assert "not mounted, or empty" in (bench.watch.trouble or "")
    assert sum("share_trouble" in line for line in caplog.messages) == 3  # at 0, 60 and 120 s
    bench.paths.share.rmdir()
    away.rename(bench.paths.share)
    bench.look(2)
    assert bench.watch.trouble is None
    assert bench.names() == ["a.zip"]


def test_a_look_that_does_not_come_back_is_told_of(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.watch._began_s = bench.clock.monotonic()
    bench.clock.advance(11)
    assert "does not answer" in (bench.watch.trouble or "")


def test_a_hundred_thousand_files_of_one_user_hold_up_nobody(bench: Bench) -> None:
    for number in range(100_000):
        os.close(os.open(bench.inbox(ANNA) / f"{number:06}.tar", os.O_CREAT | os.O_WRONLY))
    good_bundle(bench.inbox(BERT) / "b.zip")
    begun = time.monotonic()
    bench.look(3)
    assert time.monotonic() - begun < 30, "a look takes what 200 files take, not 100,000"
    assert "b.zip" in bench.names()
    assert 200 <= len(bench.taken) <= 401
    bench.accept_all()
    bench.look(3)
    assert len(set(bench.names())) > 201, "the next ones come into view when the first have gone"


def test_users_are_looked_at_in_turn_when_the_time_does_not_suffice_for_all(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = user_inbox.UserInbox.look

    def slow(inbox: user_inbox.UserInbox) -> list[tuple[Drop, Stamp]]:
        bench.clock.advance(1.0)  # twice what a look may take
        return really(inbox)

    monkeypatch.setattr(user_inbox.UserInbox, "look", slow)
    good_bundle(bench.inbox(ANNA) / "a.zip")
    good_bundle(bench.inbox(BERT) / "b.zip")
    bench.look(4)
    assert sorted(bench.names()) == ["a.zip", "b.zip"]


def test_a_look_that_is_under_way_at_the_end_begins_no_copy(bench: Bench) -> None:
    good_bundle(bench.inbox(ANNA) / "a.zip")
    bench.watch.stop()
    bench.look(4)
    assert bench.names() == []
