"""Files that are there whole or not at all, also after the power fails."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

TEMPORARY_PREFIX = ".dopq-"
"""How the temporary files begin: a dot, so that whoever watches the folder leaves them alone."""

_PUBLIC = 0o644
_CANNOT_SYNC = {errno.EINVAL, errno.ENOTSUP}


def write_atomic(path: Path, data: bytes | str, mode: int = 0o644) -> None:
    """Make `path` hold exactly `data` (text as UTF-8): a reader sees the old content or the new, never a part.

    When this returns, the new content survives a power failure. A link at `path` is replaced, not followed. Several
    writers may run at once: the last one wins. A temporary file that a killed writer left behind is never used again.

    Raises:
        OSError: the folder is missing, full or not ours; `path` is as it was, and no temporary file is left.
    """
    # A random name rather than one fixed name: two writers must not share a half-written file.
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=TEMPORARY_PREFIX, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    fsync_folder(path.parent)


def append_rest(path: Path, chunks: Iterable[bytes], start: int = 0) -> None:
    """Append to a file what it lacks of a stream that begins anew; on disk when this returns.

    From byte `start` on the file has the first bytes of that stream: so its size says where to go on, and nothing is
    lost or doubled however often this is broken off.

    Raises:
        OSError: the disk is full or failing; what it took is there.
    """
    with path.open("ab", buffering=0) as file:
        skip = os.fstat(file.fileno()).st_size - start
        try:
            for chunk in chunks:
                new = memoryview(chunk)[skip:]
                skip = max(0, skip - len(chunk))
                while new:
                    new = new[file.write(new) :]  # a disk that is nearly full takes a part
        finally:
            os.fsync(file.fileno())


def make_public_folder(path: Path) -> None:
    """Make a folder that everybody may look into, whatever the umask; one that is there stays as it is.

    Raises:
        OSError: the folder above is missing, full or not ours; or something else has the name.
    """
    if path.is_dir():
        return
    try:
        path.mkdir(mode=0o755)
    except FileExistsError:  # somebody else was quicker, or it is no folder
        if not path.is_dir():
            raise
    else:
        path.chmod(0o755)


def make_public(descriptor: int) -> None:
    """Let everybody read an open file of ours and nobody else write it, whatever the umask was. Raises `OSError`."""
    if os.fstat(descriptor).st_mode & 0o666 != _PUBLIC:
        os.fchmod(descriptor, _PUBLIC)


def fsync_file(path: Path) -> None:
    """Make the content of a file survive a power failure. Raises `OSError` where it cannot be written."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def fsync_folder(folder: Path) -> None:
    """Make the names in `folder` (created, renamed, removed) survive a power failure.

    Network file systems such as CIFS refuse to sync a folder (EINVAL, see fsync(2)): there the server decides, and
    this does nothing.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    except OSError as refused:
        if refused.errno not in _CANNOT_SYNC:
            raise
    finally:
        os.close(handle)
