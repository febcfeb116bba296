"""Outputs: regular files and folders alone come home, whole, whatever a job left and however often we were killed."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import struct
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dopq.container_handler import outputs
from dopq.container_handler.outputs import collect, discard, portable_name

CAPABILITIES = struct.pack("<IIIII", 0x02000001, 1 << 7, 0, 0, 0)  # struct vfs_cap_data: cap_setuid+ep


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "job").mkdir()
    return tmp_path / "job"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "outbox").mkdir()
    return tmp_path / "outbox" / "output"


@pytest.fixture(params=["same file system", "another file system"])
def file_system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rename out of the job's folder works, or fails as between two file systems."""
    if request.param == "another file system":
        pretend_another_file_system(monkeypatch)


def pretend_another_file_system(monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.rename

    def renamed(self: Path, new: Path) -> Path:
        if "job" in self.parts and "job" not in Path(new).parts:
            raise OSError(18, "Invalid cross-device link")
        return rename(self, new)

    monkeypatch.setattr(Path, "rename", renamed)


def tree(folder: Path) -> dict[str, bytes | None]:
    """Every path below a folder with its content; None for a folder."""
    found = {}
    for path in folder.rglob("*"):
        info = path.lstat()
        assert stat.S_ISREG(info.st_mode) or stat.S_ISDIR(info.st_mode), path
        found[path.relative_to(folder).as_posix()] = path.read_bytes() if stat.S_ISREG(info.st_mode) else None
    return found


def left_behind(target: Path) -> list[str]:
    return target.with_name("output.left_behind.txt").read_text().splitlines()


def test_files_and_folders_come_home(source: Path, target: Path, file_system: None) -> None:
    (source / "a" / "b").mkdir(parents=True)
    (source / "empty").mkdir()
    (source / "a" / "b" / "x.txt").write_bytes(b"x")
    (source / "big").write_bytes(b"y" * 3_000_000)
    assert collect(source, target) == []
    assert tree(target) == {"a": None, "a/b": None, "a/b/x.txt": b"x", "big": b"y" * 3_000_000, "empty": None}
    assert [path.name for path in target.parent.iterdir()] == ["output"], "nothing of the moving is left"


def test_a_job_without_outputs_has_an_empty_folder(source: Path, target: Path) -> None:
    assert collect(source / "nothing", target) == []
    assert tree(target) == {}


def test_only_the_owners_executable_bit_comes_along(source: Path, target: Path, file_system: None) -> None:
    for number, mode in enumerate((0o600, 0o777, 0o4755, 0o2755, 0o6711, 0o1777, 0o000)):
        (source / str(number)).write_bytes(b"")
        (source / str(number)).chmod(mode)
    (source / "folder").mkdir()
    (source / "folder").chmod(0o7777)
    collect(source, target)
    modes = {path.name: stat.S_IMODE(path.lstat().st_mode) for path in target.iterdir()}
    executable, plain = 0o755, 0o644
    assert modes == {
        "0": plain,
        "1": executable,
        "2": executable,
        "3": executable,
        "4": executable,
        "5": executable,
        "6": plain,
        "folder": 0o755,
    }


def test_a_program_comes_home_without_the_capabilities_that_the_job_gave_it(
    source: Path, target: Path, file_system: None
) -> None:
    (source / "tool").write_bytes(b"#!/bin/sh")
    (source / "tool").chmod(0o755)
    os.setxattr(source / "tool", "security.capability", CAPABILITIES)
    collect(source, target)
    assert "security.capability" not in os.listxattr(target / "tool")


def test_what_comes_home_belongs_to_the_service(source: Path, target: Path, file_system: None) -> None:
    (source / "x").write_bytes(b"")
    os.chown(source / "x", 12345, 12345)
    collect(source, target)
    assert (target / "x").stat().st_uid == os.geteuid()


def test_links_devices_and_sockets_stay_behind_and_are_named(source: Path, target: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (source / "file").symlink_to(tmp_path / "secret")
    (source / "folder").symlink_to(tmp_path)
    (source / "self").symlink_to("self")
    (source / "loop").symlink_to(".")
    (source / "nothing").symlink_to("/nowhere")
    os.mkfifo(source / "pipe")
    os.mknod(source / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(source / "socket"))
    (source / "good").write_bytes(b"good")
    left = collect(source, target)
    assert tree(target) == {"good": b"good"}
    assert sorted(left) == [
        "file (a link)",
        "folder (a link)",
        "loop (a link)",
        "nothing (a link)",
        "null (a special file)",
        "pipe (a special file)",
        "self (a link)",
        "socket (a special file)",
    ]
    assert left_behind(target) == left
    assert (tmp_path / "secret").read_bytes() == b"secret"


def test_the_output_folder_itself_may_not_be_a_link(source: Path, target: Path, tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "x").write_bytes(b"secret")
    (source / "output").symlink_to(tmp_path / "secrets")
    collect(source / "output", target)
    assert (tmp_path / "secrets" / "x").exists()


def test_hard_links_come_home_as_files_of_their_own(
    source: Path, target: Path, tmp_path: Path, file_system: None
) -> None:
    (tmp_path / "elsewhere").write_bytes(b"shared")
    (tmp_path / "elsewhere").chmod(0o640)
    (source / "one").hardlink_to(tmp_path / "elsewhere")
    (source / "two").hardlink_to(tmp_path / "elsewhere")
    collect(source, target)
    assert tree(target) == {"one": b"shared", "two": b"shared"}
    (target / "one").write_bytes(b"changed")
    assert (tmp_path / "elsewhere").read_bytes() == b"shared"
    assert stat.S_IMODE((tmp_path / "elsewhere").stat().st_mode) == 0o640


def test_a_jobs_own_names_do_not_meet_those_of_the_moving(source: Path, target: Path, file_system: None) -> None:
    names = [".x.part", "x", ".output.partial", ".output.partial.part", "output", ".output.part", "x.left_behind.txt"]
    for name in names:
        (source / name).write_bytes(name.encode())
        (source / f"{name}-linked").hardlink_to(source / name)
    (source / ".y.part").mkdir()
    (source / "y").write_bytes(b"y")
    (source / "y-linked").hardlink_to(source / "y")
    assert collect(source, target) == []
    expected = {name: name.encode() for name in names} | {f"{name}-linked": name.encode() for name in names}
    assert tree(target) == expected | {".y.part": None, "y": b"y", "y-linked": b"y"}


def test_a_name_as_long_as_a_name_can_be_comes_home(source: Path, target: Path, file_system: None) -> None:
    (source / ("n" * 255)).write_bytes(b"x")
    assert collect(source, target) == []
    assert tree(target) == {"n" * 255: b"x"}


def test_a_name_that_the_share_does_not_take_stays_behind_and_the_rest_comes(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source / "12:30.log").write_bytes(b"x")
    (source / "good").write_bytes(b"x")
    move = outputs._move_file

    def picky(path: Path, place: Path, spare: Path) -> None:
        if ":" in place.name:  # as CIFS does
            raise OSError(22, "Invalid argument")
        move(path, place, spare)

    monkeypatch.setattr(outputs, "_move_file", picky)
    assert collect(source, target) == ["12:30.log (Invalid argument)"]
    assert tree(target) == {"good": b"x"}


def test_a_name_that_grows_too_long_on_its_way_stays_behind(source: Path, target: Path) -> None:
    (source / ("\x01" * 200)).write_bytes(b"x")  # 600 characters when they can be printed
    (source / "good").write_bytes(b"x")
    (left,) = collect(source, target)
    assert "File name too long" in left
    assert tree(target) == {"good": b"x"}


def test_a_tree_deeper_than_the_stack_does_not_keep_a_job_from_ending(source: Path, target: Path) -> None:
    nest(source, 1100)
    (source / "good").write_bytes(b"x")
    left = collect(source, target)
    assert any("too long" in line for line in left)
    assert (target / "good").read_bytes() == b"x"
    discard(source)
    discard(target)
    assert not source.exists()


def nest(folder: Path, depth: int) -> None:
    """Make folders inside each other: past Python's stack (1000 calls) and what a path may say (4096 bytes)."""
    descriptor = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("deep", dir_fd=descriptor)
        deeper = os.open("deep", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = deeper
    os.close(descriptor)


@pytest.mark.parametrize("disaster", [OSError(28, "No space left on device"), OSError(107, "Not connected")])
def test_a_share_that_is_full_or_away_is_told_and_nothing_is_lost(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch, disaster: OSError
) -> None:
    (source / "x").write_bytes(b"x")

    def fails(*_: object, **__: object) -> None:
        raise disaster

    pretend_another_file_system(monkeypatch)
    monkeypatch.setattr(shutil, "copyfile", fails)
    with pytest.raises(OSError, match=str(disaster.strerror)):
        collect(source, target)
    assert not target.exists()
    monkeypatch.undo()
    collect(source, target)
    assert tree(target) == {"x": b"x"}


class Killed(BaseException):
    """What a test throws where the process would die."""


STEPS = ["mkdir", "chmod", "rename", "replace", "unlink"]


@given(st.sampled_from(STEPS), st.integers(0, 6), st.booleans(), st.booleans())
def test_killed_at_any_step_and_repeated_everything_is_there_once(
    step: str, countdown: int, after: bool, far: bool
) -> None:
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as monkeypatch:
        source, target = Path(name) / "job", Path(name) / "outbox" / "output"
        (source / "a").mkdir(parents=True)
        target.parent.mkdir()
        for path in ("a/1", "a/2", "3"):
            (source / path).write_bytes(path.encode())
        (source / "4").hardlink_to(source / "3")
        if far:
            pretend_another_file_system(monkeypatch)
        real, left = getattr(Path, step), countdown

        def dying(self: Path, *args: object, **kwargs: object) -> object:
            nonlocal left
            left -= 1
            if left == -1 and not after:
                raise Killed
            result = real(self, *args, **kwargs)
            if left == -1:
                raise Killed
            return result

        with monkeypatch.context() as killing:
            killing.setattr(Path, step, dying)
            with suppress(Killed):
                collect(source, target)
        collect(source, target)
        assert collect(source, target) == []
        assert tree(target) == {"a": None, "a/1": b"a/1", "a/2": b"a/2", "3": b"3", "4": b"3"}
        assert [path.name for path in target.parent.iterdir()] == ["output"]


# --- any tree ---

names = st.binary(min_size=1, max_size=12).filter(lambda n: b"/" not in n and b"\0" not in n and n not in {b".", b".."})
kinds = st.sampled_from(["file", "setuid", "folder", "link", "absolute link", "fifo", "hard link"])


@given(st.lists(st.tuples(st.lists(names, min_size=1, max_size=3), kinds), max_size=12))
def test_nothing_but_plain_files_and_folders_comes_home(made: list[tuple[list[bytes], str]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        source, target = Path(name).resolve() / "job", Path(name) / "output"
        source.mkdir()
        count = sum(make(source, parts, kind) for parts, kind in made)
        collect(source, target)
        files = 0
        for path in target.rglob("*"):
            info = path.lstat()
            assert stat.S_ISREG(info.st_mode) or stat.S_ISDIR(info.st_mode)
            assert stat.S_IMODE(info.st_mode) in ({0o755} if stat.S_ISDIR(info.st_mode) else {0o644, 0o755})
            path.name.encode()
            assert not any(ord(character) < 32 or character == "\\" for character in path.name)
            files += stat.S_ISREG(info.st_mode)
        assert files == count, "no two became one"


def make(source: Path, parts: list[bytes], kind: str) -> int:
    """Make one thing, if its place is free; how many regular files that makes."""
    path = source.joinpath(*(os.fsdecode(part) for part in parts))
    if not path.parent.resolve().is_relative_to(source):
        return 0  # through a link that was made before
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        match kind:
            case "folder":
                path.mkdir()
            case "link":
                path.symlink_to("..")
            case "absolute link":
                path.symlink_to("/etc/passwd")
            case "fifo":
                os.mkfifo(path)
            case "hard link":
                path.hardlink_to(next(p for p in source.iterdir() if p.is_file() and not p.is_symlink()))
                return 1
            case _:
                path.touch(exist_ok=False)
                path.chmod(0o4755 if kind == "setuid" else 0o600)
                return 1
    except (OSError, StopIteration):
        pass
    return 0


file_names = names.map(os.fsdecode)


@given(file_names, file_names)
def test_no_two_names_become_one(one: str, other: str) -> None:
    assert (portable_name(one) == portable_name(other)) == (one == other)


@pytest.mark.parametrize(
    ("name", "portable"),
    [
        ("loss.txt", "loss.txt"),
        ("Übersicht 50%.txt", "Übersicht 50%.txt"),
        ("a%20b", "a%20b"),
        ("caf\udce9", "caf%E9"),
        ("caf%E9", "caf%25E9"),
        ("a\nb", "a%0Ab"),
        ("a\\b", "a%5Cb"),
        ("%25", "%2525"),
    ],
)
def test_names_change_only_where_they_must(name: str, portable: str) -> None:
    assert portable_name(name) == portable


# --- throwing away ---


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "jobs" / "7" / "output").mkdir(parents=True)
    yield tmp_path / "jobs" / "7"
    assert list((tmp_path / "jobs").iterdir()) == []


def test_a_folder_is_thrown_away_with_all_that_is_in_it(folder: Path) -> None:
    for name in ("0", "1", "a"):
        (folder / "output" / name / "0" / "1").mkdir(parents=True)
        (folder / "output" / name / "file").write_bytes(b"")
    (folder / "link").symlink_to("/etc")
    os.mkfifo(folder / "pipe")
    discard(folder)


def test_however_deep_it_is(folder: Path) -> None:
    nest(folder, 1100)
    discard(folder)


def test_throwing_away_nothing_is_fine(folder: Path) -> None:
    discard(folder)
    discard(folder)


def test_what_links_point_to_stays(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis").write_bytes(b"x")
    (folder / "output" / "link").symlink_to(tmp_path / "precious")
    discard(folder)
    assert (tmp_path / "precious" / "thesis").exists()


def test_discarding_twice_at_once_leaves_nothing(tmp_path: Path) -> None:
    for round_ in range(30):
        folder = tmp_path / str(round_)
        (folder / "deep").mkdir(parents=True)
        all_of_them = [threading.Thread(target=discard, args=(folder,)) for _ in range(4)]
        for thread in all_of_them:
            thread.start()
        for thread in all_of_them:
            thread.join()
    assert list(tmp_path.iterdir()) == []
