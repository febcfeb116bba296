"""Writing a job's results where the user wants them, and nowhere else.

The service names the files, and a job named most of them: every path is checked before anything is written.
"""

from __future__ import annotations

import ntpath
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from dopq.errors import TryAgain, UserError


class UnsafePath(UserError):
    """The service named a result in a way that could lead out of the target folder."""

    code = "unsafe_path"


def safe_parts(path: str) -> list[str]:
    """The components of a result's path.

    Raises:
        UnsafePath: absolute, with a drive, a backslash, a control character, or an empty, `.` or `..` component.
    """
    parts = path.split("/")
    drive, _ = ntpath.splitdrive(path)
    if drive or "\\" in path or any(ord(c) < 32 for c in path) or any(part in {"", ".", ".."} for part in parts):
        raise UnsafePath(
            f"The service sent a file called {path!r}, which is no safe name.",
            "Nothing was written for it. Tell the admin of the service: a job may have tried to mislead you.",
        )
    return parts


def write_result(target: Path, path: str, size: int, executable: bool, read: Callable[[int], bytes]) -> None:
    """Write one result of `size` bytes below `target`; all of it or nothing.

    Args:
        read: gives the next bytes from an offset; empty at the end.

    Raises:
        UnsafePath: see `safe_parts`.
        UserError: the target cannot be written to, or holds a link on the way.
        TryAgain: the file ended early. And whatever `read` raises.
    """
    parts = safe_parts(path)
    try:
        folder = _folder(target, parts[:-1])
        descriptor, name = tempfile.mkstemp(prefix=".dopq-", dir=folder)
        part = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                for data in _exactly(path, size, read):
                    file.write(data)
            part.chmod(0o755 if executable else 0o644)
            part.replace(folder / parts[-1])  # a link of that name is replaced, not followed
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"{target / path} cannot be written: {error.strerror}.", "Choose another folder with `-o DIR`."
        ) from error


def _exactly(path: str, size: int, read: Callable[[int], bytes]) -> Iterable[bytes]:
    offset = 0
    while offset < size:
        data = read(offset)[: size - offset]
        if not data:
            raise TryAgain(
                f"{path} ended after {offset} of {size} bytes.", "The job may still be writing it: fetch again."
            )
        offset += len(data)
        yield data


def _folder(target: Path, parts: list[str]) -> Path:
    """The folder of that path below `target`, made where it is missing."""
    target.mkdir(parents=True, exist_ok=True)
    folder = target
    for part in parts:
        folder /= part
        if folder.is_symlink():
            raise UserError(
                f"{folder} is a link; results are not written through links.", "Remove it, then fetch again."
            )
        folder.mkdir(exist_ok=True)
    return folder
