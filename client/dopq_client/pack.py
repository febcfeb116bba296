"""Turning a folder into a bundle.

The same folder always gives the same bytes: entries are sorted and carry a fixed date.
"""

from __future__ import annotations

import os
import shutil
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from dopq.errors import UserError

LEFT_OUT = frozenset({".git", "__pycache__"})
_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can say
_UNIX = 3  # "version made by" of entries whose attributes are a Unix mode (APPNOTE.TXT 4.4.2)


def pack(folder: Path, target: IO[bytes]) -> None:
    """Write `folder` as a zip to `target`, with executable bits, without `LEFT_OUT`.

    Raises:
        UserError: it holds no file, or something that is neither file nor folder, or cannot be read.
    """
    files = 0
    try:
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as bundle:
            for path in _entries(folder):
                if path.is_dir():
                    bundle.writestr(_entry(folder, path, 0o755 | stat.S_IFDIR), b"")
                else:
                    _add_file(bundle, folder, path)
                    files += 1
    except OSError as error:
        raise UserError(f"The folder {folder} cannot be read: {error.strerror}: {error.filename}.") from error
    if not files:
        raise UserError(f"The folder {folder} holds no files.", "A bundle needs a Dockerfile, or code/.")


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
    """Everything below `folder` in a fixed order."""
    with os.scandir(folder) as found:
        entries = sorted((entry for entry in found if entry.name not in LEFT_OUT), key=lambda entry: entry.name)
    for entry in entries:
        path = Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            yield path
            yield from _entries(path)
        elif entry.is_file(follow_symlinks=False):
            yield path
        else:
            raise UserError(
                f"{path} is a link or a special file; a bundle takes files and folders only.",
                "Put a copy in its place, or move it out of the folder.",
            )
