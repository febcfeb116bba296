"""Bringing home what a job wrote: regular files and folders only, whatever the job did there.

A job may leave links to the host's files, devices, FIFOs or setuid programs in its output. None of them comes along:
each would be followed, opened or executed by somebody with more rights than the job had. What it nests or names beyond
what a file system takes stays behind as well; it must not keep the job, and its GPUs, from ending.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from dopq.utils.files import make_public_folder, write_atomic

_HOPELESS = {errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ}
"""What a file system says of one name that it will never take; everything else may be better the next time."""


def collect(source: Path, target: Path) -> list[str]:
    """Move the outputs below `source` to `target`; the paths that were left behind, with why.

    Files are moved, or copied where `target` is another file system. Safe to repeat after being killed at any point:
    what has come already is complete, and the rest follows. `target` appears under its name when everything is there,
    beside `<target>.left_behind.txt` where something was left.

    Raises:
        OSError: the target cannot be written now; repeat it.
    """
    if target.is_dir():
        return []
    partial = target.with_name(f".{target.name}.partial")
    make_public_folder(partial)
    left = list(_move_tree(source, partial)) if source.is_dir() and not source.is_symlink() else []
    if left:
        write_atomic(target.with_name(f"{target.name}.left_behind.txt"), "".join(f"{line}\n" for line in left))
    partial.replace(target)
    return left


def discard(folder: Path) -> None:
    """Remove a folder with all that a job left in it, however deep. What cannot be removed stays, without a word.

    `shutil.rmtree` goes as deep as the tree does, and a job can make one that is deeper than Python's stack. So every
    folder is brought up to one level first.
    """
    with suppress(OSError):
        if folder.is_dir():
            shaft = Path(tempfile.mkdtemp(prefix=".discarded-", dir=folder.parent))
            try:
                _discard_through(shaft, folder)
            finally:
                shaft.rmdir()  # empty also where somebody else was quicker with the folder


def _discard_through(shaft: Path, folder: Path) -> None:
    waiting, levels = [folder], list[Path]()
    while waiting:
        level = shaft / str(len(levels))
        waiting.pop().rename(level)
        levels.append(level)
        for entry in _listing(level):
            if entry.is_dir(follow_symlinks=False):
                waiting.append(Path(entry.path))
            else:
                Path(entry.path).unlink()
    for level in levels:
        level.rmdir()


def portable_name(name: str) -> str:
    """A file name that crosses the wire and other systems' disks; no two names become one.

    What is no text, control characters and backslashes become %XX, as in a URL; so does a % that would look like that.
    """
    return "".join(_portable(character) for character in _LOOKS_ENCODED.sub("%25", name))


_LOOKS_ENCODED = re.compile(r"%(?=[01][0-9A-F]|25|5C|7F|[89A-F][0-9A-F])")


def _portable(character: str) -> str:
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:  # a byte that is no UTF-8, as os.scandir hands it over (PEP 383)
        return f"%{number - 0xDC00:02X}"
    return f"%{number:02X}" if number < 32 or 127 <= number < 160 or character == "\\" else character


def _move_tree(source: Path, target: Path) -> Iterator[str]:
    """Move everything, folder by folder; yields what stays."""
    spare = target.with_name(f"{target.name}.part")  # outside the tree, in which every name belongs to the job
    folders = [(_listing(source), target)]
    for entries, there in folders:  # grows on the way
        for entry in entries:
            path, place = Path(entry.path), there / portable_name(entry.name)
            shown = portable_name(path.relative_to(source).as_posix())
            try:
                if entry.is_dir(follow_symlinks=False):
                    make_public_folder(place)
                    folders.append((_listing(path), place))
                elif entry.is_file(follow_symlinks=False):
                    _move_file(path, place, spare)
                else:
                    yield f"{shown} ({'a link' if entry.is_symlink() else 'a special file'})"
            except OSError as error:
                if not _hopeless(error, path):
                    raise
                yield f"{shown} ({error.strerror})"


def _hopeless(error: OSError, path: Path) -> bool:
    """Whether it is this file's own fault: what the service may not read, it may not read the next time either."""
    return error.errno in _HOPELESS or (isinstance(error, PermissionError) and not os.access(path, os.R_OK))


def _listing(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _move_file(source: Path, target: Path, spare: Path) -> None:
    # Only the permission bits that mean something for a result; never setuid, setgid or sticky.
    mode = 0o755 if source.lstat().st_mode & stat.S_IXUSR else 0o644
    if source.lstat().st_nlink == 1 and _moved(source, target, mode):
        return
    shutil.copyfile(source, spare, follow_symlinks=False)
    spare.chmod(mode)
    spare.replace(target)
    with suppress(PermissionError):  # it goes with the rest of the job's folder
        source.unlink()


def _moved(source: Path, target: Path, mode: int) -> bool:
    try:
        # A change of owner, even to the same, takes the file's capabilities away: the kernel's rule for chown(2).
        os.chown(source, os.geteuid(), os.getegid(), follow_symlinks=False)
        source.chmod(mode)
        source.rename(target)
    except PermissionError:
        return False  # the service is not root, and the file belongs to the container's user
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        return False
    return True
