"""What may be in an archive, judged on its table of contents alone, whatever its format.

The checks are pure: they look at names and claims. Whether the content keeps what the claims promise shows while it is
read, and is the business of the one file per format that implements `Archive` (`zip_archive.py`, `tar_archive.py`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import PurePosixPath
from typing import Protocol

from dopq.container_handler.refusal import shown
from dopq.job import Problem


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a bundle may be.

    Attributes:
        bundle_bytes: of the archive as it is handed in.
        unpacked_bytes: of all its files together; bounds what a zip bomb can take.
        entries: files and folders.
        name_bytes: of one part of a path, in UTF-8 (255 is what Linux file systems take).
        path_bytes: of a whole path.
        depth: parts of a path.
    """

    bundle_bytes: int = 20 * 2**30
    unpacked_bytes: int = 50 * 2**30
    entries: int = 100_000
    name_bytes: int = 255
    path_bytes: int = 1024
    depth: int = 32


class Kind(Enum):
    """What an entry claims to be."""

    FILE = auto()
    FOLDER = auto()
    LINK = auto()
    SPECIAL = auto()


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of an archive as it stands there, unchecked.

    Attributes:
        name: as the archive spells it; may be anything.
        size: bytes that it claims to unpack to.
        executable: True also where the archive keeps no modes.
        obstacle: why the content cannot be read (encryption, unknown compression), else empty.
    """

    name: str
    kind: Kind
    size: int
    executable: bool
    obstacle: str = ""

    @property
    def path(self) -> PurePosixPath:
        """The name without empty and `.` parts. Only checked names make a safe path."""
        return PurePosixPath(self.name)


class Content(Protocol):
    """The bytes of one entry, from first to last."""

    def read(self, size: int = -1, /) -> bytes:
        """The next `size` bytes, fewer only at the end; never more in all than the entry claimed.

        Raises:
            BundleRejected: fewer bytes than claimed, or a wrong checksum.
        """
        ...

    def close(self) -> None:
        """Stop reading."""
        ...


class Archive(Protocol):
    """An archive of any format, open for reading."""

    @property
    def members(self) -> Sequence[Member]:
        """Every entry in the order of the archive, at most one more than the limits allow."""
        ...

    def open(self, member: Member) -> Content:
        """Read a file without an obstacle."""
        ...


def file_problem(size: int, limits: Limits) -> Problem | None:
    """Whether a file of `size` bytes can be a bundle at all."""
    if size > limits.bundle_bytes:
        what = f"it has {size} bytes, {limits.bundle_bytes} are allowed"
        return Problem("bundle", what, "Leave large data out; the lab's data is mounted at /data.")
    if not size:
        return Problem("bundle", "it is empty (0 bytes)", "Copy it again, all of it.")
    return None


def size_problems(members: Sequence[Member], limits: Limits) -> list[Problem]:
    """Whether there are too many entries or bytes to look at any of them."""
    problems = []
    if len(members) > limits.entries:
        what = f"it has more than {limits.entries} entries"  # nobody has counted on
        problems.append(Problem("bundle", what, "Pack many small files into one."))
    total = sum(member.size for member in members)
    if total > limits.unpacked_bytes:
        what = f"it unpacks to {total} bytes, {limits.unpacked_bytes} are allowed"
        problems.append(Problem("bundle", what, "Leave large data out; the lab's data is mounted at /data."))
    return problems


def entry_problems(members: Sequence[Member], limits: Limits) -> list[Problem]:
    """Everything that is wrong with the entries; with an empty list every path is safe to create, side by side."""
    problems = [problem for member in members for problem in _member_problems(member, limits)]
    bounded = (member for member in members if not _is_beyond(member.name, limits))
    return problems + list(_collisions(bounded, limits.entries))


def is_junk(path: PurePosixPath) -> bool:
    """Whether this is one of the files that macOS adds to archives and nobody asked for."""
    return any(part in {"__MACOSX", ".DS_Store"} or part.startswith("._") for part in path.parts)


def _member_problems(member: Member, limits: Limits) -> Iterator[Problem]:
    where = shown(member.name)
    is_top = member.kind is Kind.FOLDER and member.name in {".", "./"}  # as `tar -C folder .` writes it first
    if not is_top and (reasons := list(_name_reasons(member.name, limits))):
        yield Problem(where, "; ".join(reasons), "Rename it and pack the bundle again.")
    if member.kind is Kind.LINK:
        yield Problem(where, "it is a link", "Put the file itself into the bundle.")
    if member.kind is Kind.SPECIAL:
        yield Problem(where, "it is neither a file nor a folder", "Leave it out.")
    if member.kind is Kind.FOLDER and member.size:
        yield Problem(where, "it is a folder with content of its own", "Pack the bundle again.")
    if member.obstacle:
        yield Problem(
            where, member.obstacle, "Pack the bundle again with plain 'zip -r' or 'tar -czf', without a password."
        )


def _name_reasons(name: str, limits: Limits) -> Iterator[str]:
    parts = name.split("/")
    if all(part in {"", "."} for part in parts):
        yield "the name is empty"
    if name.startswith("/"):
        yield "the path is absolute"
    if ".." in parts:
        yield "'..' leads out of the bundle"
    if "\\" in name:
        yield "the name has a backslash; entries use '/'"
    if any(re.match(r"[A-Za-z]:", part) for part in parts):  # also below the one folder around a bundle
        yield "the name begins with a drive letter"
    if not name.isprintable():  # as all but a few are
        yield from _unprintable_reasons(name)
    if any(_bytes(part) > limits.name_bytes for part in parts) or _bytes(name) > limits.path_bytes:
        yield f"the name is too long ({limits.name_bytes} bytes a part, {limits.path_bytes} in all)"
    if len(parts) > limits.depth:
        yield f"it lies more than {limits.depth} folders deep"


def _is_beyond(name: str, limits: Limits) -> bool:
    """Whether a path is too long or too deep to look at every folder on its way."""
    return _bytes(name) > limits.path_bytes or name.count("/") >= limits.depth


def _unprintable_reasons(name: str) -> Iterator[str]:
    if any(map(_is_no_text, name)):
        yield "the name is not written in UTF-8"
    if any(map(_is_deceptive, name)):
        yield "the name has control or bidirectional characters"


def _is_deceptive(character: str) -> bool:
    """Control characters, line separators, and what turns the direction of text (Unicode UAX #9)."""
    if unicodedata.category(character) in {"Cc", "Zl", "Zp"}:
        return True
    return character in "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def _is_no_text(character: str) -> bool:
    """Half a character, or what stands for a byte that is none."""
    return unicodedata.category(character) == "Cs"


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _collisions(members: Iterable[Member], most: int) -> Iterator[Problem]:
    """Entries that would overwrite each other, here or on a file system that takes `A` and `a` for one name.

    Also ends with a problem where there are more than `most` files and folders, with those that only paths imply: a
    hundred thousand paths may imply millions.
    """
    seen: dict[str, Member] = {}  # by folded path; the folders that a path implies are there too
    implied = {PurePosixPath()}  # folders that were looked at as such, once is enough for thousands of files
    for member in members:
        new = list(folders_above(member.path, implied))
        folders = [Member(str(parent), Kind.FOLDER, 0, executable=True) for parent in reversed(new)]
        for step in [*folders, member]:
            first = seen.setdefault(_folded(str(step.path)), step)
            if first is not step and (clash := _clash(first, step)):
                yield Problem(shown(step.name), clash, "Rename or remove one of them, and pack the bundle again.")
                break
        if len(seen) > most:
            yield Problem("bundle", f"it has more than {most} files and folders", "Pack many small files into one.")
            return


def folders_above(path: PurePosixPath, seen: set[PurePosixPath]) -> Iterator[PurePosixPath]:
    """The folders of a path that are not among those `seen`, to which they are added: the nearest first.

    Whoever begins with the top as seen has with each folder all those above it, and so goes through none twice.
    """
    for parent in path.parents:
        if parent in seen:
            return
        seen.add(parent)
        yield parent


def _folded(path: str) -> str:
    """The same text for all that match without regard to case and spelling (Unicode 3.13, D145)."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", path).casefold())


def _clash(first: Member, second: Member) -> str:
    if first.path != second.path:
        is_case = str(first.path).casefold() == str(second.path).casefold()
        return f"it differs from {shown(first.name)} only in {'case' if is_case else 'how its letters are encoded'}"
    if first.kind is second.kind:
        return "" if second.kind is Kind.FOLDER else "it is there twice"
    return "it is there both as a file and as a folder"
