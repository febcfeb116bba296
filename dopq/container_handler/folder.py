"""A folder that somebody handed in: what tells it from a changed one, and how it becomes a tar file of ours.

Its owner may change it at any time. So every step goes from an open folder to a name in it that is no link, and what is
written is checked like any other archive afterwards: links and special files are packed as what they are, and refused
there.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from dopq.identity import Owner

MOST_ENTRIES = 100_000
"""Files and folders of a folder that is taken as it is; each look at the inbox looks at all of them."""

MOST_DEPTH = 64

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # opening a FIFO must not wait for a writer


class Unfit(Exception):
    """The folder cannot be taken as it is; the text says why."""


class Changed(Exception):
    """The folder is not what it was a moment ago."""


@dataclass(frozen=True, slots=True)
class Tree:
    """What a folder holds.

    Attributes:
        digest: over the name, kind, size, inode and time of change of everything in it.
        size: bytes of its files.
        files: everything that is no folder.
        owners: of everything in it.
    """

    digest: str
    size: int
    files: int
    owners: frozenset[Owner]


@dataclass(frozen=True, slots=True)
class _Found:
    """One thing in a folder: `above` is a descriptor of the folder that holds it, open until the next one is found."""

    path: str
    name: str
    above: int
    info: os.stat_result


def tree_of(folder: int) -> Tree:
    """Look at everything in an open folder.

    Raises:
        Unfit: there is too much of it, or too deep.
        OSError: it cannot be read, or has just changed.
    """
    digest, size, files, owners = hashlib.sha256(), 0, 0, set[Owner]()
    for number, found in enumerate(_walk(folder, "", 0)):
        if number >= MOST_ENTRIES:
            raise Unfit(f"it has more than {MOST_ENTRIES} files and folders; pack it as .tar or .zip")
        info = found.info
        times = (info.st_mtime_ns, info.st_ctime_ns)
        digest.update(repr((found.path, info.st_mode, info.st_uid, info.st_size, info.st_ino, *times)).encode())
        owners.add(owner_of(info))
        if not stat.S_ISDIR(info.st_mode):
            files += 1
            size += info.st_size
    return Tree(digest.hexdigest(), size, files, frozenset(owners))


def owner_of(info: os.stat_result) -> Owner:
    """Who owns a file or folder, and whether everybody may read it; of a link, everybody may."""
    wanted = 0o5 if stat.S_ISDIR(info.st_mode) else 0o4
    return Owner(info.st_uid, info.st_mode & wanted == wanted)


def pack(folder: int, out: BinaryIO) -> frozenset[Owner]:
    """Write everything in an open folder as a tar file; the owners of what was written, of files by open descriptor.

    Raises:
        Changed: it changed meanwhile; what was written is worth nothing.
        OSError: it cannot be read, or the disk is full.
    """
    owners = set[Owner]()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for found in _walk(folder, "", 0):
            info = found.info
            if stat.S_ISREG(info.st_mode):
                info = _pack_file(tar, found)
            else:
                tar.addfile(_header(found, info))
            owners.add(owner_of(info))
    return frozenset(owners)


def _walk(folder: int, path: str, depth: int) -> Iterator[_Found]:
    if depth > MOST_DEPTH:
        raise Unfit(f"it is more than {MOST_DEPTH} folders deep")
    for name in sorted(os.listdir(folder)):
        info = os.stat(name, dir_fd=folder, follow_symlinks=False)
        yield _Found(path + name, name, folder, info)
        if stat.S_ISDIR(info.st_mode):
            below = os.open(name, _FOLDER, dir_fd=folder)
            try:
                yield from _walk(below, f"{path}{name}/", depth + 1)
            finally:
                os.close(below)


def _pack_file(tar: tarfile.TarFile, found: _Found) -> os.stat_result:
    with os.fdopen(os.open(found.name, _FILE, dir_fd=found.above), "rb") as file:
        info = os.fstat(file.fileno())
        if not stat.S_ISREG(info.st_mode):
            raise Changed
        try:
            tar.addfile(_header(found, info), file)
        except OSError as error:
            if error.errno is None:  # how tarfile says that the file has become shorter
                raise Changed from error
            raise
    return info


def _header(found: _Found, info: os.stat_result) -> tarfile.TarInfo:
    header = tarfile.TarInfo(found.path)
    header.mode, header.mtime = stat.S_IMODE(info.st_mode), int(info.st_mtime)
    match stat.S_IFMT(info.st_mode):
        case stat.S_IFREG:
            header.size = info.st_size
        case stat.S_IFDIR:
            header.type = tarfile.DIRTYPE
        case stat.S_IFLNK:
            header.type = tarfile.SYMTYPE
            header.linkname = os.readlink(found.name, dir_fd=found.above)
        case stat.S_IFCHR:
            header.type = tarfile.CHRTYPE
        case stat.S_IFBLK:
            header.type = tarfile.BLKTYPE
        case _:
            header.type = tarfile.FIFOTYPE  # a tar file knows no sockets
    return header
