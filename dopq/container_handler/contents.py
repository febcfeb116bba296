"""What is in a bundle, seen from its root, and everything that is wrong with it as an archive."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import PurePosixPath

from dopq.container_handler.archive import (
    Archive,
    Kind,
    Limits,
    Member,
    entry_problems,
    folders_above,
    is_junk,
    size_problems,
)
from dopq.container_handler.project_layout import find_root
from dopq.container_handler.refusal import problems_of, refusal
from dopq.errors import BundleRejected
from dopq.job import Problem

_CHUNK = 1024 * 1024
_LONGEST_TEXT = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Contents:
    """The entries of an archive, every one read to its end.

    Attributes:
        members: files and folders by their path from the bundle's root, without what macOS adds; while there are
            problems, the paths are not safe to create.
        texts: the files that decide what becomes of the bundle, as far as they can be read.
        problems: all of them.
    """

    members: Mapping[PurePosixPath, Member]
    texts: Mapping[PurePosixPath, bytes]
    problems: Sequence[Problem]

    @property
    def files(self) -> dict[PurePosixPath, Member]:
        """The files alone."""
        return _files(self.members)

    @property
    def folders(self) -> set[PurePosixPath]:
        """Those with an entry of their own, and those that the path of another one implies."""
        seen = {PurePosixPath()}
        implied = {folder for path in self.members for folder in folders_above(path, seen)}
        return implied | {path for path, member in self.members.items() if member.kind is Kind.FOLDER}


def look(archive: Archive, limits: Limits, texts: Collection[PurePosixPath]) -> Contents:
    """Look at everything in an archive, and read `texts` where they are there.

    Raises:
        BundleRejected: there is too much of it to look at.
    """
    if problems := size_problems(archive.members, limits):
        raise refusal(problems)
    damaged = _damaged(archive)
    problems = entry_problems(archive.members, limits) + list(damaged.values())
    members = _from_root(archive.members)
    files, read = _files(members), {}
    for path in texts & files.keys():
        if files[path].size > _LONGEST_TEXT:
            what = f"it has {files[path].size} bytes, {_LONGEST_TEXT} are allowed"
            problems.append(Problem(str(path), what, "Make it shorter."))
        elif not files[path].obstacle and files[path] not in damaged:
            with closing(archive.open(files[path])) as content:
                read[path] = content.read()
    return Contents(members, read, problems)


def _damaged(archive: Archive) -> dict[Member, Problem]:
    """The files whose content is not what the table of contents claims: every one is read to its end."""
    damaged = {}
    for member in archive.members:
        if member.kind in {Kind.FILE, Kind.FOLDER} and not member.obstacle:  # a folder's bytes are none, but may lie
            try:
                with closing(archive.open(member)) as content:
                    while content.read(_CHUNK):
                        pass
            except BundleRejected as refused:
                damaged[member] = problems_of(refused)[0]
    return damaged


def _from_root(members: Sequence[Member]) -> dict[PurePosixPath, Member]:
    wanted = {path: member for member in members if (path := member.path).parts and not is_junk(path)}
    root = find_root(_files(wanted)).parts
    if not root:
        return wanted
    inside = ((path.parts, member) for path, member in wanted.items() if path.parts[: len(root)] == root)
    return {PurePosixPath(*parts[len(root) :]): member for parts, member in inside if len(parts) > len(root)}


def _files(members: Mapping[PurePosixPath, Member]) -> dict[PurePosixPath, Member]:
    return {path: member for path, member in members.items() if member.kind is Kind.FILE}
