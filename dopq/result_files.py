"""The files below a job's folder, in order and a page at a time: however many there are, each call costs a page."""

from __future__ import annotations

import heapq
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

PAGE_FILES = 1_000
"""How many files one page has at most."""

PAGE_ENTRIES = 10_000
"""How many files, folders and whatever else one page looks at, at most."""

_SORTED = PAGE_FILES + 1  # with the one behind which a page begins


@dataclass(frozen=True, slots=True)
class ResultFile:
    """A file that a job left: its path inside the job's folder, size in bytes, and whether it is executable."""

    path: str
    size: int
    executable: bool


@dataclass(frozen=True, slots=True)
class Page:
    """Some files; `next` is behind what the next page begins, None where nothing can follow."""

    files: list[ResultFile]
    next: str | None


def page(folder: Path, names: Collection[str], after: str) -> Page:
    """The regular files of those `names` in a folder, and in those that are folders, which come behind `after`.

    In the order of their names, a folder's files together. Links are neither listed nor followed.

    Raises:
        OSError: something cannot be read, or went meanwhile.
    """
    files = list[ResultFile]()
    if folder.is_dir():
        for looked_at, entry in enumerate(_walk(folder, names, tuple(after.split("/")) if after else ()), 1):
            path = os.path.relpath(entry.path, folder)
            if entry.is_file(follow_symlinks=False):
                info = entry.stat(follow_symlinks=False)
                files.append(ResultFile(path, info.st_size, bool(info.st_mode & 0o100)))
            if len(files) == PAGE_FILES or looked_at == PAGE_ENTRIES:
                return Page(files, next=path)
    return Page(files, next=None)


def _walk(top: Path, names: Collection[str], after: tuple[str, ...]) -> Iterator[os.DirEntry[str]]:
    """Every entry, a folder before what is in it, with a loop: a job may nest folders deeper than Python's stack."""
    begin = (*after, "")  # by depth: what a folder on the way to `after` is looked at from
    levels: list[Iterator[os.DirEntry[str]]] = [filter(lambda entry: entry.name in names, _in_order(top, begin[0]))]
    on_the_way = True  # whether each folder that we are in is one in which `after` lies
    while levels:
        entry = next(levels[-1], None)
        if entry is None:
            levels.pop()
            continue
        on_the_way = on_the_way and entry.name == begin[len(levels) - 1]
        if not on_the_way:
            yield entry
        if entry.is_dir(follow_symlinks=False):
            levels.append(_in_order(Path(entry.path), begin[len(levels)] if on_the_way else ""))


def _in_order(folder: Path, begin: str) -> Iterator[os.DirEntry[str]]:
    """The entries of a folder from the name `begin` on, sorted, without having all of them in memory at once."""
    behind = ""
    while True:
        with os.scandir(folder) as entries:
            wanted = (entry for entry in entries if entry.name >= begin and entry.name > behind)
            some = heapq.nsmallest(_SORTED, wanted, key=lambda entry: entry.name)
        yield from some
        if len(some) < _SORTED:
            return
        behind = some[-1].name
