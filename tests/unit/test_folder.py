"""Folders that are handed in: packed as what they are, whatever is in them and whoever changes them meanwhile."""

from __future__ import annotations

import errno
import io
import os
import socket
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dopq.container_handler import folder as folder_module
from dopq.container_handler.archive import Limits
from dopq.container_handler.folder import Changed, Unfit, pack, tree_of
from dopq.container_handler.tar_archive import TarArchive
from dopq.identity import Owner
from dopq.intake import Drop, bundle_name, copy_to_spool, look_into, remove_drop, remove_leftovers
from dopq.job import UserName
from dopq.stamp import Stamp
from tests.bundles import DOCKERFILE

ANNA = UserName("anna")


@contextmanager
def opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def digest(path: Path) -> str:
    with opened(path) as folder:
        return tree_of(folder).digest


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    inbox = tmp_path / "inbox" / ANNA
    inbox.mkdir(parents=True)
    (tmp_path / "spool").mkdir()
    return inbox


@pytest.fixture
def project(inbox: Path) -> Path:
    project = inbox / "project"
    (project / "src" / "empty").mkdir(parents=True)
    (project / "Dockerfile").write_text(DOCKERFILE)
    (project / "src" / "run.sh").write_text("#!/bin/sh\n")
    (project / "src" / "run.sh").chmod(0o755)
    return project


def seen(inbox: Path) -> dict[Drop, Stamp]:
    return dict(look_into(inbox, ANNA, (), 10).drops)


def only(inbox: Path) -> tuple[Drop, Stamp]:
    [found] = seen(inbox).items()
    return found


# --- packing --------------------------------------------------------------------------------------------------------


def packed(path: Path) -> tarfile.TarFile:
    stream = io.BytesIO()
    with opened(path) as folder:
        pack(folder, stream)
    stream.seek(0)
    return tarfile.open(fileobj=stream)


def test_a_folder_becomes_a_tar_with_modes(project: Path) -> None:
    with packed(project) as tar:
        modes = {info.name: info.mode & 0o111 for info in tar.getmembers() if info.isreg()}
        assert modes == {"Dockerfile": 0, "src/run.sh": 0o111}
        assert tar.getmember("src/empty").isdir()


def test_the_tar_is_one_that_our_own_reader_takes(project: Path, tmp_path: Path) -> None:
    (project / ("x" * 150)).write_text("long")
    (project / "grüße").write_text("utf-8")
    with (tmp_path / "out.tar").open("w+b") as out, opened(project) as folder:
        pack(folder, out)
        out.flush()
        names = [str(member.path) for member in TarArchive(out, Limits()).members]
    assert names == sorted(["Dockerfile", "grüße", "src", "src/empty", "src/run.sh", "x" * 150])


def test_links_and_special_files_are_packed_as_what_they_are(project: Path) -> None:
    (project / "link").symlink_to("/etc/passwd")
    (project / "folder-link").symlink_to("/etc")
    os.mkfifo(project / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(project / "socket"))
    with packed(project) as tar:
        kinds = {info.name: info.type for info in tar.getmembers() if not info.isreg() and not info.isdir()}
    fifo, link = tarfile.FIFOTYPE, tarfile.SYMTYPE
    assert kinds == {"link": link, "folder-link": link, "fifo": fifo, "socket": fifo}


def test_a_file_that_becomes_shorter_while_it_is_read_is_noticed(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fstat

    def before_it_was_cut(descriptor: int) -> os.stat_result:
        info = real(descriptor)
        os.truncate(descriptor if info.st_size == 0 else f"/proc/self/fd/{descriptor}", 0)
        return info

    monkeypatch.setattr(folder_module.os, "fstat", before_it_was_cut)
    with pytest.raises(Changed):
        packed(project)


@pytest.mark.parametrize("name", ["Dockerfile", "src"])
def test_what_a_link_replaces_while_a_folder_is_packed_is_not_followed(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    stat, secret = os.stat, b"not in the folder"
    (tmp_path / "Dockerfile").write_bytes(secret)
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "run.sh").write_bytes(secret)

    def swapped_after_the_look(path: str, **how: Any) -> os.stat_result:
        info = stat(path, **how)
        if path == name:
            (project / name).rename(tmp_path / "gone")
            (project / name).symlink_to(tmp_path / name)
        return info

    stream = io.BytesIO()
    with opened(project) as folder, monkeypatch.context() as meddling:
        meddling.setattr(folder_module.os, "stat", swapped_after_the_look)
        with pytest.raises(OSError, match=f"{os.strerror(errno.ELOOP)}|{os.strerror(errno.ENOTDIR)}"):
            pack(folder, stream)
    assert secret not in stream.getvalue()


# --- standing still -------------------------------------------------------------------------------------------------


def test_every_change_in_a_folder_changes_its_digest(project: Path) -> None:
    digests = {digest(project)}
    changes = [
        lambda: (project / "new").write_text(""),
        lambda: (project / "new").write_text("longer"),
        (project / "src" / "empty" / "deep").mkdir,
        lambda: (project / "src" / "run.sh").chmod(0o644),
        lambda: (project / "new").rename(project / "other"),
        (project / "other").unlink,
    ]
    for change in changes:
        change()
        digests.add(digest(project))
    assert len(digests) == len(changes) + 1


def test_a_folder_without_files_waits_for_some(inbox: Path) -> None:
    (inbox / "new folder" / "sub").mkdir(parents=True)
    assert only(inbox)[1].obstacle == "there is no file in it yet"


def test_a_folder_of_too_many_files_is_left_where_it_is(
    project: Path, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "MOST_ENTRIES", 3)
    assert only(inbox)[1].obstacle == "it has more than 3 files and folders; pack it as .tar or .zip"


def test_a_folder_that_is_too_deep_is_left_where_it_is(inbox: Path) -> None:
    (inbox / "/".join(["d"] * 70)).mkdir(parents=True)
    with opened(inbox / "d") as folder, pytest.raises(Unfit):
        tree_of(folder)
    assert "folders deep" in only(inbox)[1].obstacle


def test_a_link_to_a_folder_is_no_drop(inbox: Path) -> None:
    (inbox / "link").symlink_to("/etc")
    assert seen(inbox) == {}


# --- taking ---------------------------------------------------------------------------------------------------------


def test_a_folder_is_taken_as_one_tar_and_then_removed(project: Path, inbox: Path, tmp_path: Path) -> None:
    drop, stamp = only(inbox)
    assert bundle_name(drop, stamp) == "project.tar"
    key = copy_to_spool(drop, stamp, tmp_path / "spool")
    assert key == drop.key(stamp)
    with tarfile.open(tmp_path / "spool" / key) as tar:
        assert "src/run.sh" in tar.getnames()
    remove_drop(drop, stamp)
    assert list(inbox.iterdir()) == []
    remove_drop(drop, stamp)  # twice is fine


def test_the_same_folder_has_the_same_key_however_often_it_is_met(project: Path, inbox: Path) -> None:
    (first, first_stamp), (second, second_stamp) = only(inbox), only(inbox)
    assert first.key(first_stamp) == second.key(second_stamp)


def test_a_folder_that_has_changed_since_the_look_is_not_taken(project: Path, inbox: Path, tmp_path: Path) -> None:
    drop, stamp = only(inbox)
    (project / "new").write_text("x")
    assert copy_to_spool(drop, stamp, tmp_path / "spool") is None
    assert list((tmp_path / "spool").iterdir()) == []


def test_a_folder_that_changes_while_it_is_copied_is_not_taken(
    project: Path, inbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop, stamp = only(inbox)

    def meddled(folder: int, out: io.BytesIO) -> frozenset[Owner]:
        owners = pack(folder, out)
        (project / "new").write_text("x")
        return owners

    monkeypatch.setattr("dopq.intake.pack", meddled)
    assert copy_to_spool(drop, stamp, tmp_path / "spool") is None
    assert list((tmp_path / "spool").iterdir()) == []


def test_a_folder_into_which_anothers_file_slips_while_it_is_copied_is_not_taken(
    project: Path, inbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Swapped and swapped back, so that both looks at the names see nothing: the descriptors have seen it."""
    drop, stamp = only(inbox)
    monkeypatch.setattr("dopq.intake.pack", lambda folder, out: pack(folder, out) | {Owner(54002, True)})
    with pytest.raises(OSError, match="changes all the time"):
        copy_to_spool(drop, stamp, tmp_path / "spool")
    assert list((tmp_path / "spool").iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_the_owners_of_a_folder_are_those_of_all_that_is_in_it(project: Path) -> None:
    (project / "deep").mkdir(exist_ok=True)
    (project / "deep" / "other").write_text("x")
    (project / "deep" / "other").chmod(0o640)
    os.chown(project / "deep" / "other", 54002, -1)
    folder = os.open(project, os.O_RDONLY)
    try:
        assert pack(folder, io.BytesIO()) == tree_of(folder).owners
        assert Owner(54002, False) in tree_of(folder).owners
    finally:
        os.close(folder)


def test_a_folder_that_has_changed_since_it_was_taken_is_not_removed(project: Path, inbox: Path) -> None:
    drop, stamp = only(inbox)
    (project / "new").write_text("precious")
    remove_drop(drop, stamp)
    assert (project / "new").read_text() == "precious"


def test_a_folder_whose_place_a_link_has_taken_is_not_followed(project: Path, inbox: Path, tmp_path: Path) -> None:
    drop, stamp = only(inbox)
    elsewhere = tmp_path / "elsewhere"
    project.rename(elsewhere)
    project.symlink_to(elsewhere)
    assert copy_to_spool(drop, stamp, tmp_path / "spool") is None
    assert list((tmp_path / "spool").iterdir()) == []
    remove_drop(drop, stamp)
    assert project.is_symlink()
    assert (elsewhere / "Dockerfile").exists()


def test_what_a_killed_provider_was_removing_is_removed(project: Path, inbox: Path) -> None:
    project.rename(inbox / ".dopq-gone-drop-1")
    assert seen(inbox) == {}
    remove_leftovers(inbox)
    assert list(inbox.iterdir()) == []
