"""Honest tar files, however old or new the tool that wrote them. Dishonest ones are in tests/intake."""

from __future__ import annotations

import gzip
import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from dopq.container_handler.archive import Kind, Limits, Member, size_problems
from dopq.container_handler.archive_kinds import is_whole, open_archive
from dopq.container_handler.refusal import problems_of
from dopq.container_handler.scratch import Scratch
from dopq.errors import BundleRejected
from tests.intake.raw_tar import END, FOLDER, base_256, header, long_name, member, pax, tar_bytes


def read(path: Path, data: bytes, limits: Limits | None = None) -> dict[str, bytes]:
    """Content of every file by name; folders have none."""
    path.write_bytes(data)
    with path.open("rb") as file, Scratch(path.parent) as scratch:
        archive = open_archive(file, path.name, limits or Limits(), scratch)
        return {entry.name: archive.open(entry).read() if entry.kind is Kind.FILE else b"" for entry in archive.members}


def members(path: Path, data: bytes) -> tuple[Member, ...]:
    path.write_bytes(data)
    with path.open("rb") as file, Scratch(path.parent) as scratch:
        return tuple(open_archive(file, path.name, Limits(), scratch).members)


def refused(path: Path, data: bytes, limits: Limits | None = None) -> str:
    with pytest.raises(BundleRejected) as caught:
        read(path, data, limits)
    [problem] = problems_of(caught.value)
    return problem.what


@pytest.fixture
def tar(tmp_path: Path) -> Path:
    return tmp_path / "b.tar"


@pytest.fixture
def tgz(tmp_path: Path) -> Path:
    return tmp_path / "b.tar.gz"


# --- what tools write -----------------------------------------------------------------------------------------------

LONG = "a/" * 40 + "b" * 150


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("name", ["Dockerfile", "x" * 99 + "/" + "y" * 90])
def test_every_format_of_python_is_read(tar: Path, form: int, name: str) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as made:
        info = tarfile.TarInfo(name)
        info.size = 600
        made.addfile(info, io.BytesIO(b"z" * 600))
    assert read(tar, stream.getvalue()) == {name: b"z" * 600}


@pytest.mark.parametrize("form", ["v7", "oldgnu", "gnu", "ustar", "posix"])
def test_every_format_of_gnu_tar_is_read(tar: Path, tmp_path: Path, form: str) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "run.sh").write_text("#!/bin/sh\n")
    (tmp_path / "p" / "run.sh").chmod(0o755)
    subprocess.run(["tar", f"--format={form}", "-cf", tar, "p"], cwd=tmp_path, check=True)
    folder, script = members(tar, tar.read_bytes())
    assert (folder.kind, str(folder.path)) == (Kind.FOLDER, "p")
    assert (script.name, script.executable) == ("p/run.sh", True)


def test_a_long_name_may_be_written_in_three_ways(tar: Path) -> None:
    assert list(read(tar, tar_bytes(long_name(LONG.encode()), member("short")))) == [LONG]
    assert list(read(tar, tar_bytes(pax({"path": LONG.encode()}), member("short")))) == [LONG]
    assert list(read(tar, tar_bytes(member("b", prefix=b"a" * 150)))) == ["a" * 150 + "/b"]


def test_what_gits_archives_say_of_their_commit_is_passed_over(tar: Path) -> None:
    comment = pax({"comment": b"0123456789abcdef"}, b"g")
    assert list(read(tar, tar_bytes(comment, member("a"), member("b")))) == ["a", "b"]


def test_an_extension_is_for_one_entry_only(tar: Path) -> None:
    assert list(read(tar, tar_bytes(long_name(b"long"), member("a"), member("b")))) == ["long", "b"]


def test_a_size_may_be_in_binary_or_in_an_extension(tar: Path) -> None:
    assert read(tar, tar_bytes(member("a", b"abc", size=base_256(3)))) == {"a": b"abc"}
    assert read(tar, tar_bytes(pax({"size": b"3"}), member("a", b"abc", size=0))) == {"a": b"abc"}


def test_the_oldest_tars_mark_folders_by_a_slash_and_have_no_magic(tar: Path) -> None:
    old = {"magic": b"\0" * 8}
    entries = members(tar, tar_bytes(member("p/", b"", b"\0", **old), member("p/a", b"x", b"\0", **old)))
    assert [entry.kind for entry in entries] == [Kind.FOLDER, Kind.FILE]


def test_gnus_use_of_the_prefix_is_no_part_of_the_name(tar: Path) -> None:
    assert list(read(tar, tar_bytes(member("a", magic=b"ustar  \0", prefix=b"1234")))) == ["a"]


def test_a_tar_of_nothing_has_no_members(tar: Path) -> None:
    assert members(tar, END) == ()


def test_padding_with_zeros_is_fine(tar: Path) -> None:
    assert list(read(tar, tar_bytes(member("a")) + bytes(10_240))) == ["a"]


def test_content_is_read_in_pieces_of_any_size(tar: Path) -> None:
    tar.write_bytes(tar_bytes(member("a", bytes(range(200))), member("b", b"other")))
    with tar.open("rb") as file, Scratch(tar.parent) as scratch:
        archive = open_archive(file, tar.name, Limits(), scratch)
        content, other = archive.open(archive.members[0]), archive.open(archive.members[1])
        assert content.read(3) == bytes([0, 1, 2])
        assert other.read() == b"other"
        assert content.read(0) == b""
        assert content.read() == bytes(range(3, 200))
        assert content.read() == b""


def test_a_file_that_has_become_shorter_is_noticed(tar: Path) -> None:
    tar.write_bytes(tar_bytes(member("a", bytes(2000))))
    with tar.open("rb") as file, Scratch(tar.parent) as scratch:
        archive = open_archive(file, tar.name, Limits(), scratch)
        tar.write_bytes(b"")
        with pytest.raises(BundleRejected, match="shorter"):
            archive.open(archive.members[0]).read()


# --- half a copy ----------------------------------------------------------------------------------------------------


def test_every_part_of_a_tar_is_refused_as_half_a_copy(tar: Path) -> None:
    whole = tar_bytes(member("d", b"", FOLDER), pax({"path": b"ab"}), member("a", b"x" * 700), member("b"))
    for size in range(1, len(whole), 11):
        assert refused(tar, whole[:size]) == "the end of the tar file is missing, as in half a copy", size
    assert list(read(tar, whole)) == ["d", "ab", "b"]


def test_a_tar_that_lacks_bytes_of_its_last_block_is_half_a_copy(tar: Path) -> None:
    for size in (2 * 512 + 1, 3 * 512 - 1, 20 * 512 - 1):
        lacking = tar_bytes(member("a"), end=bytes(size))
        assert refused(tar, lacking) == "the end of the tar file is missing, as in half a copy", size


def test_every_part_of_a_gzipped_tar_is_refused(tgz: Path) -> None:
    whole = gzip.compress(tar_bytes(member("a", bytes(range(256)) * 4)), mtime=0)
    for size in range(2, len(whole)):
        assert refused(tgz, whole[:size]) == "the end of the gzip file is missing, as in half a copy", size


@pytest.mark.parametrize("name", ["b.tar", "b.tar.gz", "b.tgz"])
def test_half_a_copy_is_told_from_a_whole_file_beforehand(tmp_path: Path, name: str) -> None:
    whole = tar_bytes(member("a", b"x" * 5000))
    if name != "b.tar":
        whole = gzip.compress(whole)
    path = tmp_path / name
    for data, complete in ((whole, True), (whole[:-700], False), (whole[: len(whole) // 2], False)):
        path.write_bytes(data)
        with path.open("rb") as file:
            assert is_whole(file, name) == complete


def test_what_is_damaged_or_no_archive_counts_as_whole(tmp_path: Path) -> None:
    path = tmp_path / "b"
    path.write_bytes(b"\x1f\x8b hello")
    with path.open("rb") as file:
        assert is_whole(file, "b.tar.gz")
        assert is_whole(file, "b.rar")


# --- gzip -----------------------------------------------------------------------------------------------------------


def test_a_gzip_file_of_several_members_is_one_file(tgz: Path) -> None:
    whole = tar_bytes(member("a"), member("b"))
    assert list(read(tgz, gzip.compress(whole[:700]) + gzip.compress(whole[700:]))) == ["a", "b"]


def test_a_gzip_file_of_the_largest_size_is_taken_and_one_more_byte_is_not(tgz: Path) -> None:
    limits = Limits(unpacked_bytes=0, entries=1)  # leaves 8 blocks
    packed = gzip.compress(tar_bytes(member("a", b""), end=bytes(7 * 512)))
    assert list(read(tgz, packed, limits)) == ["a"]
    more = gzip.compress(tar_bytes(member("a", b""), end=bytes(7 * 512 + 1)))
    assert refused(tgz, more, limits) == "it unpacks to more than 4096 bytes, which is all that is allowed"


# --- limits ---------------------------------------------------------------------------------------------------------


def test_reading_stops_one_entry_after_the_limit(tar: Path) -> None:
    tar.write_bytes(tar_bytes(*(member(str(number), b"") for number in range(50)), end=b"garbage"))
    with tar.open("rb") as file, Scratch(tar.parent) as scratch:
        assert len(open_archive(file, tar.name, Limits(entries=10), scratch).members) == 11


def test_a_tar_of_too_many_entries_is_refused_without_a_count_that_nobody_made() -> None:
    several = [Member(str(number), Kind.FILE, 0, executable=False) for number in range(11)]
    assert [problem.what for problem in size_problems(several, Limits(entries=10))] == ["it has more than 10 entries"]


def test_a_tar_of_too_many_bytes_is_refused(tar: Path) -> None:
    assert "100 are allowed" in refused(tar, tar_bytes(member("a")), Limits(bundle_bytes=100))


def test_a_damaged_header_is_named_by_the_entry_before_it(tar: Path) -> None:
    data = tar_bytes(member("good"), header("bad", checksum=b"0000000\0"))
    assert refused(tar, data) == "it is damaged after 'good': the checksum of a header is wrong"
