"""Writing checked entries to disk, or into a tar, without ever following a path that somebody else has prepared."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from dopq.container_handler.archive import Archive, Kind, Member

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def unpack(archive: Archive, members: Mapping[PurePosixPath, Member], into: Path) -> None:
    """Write files and folders below `into`, a folder that is made here and must not exist yet.

    Every folder on the way is opened by descriptor from the one before it, so that no link can lead out of `into`.
    Modes are 0755 for folders and what can be run, else 0644.

    Raises:
        BundleRejected: the content is not what was checked: the archive was changed meanwhile.
        OSError: this machine's disk is full or failing.
    """
    into.mkdir(mode=0o755)
    top = os.open(into, _FOLDER_FLAGS)
    try:
        os.fchmod(top, 0o755)
        for path, member in members.items():
            if member.kind is Kind.FOLDER:
                with _folder(top, path):
                    continue
            with _folder(top, path.parent) as folder:
                handle = os.open(path.name, _NEW_FILE_FLAGS, 0o600, dir_fd=folder)
                with os.fdopen(handle, "wb") as file, closing(archive.open(member)) as content:
                    shutil.copyfileobj(content, file)
                    os.fchmod(file.fileno(), _mode(member))
    finally:
        os.close(top)


def write_context(
    archive: Archive, members: Mapping[PurePosixPath, Member], extra: Mapping[PurePosixPath, bytes], out: BinaryIO
) -> None:
    """Write the build context as a tar: the same files give the same bytes, whenever and by whomever they were packed.

    `extra` are files that are not in the archive and take the place of one that is. Raises as `unpack` does.
    """
    folders = {parent for path in members for parent in path.parents if parent.parts}
    folders |= {path for path, member in members.items() if member.kind is Kind.FOLDER}
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(folders | members.keys() | extra.keys()):
            info = tarfile.TarInfo(str(path))  # owner 0:0 and time 0 by default
            if path in folders:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(info)
            elif path in extra:
                info.size = len(extra[path])
                tar.addfile(info, io.BytesIO(extra[path]))
            else:
                info.size, info.mode = members[path].size, _mode(members[path])
                with closing(archive.open(members[path])) as content:
                    tar.addfile(info, content)


def _mode(member: Member) -> int:
    return 0o755 if member.executable else 0o644


@contextmanager
def _folder(top: int, path: PurePosixPath) -> Iterator[int]:
    """A descriptor of a folder below `top`, made where it is missing."""
    handle = os.dup(top)
    try:
        for part in path.parts:
            with suppress(FileExistsError):
                os.mkdir(part, 0o755, dir_fd=handle)
            above, handle = handle, os.open(part, _FOLDER_FLAGS, dir_fd=handle)
            os.close(above)
            os.fchmod(handle, 0o755)  # whatever the service's umask is: the job may run as any user
        yield handle
    finally:
        os.close(handle)
