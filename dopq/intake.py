"""What lies in an inbox, and how it is taken without trusting its name or its owner.

A folder is taken as one file of ours: a tar file with everything in it.

Polling, because inotify does not see what others write to a network share.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Container, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from dopq.container_handler.folder import Changed, pack
from dopq.job import UserName
from dopq.stamp import OPEN, Stamp, stamp_at, stamp_of
from dopq.utils.crash_points import step
from dopq.utils.files import fsync_folder

_GONE = ".dopq-gone-"  # a folder that was taken, while it is being removed
_TEMPORARY_ENDINGS = (".part", ".tmp", ".partial", ".crdownload", ".filepart", "~")


def name_as_text(path: Path) -> str:
    """The name of a file as text that can be shown, sent and stored, whatever bytes it has."""
    text = os.fsencode(path.name).decode("utf-8", "replace")
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


@dataclass(frozen=True, slots=True)
class Drop:
    """A file or folder in the inbox of a user."""

    user: UserName
    path: Path

    @property
    def name(self) -> str:
        """The file's name as text that can be shown and stored, whatever bytes it has."""
        return name_as_text(self.path)

    def key(self, stamp: Stamp) -> str:
        """The same for the same drop, however often it is met; another for a later file of the same name."""
        what = "\0".join([self.user, self.path.name, *(str(part) for part in stamp.facts())])
        return "drop-" + hashlib.sha256(what.encode("utf-8", "surrogateescape")).hexdigest()[:40]


@dataclass(frozen=True, slots=True)
class Look:
    """What one look into one user's inbox found; what has a temporary name apart."""

    drops: Mapping[Drop, Stamp]
    temporary: Mapping[Drop, Stamp]


def users_of(inbox: Path) -> list[UserName]:
    """Whose folders there are, sorted. Raises `OSError` when the inbox cannot be read."""
    with os.scandir(inbox) as entries:
        return sorted(
            UserName(entry.name) for entry in entries if entry.is_dir(follow_symlinks=False) and entry.name.isascii()
        )


def look_into(folder: Path, user: UserName, passed_over: Container[Drop], limit: int) -> Look:
    """Up to `limit` drops and as many temporary files of a user, leaving out those that are `passed_over`.

    What does not fit comes into view when others have gone, so that a full inbox costs no more than another. Links
    and special files are passed over.

    Raises:
        OSError: the folder cannot be read. One that has just been removed is empty.
    """
    found: tuple[dict[Drop, Stamp], dict[Drop, Stamp]] = {}, {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                kind, drop = found[_is_temporary(entry.name)], Drop(user, Path(entry.path))
                if len(kind) == limit or drop in passed_over:
                    continue
                with suppress(FileNotFoundError):  # gone since the listing
                    if stamp := stamp_at(drop.path, look_inside=kind is found[False]):
                        kind[drop] = stamp
                if len(found[False]) == limit:
                    break
    except FileNotFoundError:
        return Look({}, {})
    drops, temporary = (dict(sorted(kind.items(), key=lambda item: item[0].path.name)) for kind in found)
    return Look(drops, temporary)


def open_drop(path: Path) -> BinaryIO:
    """A file in an inbox, open for reading; no link is followed, no FIFO waited for. Raises `OSError`."""
    return os.fdopen(os.open(path, OPEN), "rb")


def copy_to_spool(drop: Drop, stamp: Stamp, spool: Path) -> str | None:
    """Copy a drop into the spool, on disk before this returns; its key, or None if it is not what it was.

    One descriptor from the check to the last byte, so that nothing can be put in its place in between; the stamp's
    owners are those of what was copied.

    Raises:
        OSError: it cannot be read, or there is no space for it; no part of a copy is left.
    """
    key = drop.key(stamp)
    target = spool / key
    try:
        source = os.open(drop.path, OPEN)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ELOOP}:  # gone, or a link lies there now
            return None
        raise
    try:
        if stamp_of(source) != stamp:
            return None
        return key if target.exists() or _copied(source, stamp, target) else None
    finally:
        os.close(source)


def bundle_name(drop: Drop, stamp: Stamp) -> str:
    """The name under which a drop is handed on, and given back where it was no good: of a folder that of a tar file."""
    return f"{drop.name}.tar" if stamp.tree else drop.name


def remove_drop(drop: Drop, stamp: Stamp) -> None:
    """Take a drop out of the inbox, unless another one lies there by now.

    Raises:
        OSError: the share does not let it go.
    """
    if not stamp.tree:
        with suppress(FileNotFoundError):  # an earlier life removed it already
            if Stamp.of(os.lstat(drop.path)) == stamp:
                drop.path.unlink()
        return
    gone = drop.path.with_name(_GONE + drop.key(stamp))
    with suppress(FileNotFoundError):
        if stamp_at(drop.path) == stamp:
            drop.path.rename(gone)  # at once, and only then file by file
    if gone.exists():
        shutil.rmtree(gone)


def move_drop(drop: Drop, stamp: Stamp, target: Path) -> None:
    """Move a drop elsewhere in the share as it is, unless another one lies there by now. Raises `OSError`."""
    with suppress(FileNotFoundError):
        if stamp_at(drop.path) == stamp:
            drop.path.rename(target)
            with suppress(PermissionError):  # another's; its age on the shelf is counted from the last change
                os.utime(target, follow_symlinks=False)


def remove_leftovers(folder: Path) -> None:
    """Remove what is left in an inbox of folders that an earlier life was just removing. Raises `OSError`."""
    for gone in folder.glob(f"{_GONE}*"):
        shutil.rmtree(gone)


def _copied(source: int, stamp: Stamp, target: Path) -> bool:
    """Copy an open drop, whole and on disk before it has its name; whether it is still what it was."""
    partial = target.with_suffix(".part")
    try:
        _copy(source, stamp, partial)
    except (OSError, Changed) as error:
        partial.unlink(missing_ok=True)  # half a copy on a full disk would keep it full
        if stamp_of(source) != stamp:
            return False
        raise error if isinstance(error, OSError) else OSError("it changes all the time") from error
    if stamp_of(source) != stamp:
        partial.unlink()
        return False
    with step("spool copy"):
        partial.replace(target)
        fsync_folder(target.parent)
    return True


def _copy(source: int, stamp: Stamp, target: Path) -> None:
    with target.open("wb") as copy:
        if stamp.tree:
            if not pack(source, copy) <= stamp.owners:
                raise Changed
        else:
            while os.sendfile(copy.fileno(), source, None, 2**20):
                pass
        copy.flush()
        os.fsync(copy.fileno())


def _is_temporary(name: str) -> bool:
    return name.startswith(".") or name.lower().endswith(_TEMPORARY_ENDINGS)
