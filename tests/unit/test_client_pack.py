"""A folder becomes the same bundle every time, with what makes it run."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import pytest

from dopq.errors import BundleRejected, UserError
from dopq_client.pack import pack


def packed(folder: Path) -> bytes:
    target = io.BytesIO()
    pack(folder, target)
    return target.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "training"
    (folder / "code").mkdir(parents=True)
    (folder / "Dockerfile").write_text("FROM scratch\n")
    (folder / "code" / "run.sh").write_text("#!/bin/sh\n")
    (folder / "code" / "run.sh").chmod(0o755)
    return folder


def test_executable_bits_are_kept(folder: Path) -> None:
    modes = {
        entry.filename: entry.external_attr >> 16 for entry in zipfile.ZipFile(io.BytesIO(packed(folder))).filelist
    }
    assert modes == {"Dockerfile": 0o100644, "code/": 0o040755, "code/run.sh": 0o100755}


def test_the_same_folder_gives_the_same_bytes(folder: Path) -> None:
    before = packed(folder)
    os.utime(folder / "Dockerfile", (1, 1))
    assert packed(folder) == before
    (folder / "Dockerfile").write_text("FROM busybox\n")
    assert packed(folder) != before


def test_what_belongs_to_tools_is_left_out(folder: Path) -> None:
    for name in (".git", "code/__pycache__"):
        (folder / name).mkdir()
        (folder / name / "x").write_text("")
    assert zipfile.ZipFile(io.BytesIO(packed(folder))).namelist() == ["Dockerfile", "code/", "code/run.sh"]


def test_a_link_is_refused_by_name(folder: Path) -> None:
    (folder / "data").symlink_to("/etc/passwd")
    with pytest.raises(UserError, match=r"problem") as refused:
        packed(folder)
    assert "'data': it is a link" in refused.value.hint


def test_a_named_pipe_is_refused_and_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(UserError, match=r"problem") as refused:
        packed(folder)
    assert "'pipe': it is neither a file nor a folder" in refused.value.hint


def test_everything_that_cannot_be_packed_is_told_at_once(folder: Path) -> None:
    (folder / "code" / "link").symlink_to("run.sh")
    (folder / "dangling").symlink_to("nowhere")
    (folder / os.fsdecode(b"\xff")).touch()
    with pytest.raises(BundleRejected) as refused:
        packed(folder)
    places = [problem["where"] for problem in refused.value.details["problems"]]
    assert places == ["'code/link'", "'dangling'", "'\\udcff'"]


def test_a_folder_of_any_depth_is_packed(folder: Path) -> None:
    way = [folder / ("a/" * depth) for depth in range(1, 1100)]  # more than Python's calls may be nested
    for path in way:
        path.mkdir()
    try:
        entries = zipfile.ZipFile(io.BytesIO(packed(folder))).namelist()
    finally:
        for path in reversed(way):  # pytest, too, goes through folders by recursion
            path.rmdir()
    assert len(entries) == len(way) + 3


def test_a_folder_without_files_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    with pytest.raises(UserError, match="holds no files"):
        packed(tmp_path)
