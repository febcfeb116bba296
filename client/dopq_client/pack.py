"""Turning a folder into a bundle.

The same folder always gives the same bytes: entries are sorted and carry a fixed date.
"""

from __future__ import annotations

import shutil
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import IO

from dopq.errors import BundleRejected, UserError
from dopq.job import Problem

LEFT_OUT = frozenset({".git", "__pycache__"})
OUTPUT = "output"
"""The folder in a project into which `dopq-client run` brings results."""

_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can say
_MOST_TOLD = 50
_UNIX = 3  # "version made by" of entries whose attributes are a Unix mode (APPNOTE.TXT 4.4.2)


def pack(folder: Path, target: IO[bytes]) -> None:
    """Write `folder` as a zip to `target`, with executable bits, without `LEFT_OUT`, and a project without `OUTPUT`.

    Raises:
        BundleRejected: with everything at once that is neither file nor folder, or has no name in UTF-8.
        UserError: it holds no file, or cannot be read.
    """
    files = 0
    _check(folder)
    try:
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as bundle:
            for path in _entries(folder):
                if path.is_dir():
                    bundle.writestr(_entry(folder, path, 0o755 | stat.S_IFDIR), b"")
                else:
                    _add_file(bundle, folder, path)
                    files += 1
    except OSError as error:
        raise _unreadable(folder, error) from error
    if not files:
        raise UserError(f"The folder {folder} holds no files.", "A bundle needs a Dockerfile, or code/.")


def is_project(folder: Path) -> bool:
    """Whether the folder is a project: it has `code/`, and no Dockerfile of its own."""
    return (folder / "code").is_dir() and not (folder / "Dockerfile").exists()


def _add_file(bundle: zipfile.ZipFile, folder: Path, path: Path) -> None:
    info = path.stat()
    executable = info.st_mode & stat.S_IXUSR
    entry = _entry(folder, path, stat.S_IFREG | (0o755 if executable else 0o644))
    entry.file_size = info.st_size  # lets zipfile choose the format for files beyond 2 GiB
    with path.open("rb") as source, bundle.open(entry, "w") as sink:
        shutil.copyfileobj(source, sink, 1024 * 1024)


def _entry(folder: Path, path: Path, mode: int) -> zipfile.ZipInfo:
    name = path.relative_to(folder).as_posix() + ("/" if stat.S_ISDIR(mode) else "")
    entry = zipfile.ZipInfo(name, _DATE)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.create_system = _UNIX
    entry.external_attr = mode << 16
    return entry


def _entries(folder: Path) -> Iterator[Path]:
    """Everything below `folder` in a fixed order, as it is: no link is followed."""
    results = folder / OUTPUT if is_project(folder) else None
    waiting = [path for path in _children(folder) if path != results]
    while waiting:
        path = waiting.pop()
        yield path
        if stat.S_ISDIR(path.lstat().st_mode):
            waiting += _children(path)


def _children(folder: Path) -> list[Path]:
    """What lies in a folder, the last one first."""
    found = (path for path in folder.iterdir() if path.name not in LEFT_OUT)
    return sorted(found, key=lambda path: path.name, reverse=True)


def _check(folder: Path) -> None:
    try:
        problems = [problem for path in _entries(folder) if (problem := _problem(folder, path))]
    except OSError as error:
        raise _unreadable(folder, error) from error
    if problems:
        told = "\n".join(map(str, problems[:_MOST_TOLD]))
        listed = [asdict(problem) for problem in problems[:_MOST_TOLD]]
        raise BundleRejected(f"The folder cannot be packed: {len(problems)} problems.", told, problems=listed)


def _problem(folder: Path, path: Path) -> Problem | None:
    name = str(path.relative_to(folder))
    if any("\ud800" <= character <= "\udfff" for character in name):  # how Python spells bytes that are no text
        return Problem(repr(name), "the name is not written in UTF-8", "Rename it.")
    if stat.S_IFMT(path.lstat().st_mode) in {stat.S_IFREG, stat.S_IFDIR}:
        return None
    what = "it is a link" if path.is_symlink() else "it is neither a file nor a folder"
    return Problem(repr(name), what, "Put a copy in its place, or move it out of the folder.")


def _unreadable(folder: Path, error: OSError) -> UserError:
    return UserError(f"The folder {folder} cannot be read: {error.strerror}: {error.filename}.")
