"""What an image is made from, as one text."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from dopq.container_handler.fingerprint import fingerprint
from dopq.job import ImageId

HERE = {"python:3.11": ImageId("sha256:aa"), "debian:12": ImageId("sha256:bb")}


def context(path: Path, dockerfile: str, extra: bytes = b"code") -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in (("Dockerfile", dockerfile.encode()), ("app.py", extra)):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def test_the_same_content_on_the_same_base_is_the_same(tmp_path: Path) -> None:
    one = context(tmp_path / "1.tar", "FROM python:3.11\nCOPY . /\n")
    two = context(tmp_path / "2.tar", "FROM python:3.11\nCOPY . /\n")
    assert len(fingerprint(one, HERE.get)) == 64
    assert fingerprint(one, HERE.get) == fingerprint(two, HERE.get)


def test_other_content_is_another(tmp_path: Path) -> None:
    one = context(tmp_path / "1.tar", "FROM python:3.11\nCOPY . /\n")
    two = context(tmp_path / "2.tar", "FROM python:3.11\nCOPY . /\n", extra=b"Code")
    assert fingerprint(one, HERE.get) != fingerprint(two, HERE.get)


@pytest.mark.parametrize(
    "dockerfile",
    [
        "FROM python:3.11\n",
        "from --platform=linux/amd64 python:3.11 AS build\n",
        "FROM debian:12\nCOPY --from=python:3.11 /usr /usr\n",
        "FROM debian:12\nRUN --mount=type=bind,from=python:3.11,target=/x true\n",
        "ARG B=python:3.11\nFROM $B\n",
        "FR\\\nOM \\\n  python:3.11\n",
    ],
)
def test_a_base_image_that_moved_makes_another(tmp_path: Path, dockerfile: str) -> None:
    tar = context(tmp_path / "c.tar", dockerfile)
    moved = HERE | {"python:3.11": ImageId("sha256:cc")}
    assert fingerprint(tar, HERE.get) != fingerprint(tar, moved.get)


def test_an_image_from_nothing_depends_on_its_content_alone(tmp_path: Path) -> None:
    tar = context(tmp_path / "c.tar", "FROM scratch\nCOPY . /\n")
    assert fingerprint(tar, HERE.get) == fingerprint(tar, {"scratch": ImageId("sha256:dd")}.get)
