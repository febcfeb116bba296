"""Drops by real accounts of the machine: what is not its user's is put aside unread, whatever trick brought it there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dopq.admission import Admission
from dopq.handover import Accepted, Taken
from dopq.inbox_watch import InboxWatch, WatchSettings
from dopq.job import JobId
from dopq.share import Share, make_user_folders
from dopq.share_owners import flattening
from dopq.utils.cpu import disk
from tests.bundles import good_bundle
from tests.platforms import ANNA, BERT, Home
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be several accounts")

UIDS = {ANNA: 54001, BERT: 54002}


class Lab:
    """A share, two users with accounts of their own, and a node that says yes or no."""

    def __init__(self, folder: Path, identity: str = "owner") -> None:
        self.home = Home(folder)
        for user, uid in UIDS.items():
            self.home.users.remove(user)
            self.home.users.add(user, role="user", weight=1.0, uid=uid, now=self.home.clock.now())  # type: ignore[arg-type]
            make_user_folders(self.home.paths, user, uid)
        self.paths = self.home.paths
        share = Share(self.paths)
        share.open()
        self.admission = Admission(self.home.users, identity)  # type: ignore[arg-type]
        self.accepted: list[str] = []
        self.waiting: list[Taken] = []
        settings = WatchSettings(self.paths.inbox, self.paths.spool, self.paths.invalid, 0.2, 0.1, 0.5)
        self.watch = InboxWatch(
            settings,
            self.waiting.append,
            share.trouble,
            lambda _: True,
            lambda _: None,
            flattening,
            self.home.clock,
            disk,
        )

    def look(self, times: int = 4) -> None:
        """Look, and let the node answer."""
        for _ in range(times):
            self.watch.look()
            wait_until(lambda: all(copy.done() for copy in self.watch._copies.values()), 10.0)
            while self.waiting:
                taken = self.waiting.pop()
                refusal = self.admission.refusal(taken)
                if refusal is None:
                    self.accepted.append(taken.bundle)
                order = Accepted(taken.key, JobId(1), taken.user, taken.bundle, "", build=True)
                self.watch.answer(refusal or order)
            self.home.clock.advance(0.3)

    def inbox(self, user: str = ANNA) -> Path:
        return self.paths.inbox / user

    def invalid(self, user: str = ANNA) -> set[str]:
        return {path.name for path in (self.paths.invalid / user).iterdir()}

    def reason(self, name: str) -> str:
        return (self.paths.invalid / ANNA / f"{name}.reason.txt").read_text()


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="dopq-lab-"))  # pytest's own folders let no other account through
    made.chmod(0o755)
    (made / "home").mkdir()
    (made / "home").chmod(0o1777)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def lab(folder: Path) -> Iterator[Lab]:
    lab = Lab(folder)
    yield lab
    lab.watch.stop()
    lab.home.close()


def as_user(user: str, script: str, *arguments: Path) -> None:
    """Run a shell script as the account of a user."""
    uid = UIDS[user]  # type: ignore[index]
    subprocess.run(
        ["/bin/sh", "-ec", script, "sh", *map(str, arguments)],
        user=uid,
        group=uid,
        extra_groups=[],
        check=True,
        cwd="/",
    )


@pytest.fixture
def bundle(folder: Path) -> Path:
    path = good_bundle(folder / "x.zip")
    path.chmod(0o644)
    return path


def test_what_a_user_copies_into_their_own_inbox_becomes_their_job(lab: Lab, bundle: Path) -> None:
    as_user(ANNA, 'umask 077; cp "$1" "$2/x.zip"; mkdir "$2/project"; cp "$1" "$2/project/y"', bundle, lab.inbox())
    lab.look()
    assert sorted(lab.accepted) == ["project.tar", "x.zip"]
    assert lab.invalid() == set()
    assert list(lab.inbox().iterdir()) == []


def test_nobody_copies_into_the_inbox_of_another(lab: Lab, bundle: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        as_user(BERT, 'cp "$1" "$2/x.zip"', bundle, lab.inbox())


def test_a_hard_link_to_anothers_file_is_refused_unread_and_stays_anothers(lab: Lab, folder: Path) -> None:
    secret = folder / "home" / "secret.zip"
    as_user(BERT, 'umask 077; echo secret > "$1"', secret)
    (lab.inbox() / "mine.zip").hardlink_to(
        secret
    )  # by root: this machine may forbid it to anna (fs.protected_hardlinks)
    lab.look()
    assert lab.accepted == []
    assert lab.invalid() == {"mine.zip", "mine.zip.reason.txt", "mine.zip.reason.json"}
    put_aside = (lab.paths.invalid / ANNA / "mine.zip").stat()
    assert (put_aside.st_uid, put_aside.st_mode & 0o777, put_aside.st_nlink) == (UIDS[BERT], 0o600, 2)
    assert list(lab.paths.spool.iterdir()) == [], "no copy of it is left with the node"
    assert f"uid {UIDS[BERT]}" in lab.reason("mine.zip")
    assert "a copy is yours" in lab.reason("mine.zip")
    facts = json.loads((lab.paths.invalid / ANNA / "mine.zip.reason.json").read_text())
    assert (facts["job"], facts["state"], facts["reason"]["code"]) == (None, "invalid", "not_its_users")
    with pytest.raises(subprocess.CalledProcessError):
        as_user(ANNA, 'cat "$1"', lab.paths.invalid / ANNA / "mine.zip")


def test_one_file_of_another_deep_in_a_folder_is_enough(lab: Lab, folder: Path, bundle: Path) -> None:
    secret = folder / "home" / "secret"
    as_user(BERT, 'echo secret > "$1"', secret)
    as_user(ANNA, 'mkdir -p "$1/project/deep"; echo x > "$1/project/Dockerfile"', lab.inbox())
    (lab.inbox() / "project" / "deep" / "data").hardlink_to(secret)
    lab.look()
    assert lab.accepted == []
    assert lab.invalid() == {"project", "project.reason.txt", "project.reason.json"}
    assert secret.read_text() == "secret\n"


def test_a_symbolic_link_to_anothers_file_is_passed_over(lab: Lab, folder: Path) -> None:
    secret = folder / "home" / "secret.zip"
    as_user(BERT, 'echo secret > "$1"', secret)
    as_user(ANNA, 'ln -s "$1" "$2/mine.zip"', secret, lab.inbox())
    lab.look()
    assert (lab.accepted, lab.invalid()) == ([], set())


def test_roots_own_files_are_taken_only_where_everybody_may_read_them(lab: Lab, bundle: Path) -> None:
    shutil.copy(bundle, lab.inbox() / "open.zip")
    shutil.copy(bundle, lab.inbox() / "closed.zip")
    (lab.inbox() / "closed.zip").chmod(0o600)
    lab.look()
    assert lab.accepted == ["open.zip"]
    assert "closed.zip" in lab.invalid()


def test_a_file_that_changes_hands_after_the_look_is_not_taken(lab: Lab, bundle: Path) -> None:
    path = lab.inbox() / "x.zip"
    as_user(ANNA, 'cp "$1" "$2"', bundle, path)
    lab.look(1)
    os.chown(path, UIDS[BERT], -1)
    lab.look()
    assert lab.accepted == []
    assert "x.zip" in lab.invalid()


def test_a_refused_drop_replaces_nothing_that_lies_there(lab: Lab, bundle: Path) -> None:
    for content in ("first", "second"):
        (lab.inbox() / "x.zip").write_text(content)
        os.chown(lab.inbox() / "x.zip", UIDS[BERT], -1)
        lab.look()
    bundles = [lab.paths.invalid / ANNA / name for name in lab.invalid() if name.endswith(".zip")]
    assert sorted(path.read_text() for path in bundles) == ["first", "second"]
    assert len(lab.invalid()) == 6


def test_a_drop_in_an_inbox_that_another_owns_waits_for_the_admin(lab: Lab, bundle: Path) -> None:
    as_user(ANNA, 'cp "$1" "$2/x.zip"', bundle, lab.inbox())
    os.chown(lab.inbox(), UIDS[BERT], -1)
    lab.look(12)
    [deferred] = lab.watch.deferred
    assert f"chown {UIDS[ANNA]}" in deferred.why
    os.chown(lab.inbox(), UIDS[ANNA], -1)
    lab.home.clock.advance(30)
    lab.look()
    assert lab.accepted == ["x.zip"]


def test_a_share_whose_shelf_takes_nothing_keeps_the_drop_in_the_inbox(lab: Lab) -> None:
    (lab.inbox() / "x.zip").write_text("x")
    os.chown(lab.inbox() / "x.zip", UIDS[BERT], -1)
    shutil.rmtree(lab.paths.invalid / ANNA)
    (lab.paths.invalid / ANNA).write_text("in the way")
    lab.look(12)
    [deferred] = lab.watch.deferred
    assert "could not be put into invalid/" in deferred.why
    assert (lab.inbox() / "x.zip").exists()


def test_with_identity_folder_whoever_can_write_to_an_inbox_is_its_user(folder: Path, bundle: Path) -> None:
    lab = Lab(folder, "folder")
    path = lab.inbox() / "x.zip"
    shutil.copy(bundle, path)
    os.chown(path, UIDS[BERT], -1)
    lab.look()
    assert lab.accepted == ["x.zip"]
    lab.watch.stop()
    lab.home.close()
