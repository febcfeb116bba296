"""What tells one drop from another, taken from open descriptors so that nobody can put another thing in its place."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, replace
from pathlib import Path

from dopq.container_handler.folder import Tree, Unfit, owner_of, tree_of
from dopq.identity import Owner

OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""How a drop is opened: no link is followed, no FIFO waited for."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells one drop from another, and a growing one from one that stands still.

    Attributes:
        tree: digest of a folder's content, which then stands for its times; empty for a file.
        obstacle: why it is not taken, however long it stands still.
        owners: of the file, or of the folder and everything in it.
    """

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    tree: str = ""
    obstacle: str = ""
    owners: frozenset[Owner] = frozenset()

    @classmethod
    def of(cls, info: os.stat_result) -> Stamp:
        """The stamp of a file."""
        owners = frozenset({owner_of(info)})
        return cls(info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns, owners=owners)

    @classmethod
    def of_folder(cls, info: os.stat_result, tree: Tree) -> Stamp:
        """The stamp of a folder with everything in it."""
        obstacle = "" if tree.files else "there is no file in it yet"
        owners = tree.owners | {owner_of(info)}
        return cls(info.st_dev, info.st_ino, tree.size, 0, 0, tree.digest, obstacle, owners)

    def facts(self) -> tuple[int | str, ...]:
        """What tells it from others, also when it is met again after a while."""
        times = (self.tree,) if self.tree else (self.mtime_ns, self.ctime_ns)
        return self.inode, self.size, *times  # not the device: a share that is mounted anew gets another number


def stamp_at(path: Path, *, look_inside: bool = True) -> Stamp | None:
    """The stamp of a file or folder; None for a link or a special file. Raises `FileNotFoundError` when it has gone."""
    info = path.lstat()
    if stat.S_ISREG(info.st_mode) or (stat.S_ISDIR(info.st_mode) and not look_inside):
        return Stamp.of(info)
    if not stat.S_ISDIR(info.st_mode):
        return None
    source = os.open(path, OPEN | os.O_DIRECTORY)
    try:
        return stamp_of(source)
    finally:
        os.close(source)


def stamp_of(source: int) -> Stamp | None:
    """The stamp of an open file or folder; None for anything else. Raises `OSError`."""
    info = os.fstat(source)
    if stat.S_ISREG(info.st_mode):
        return Stamp.of(info)
    if not stat.S_ISDIR(info.st_mode):
        return None
    try:
        return Stamp.of_folder(info, tree_of(source))
    except Unfit as unfit:
        return replace(Stamp.of(info), obstacle=str(unfit))
    except PermissionError as error:
        return replace(Stamp.of(info), obstacle=f"it cannot be read: {error.strerror}")
