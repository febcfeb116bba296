"""Folders in the inbox whose files are no plain files, and drops that are not judged at all."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.bundles import DOCKERFILE, good_bundle
from tests.intake.hostile import Hostile
from tests.intake.hostile_zips import GOOD, file_name


def folders() -> Iterator[Hostile]:
    yield folder("link to a password file", lambda top: (top / "passwd").symlink_to("/etc/passwd"), "'passwd'", "link")
    yield folder("link to a folder", lambda top: (top / "etc").symlink_to("/etc"), "'etc'", "link")
    yield folder("link to nothing", lambda top: (top / "lost").symlink_to("/nowhere"), "'lost'", "link")
    yield folder("link to itself", lambda top: (top / "round").symlink_to("."), "'round'", "link")
    yield folder("Dockerfile that is a link", _linked_dockerfile, "'Dockerfile'", "link")
    yield folder("pipe", lambda top: os.mkfifo(top / "pipe"), "'pipe'", "neither a file nor a folder")
    yield folder("socket", _socket, "'sock'", "neither a file nor a folder")
    yield folder("name with a new line", lambda top: (top / "a\nb").touch(), "control")
    yield folder("name with bidirectional characters", lambda top: (top / "a\u202eb").touch(), "bidirectional")
    yield folder("name with bytes that are no text", lambda top: (top / "a\udcffb").touch(), "bytes")
    yield folder("name with a backslash", lambda top: (top / "a\\b").touch(), "backslash")
    yield folder("names apart only in case", lambda top: [(top / name).touch() for name in ("a", "A")], "only in case")
    yield folder("names apart in composition", lambda top: [(top / n).touch() for n in ("\u00e9", "e\u0301")], "'")
    yield folder("forty folders deep", lambda top: (top / "/".join("a" * 40)).mkdir(parents=True), "deep")
    yield folder("bad spec", lambda top: (top / "job.toml").write_text("gpus = true"), "gpus", "whole number")
    yield Hostile("folder without a program", "folder-without-program", _only_a_text, ("Dockerfile",))


def deferred() -> Iterator[Hostile]:
    """What is left alone: names of half copies, and hidden files."""
    for name in ("half.zip.part", "half.zip.tmp", "half.zip~", ".hidden.zip", "half.zip.crdownload", "half.filepart"):
        yield Hostile(f"drop called {name}", name, lambda path: path.write_bytes(GOOD), verdict="deferred")
    yield Hostile("drop that is a link", "link.zip", _link_to_a_good_one, verdict="deferred")
    yield Hostile("drop that is a pipe", "pipe.zip", os.mkfifo, verdict="deferred")


def folder(title: str, spoil: Callable[[Path], object], *words: str) -> Hostile:
    """A good bundle as a folder, but for what `spoil` does to it."""

    def write(path: Path) -> None:
        path.mkdir()
        (path / "Dockerfile").write_text(DOCKERFILE)
        spoil(path)

    return Hostile(f"folder with {title}", "folder-" + file_name(title), write, words)


def _linked_dockerfile(top: Path) -> None:
    (top / "Dockerfile").unlink()
    (top / "Dockerfile").symlink_to("/etc/passwd")


def _socket(top: Path) -> None:
    """Bound by a relative name: the whole path may be longer than a socket's name can be."""
    here = os.open(".", os.O_RDONLY)
    os.chdir(top)
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("sock")
    finally:
        os.fchdir(here)
        os.close(here)


def _only_a_text(path: Path) -> None:
    path.mkdir()
    (path / "readme.txt").write_text("hello")


def _link_to_a_good_one(path: Path) -> None:
    path.symlink_to(good_bundle(path.parent.parent / "elsewhere.zip"))
