"""Bringing home what a job wrote: regular files and folders only, whatever the job did there.

A job may leave links to the host's files, devices, FIFOs or setuid programs in its output. None of them comes along:
each would be followed, opened or executed by somebody with more rights than the job had.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path


def collect(source: Path, target: Path) -> list[str]:
    """Move the outputs below `source` to `target`; the paths that were left behind, with why.

    Files are moved, or copied where `target` is another file system. Safe to repeat after being killed at any point:
    what has come already is complete, and the rest follows. `target` appears under its name when everything is there.
    """
    if target.is_dir():
        return []
    partial = target.with_name(f".{target.name}.partial")
    partial.mkdir(mode=0o755, exist_ok=True)
    left = list(_move_tree(source, partial, Path())) if source.is_dir() else []
    partial.replace(target)
    return left


def _move_tree(source: Path, target: Path, inside: Path) -> Iterator[str]:
    with os.scandir(source) as entries:
        listed = sorted(entries, key=lambda entry: entry.name)
    for entry in listed:
        path, name = inside / entry.name, portable_name(entry.name)
        if entry.is_dir(follow_symlinks=False):
            (target / name).mkdir(mode=0o755, exist_ok=True)
            yield from _move_tree(Path(entry.path), target / name, path)
        elif entry.is_file(follow_symlinks=False):
            _move_file(Path(entry.path), target / name)
        else:
            kind = "a link" if entry.is_symlink() else "a special file"
            yield f"{path.as_posix()} ({kind})"


def portable_name(name: str) -> str:
    """A file name that crosses the wire and other systems' disks: what is no text, control characters and backslashes
    become %XX, as in a URL."""
    return "".join(_portable(character) for character in name)


def _portable(character: str) -> str:
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:  # a byte that is no UTF-8, as os.scandir hands it over (PEP 383)
        return f"%{number - 0xDC00:02X}"
    return f"%{number:02X}" if number < 32 or 127 <= number < 160 or character == "\\" else character


def _move_file(source: Path, target: Path) -> None:
    # Only the permission bits that mean something for a result; never setuid, setgid or sticky.
    mode = 0o755 if source.lstat().st_mode & stat.S_IXUSR else 0o644
    if source.lstat().st_nlink == 1:
        try:
            source.chmod(mode)
            source.rename(target)
            return
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
    partial = target.with_name(f".{target.name}.part")
    shutil.copyfile(source, partial, follow_symlinks=False)
    partial.chmod(mode)
    partial.replace(target)
    source.unlink()
