"""Watching the inbox: which files stand still, and how one is taken without trusting its name or its owner.

Polling, because inotify does not see what others write to a network share.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import zipfile
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path

from dopq.job import UserName
from dopq.utils.files import fsync_folder

INCOMPLETE_S = 5.0
"""A zip without its end record is probably still being copied: it has to stand still for so long to be judged."""

_TEMPORARY = (".part", ".tmp", ".partial", ".crdownload", ".filepart", "~")


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells one drop from another, and a growing file from one that stands still."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, info: os.stat_result) -> Stamp:
        """The stamp of a file."""
        return cls(info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)


@dataclass(frozen=True, slots=True)
class Drop:
    """A file in somebody's inbox. Whoever drops there is that user."""

    user: UserName
    path: Path

    def key(self, stamp: Stamp) -> str:
        """The same for the same drop, however often it is met; another for a later file of the same name."""
        what = "\0".join([self.user, self.path.name, *(str(part) for part in _parts(stamp))])
        return "drop-" + hashlib.sha256(what.encode("utf-8", "surrogateescape")).hexdigest()[:40]


class Settling:
    """Tells from look to look which drops stand still. Pure but for what it remembers."""

    def __init__(self, settle_s: float) -> None:
        self._settle_s = settle_s
        self._since: dict[Drop, tuple[Stamp, float]] = {}

    def look(self, seen: Mapping[Drop, Stamp], now_s: float) -> dict[Drop, float]:
        """The drops that have stood still since an earlier look, with the seconds for which they have.

        `now_s` is monotonic. A drop that was not in the last look begins anew.
        """
        before, self._since = self._since, {}
        still: dict[Drop, float] = {}
        for drop, stamp in seen.items():
            known, since = before.get(drop, (None, now_s))
            self._since[drop] = (stamp, since if known == stamp else now_s)
            if known == stamp and now_s - since >= self._settle_s:
                still[drop] = now_s - since
        return still


@dataclass(frozen=True, slots=True)
class Look:
    """What one look into one user's inbox found; files with temporary names apart."""

    drops: Mapping[Drop, Stamp]
    temporary: Mapping[Drop, Stamp]


def users_of(inbox: Path) -> list[UserName]:
    """Whose folders there are, sorted. Raises `OSError` when the inbox cannot be read."""
    with os.scandir(inbox) as entries:
        return sorted(UserName(entry.name) for entry in entries if entry.is_dir(follow_symlinks=False))


def look_into(folder: Path, user: UserName, passed_over: Container[Drop], limit: int) -> Look:
    """Up to `limit` drops and as many temporary files of a user, leaving out those that are `passed_over`.

    What does not fit comes into view when others have gone, so that a full inbox costs no more than another. Folders
    are passed over: this version takes archives.

    Raises:
        OSError: the folder cannot be read. One that has just been removed is empty.
    """
    found: tuple[dict[Drop, Stamp], dict[Drop, Stamp]] = {}, {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                kind, drop = found[_is_temporary(entry.name)], Drop(user, Path(entry.path))
                if len(kind) == limit or drop in passed_over or not entry.is_file(follow_symlinks=False):
                    continue
                with contextlib.suppress(FileNotFoundError):  # gone since the listing
                    kind[drop] = Stamp.of(entry.stat(follow_symlinks=False))
                if len(found[False]) == limit:
                    break
    except FileNotFoundError:
        return Look({}, {})
    drops, temporary = (dict(sorted(kind.items(), key=lambda item: item[0].path.name)) for kind in found)
    return Look(drops, temporary)


def looks_complete(path: Path) -> bool:
    """Whether a file has the end record of a zip archive, which a half-copied one lacks. Other kinds always look so."""
    if path.suffix.lower() != ".zip":
        return True
    try:
        return zipfile.is_zipfile(path)
    except OSError:
        return False


def copy_to_spool(drop: Drop, stamp: Stamp, spool: Path) -> str | None:
    """Copy a drop into the spool, on disk before this returns; its key, or None if it is not what it was.

    One descriptor from the check to the last byte, so that nothing can be put in its place in between.

    Raises:
        OSError: it cannot be read, or there is no space for it; no part of a copy is left.
    """
    key = drop.key(stamp)
    target = spool / key
    try:
        source = os.open(drop.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with os.fdopen(source, "rb"):
        if Stamp.of(os.fstat(source)) != stamp or not stat.S_ISREG(os.fstat(source).st_mode):
            return None
        if not target.exists():
            partial = target.with_suffix(".part")
            try:
                with partial.open("wb") as copy:
                    while os.sendfile(copy.fileno(), source, None, 2**20):
                        pass
                    os.fsync(copy.fileno())
            except OSError:
                partial.unlink(missing_ok=True)  # half a copy on a full disk would keep it full
                raise
            if Stamp.of(os.fstat(source)) != stamp:
                partial.unlink()
                return None
            partial.replace(target)
            fsync_folder(spool)
        return key


def remove_drop(drop: Drop, stamp: Stamp) -> None:
    """Take a drop out of the inbox, unless another file lies there by now.

    Raises:
        OSError: the share does not let it go.
    """
    try:
        if Stamp.of(os.lstat(drop.path)) == stamp:
            drop.path.unlink()
    except FileNotFoundError:
        pass  # an earlier life removed it already


def _parts(stamp: Stamp) -> tuple[int, ...]:
    return stamp.device, stamp.inode, stamp.size, stamp.mtime_ns, stamp.ctime_ns


def _is_temporary(name: str) -> bool:
    return name.startswith(".") or name.lower().endswith(_TEMPORARY)
