"""Tar files, read by hand: Python's `tarfile` forgives what tells a damaged or deceitful file from an honest one.

A tar file has no table of contents and no checksum of its content. So every header is read before anybody looks at a
name, and all bytes from the first to the last have to be accounted for.
"""

from __future__ import annotations

import os
from typing import BinaryIO

from dopq.container_handler.archive import Kind, Limits, Member, file_problem
from dopq.container_handler.file_part import Part
from dopq.container_handler.refusal import refusal, shown
from dopq.container_handler.tar_entries import Entry, entries_of
from dopq.container_handler.tar_header import FILES, FOLDER, LINKS, SPARSE, Malformed
from dopq.errors import BundleRejected
from dopq.job import Problem


class TarArchive:
    """A tar file that is open for reading (an `Archive`).

    Attributes:
        whole: the file from its first byte to its last.
        entries: what the headers say, one for each of `members`.

    Raises:
        BundleRejected: it is no tar file, not a whole one, or larger than `limits`.
        OSError: this machine could not read the file.
    """

    def __init__(self, file: BinaryIO, limits: Limits) -> None:
        self.whole = Part.whole(file.fileno())
        self.entries = _whole(self.whole, limits)
        self.members = tuple(map(_member, self.entries))
        self._at = {member: entry.at for member, entry in zip(self.members, self.entries, strict=True)}

    def open(self, member: Member) -> TarContent:
        """Read one file of the archive."""
        at = self._at[member]
        return TarContent(Part(self.whole.descriptor, at, at + member.size))


class TarContent:
    """The bytes of one file (a `Content`); any number of them may be read at the same time."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._at = part.start

    def read(self, size: int = -1, /) -> bytes:
        """As `Content.read` promises."""
        left = self._part.end - self._at
        wanted = left if size < 0 else min(size, left)
        data = os.pread(self._part.descriptor, wanted, self._at)
        if wanted and not data:
            raise refusal([Problem("bundle", "it has become shorter while it was read", "Hand it in again.")])
        self._at += len(data)
        return data

    def close(self) -> None:
        """Nothing to do: the file belongs to the archive's owner."""


def _whole(tar: Part, limits: Limits) -> tuple[Entry, ...]:
    if problem := file_problem(tar.end, limits):
        raise refusal([problem])
    entries: list[Entry] = []
    try:
        for entry in entries_of(tar):
            entries.append(entry)
            if len(entries) > limits.entries:
                break  # enough to be refused; a file of gigabytes may hold millions
    except Malformed as error:
        raise _damaged(entries, str(error)) from error
    except EOFError:
        what = "the end of the tar file is missing, as in half a copy"
        raise refusal([Problem("bundle", what, "Copy it again, all of it.")]) from None
    return tuple(entries)


def _damaged(entries: list[Entry], why: str) -> BundleRejected:
    if not entries:
        return refusal([Problem("bundle", "it is no tar file, it only has the name of one", "Make it with 'tar -cf'.")])
    what = f"it is damaged after {shown(entries[-1].name)}: {why}"
    return refusal([Problem("bundle", what, "Copy or pack the bundle again.")])


def _member(entry: Entry) -> Member:
    return Member(
        name=entry.name,
        kind=_kind(entry),
        size=entry.size,
        executable=bool(entry.mode & 0o111),
        obstacle="it is a sparse file" if entry.is_sparse else "",
    )


def _kind(entry: Entry) -> Kind:
    if entry.kind in LINKS:
        return Kind.LINK
    if entry.kind == FOLDER or (entry.kind in FILES and entry.name.endswith("/")):  # the latter as in the oldest tars
        return Kind.FOLDER
    return Kind.FILE if entry.kind in FILES or entry.kind == SPARSE else Kind.SPECIAL
