"""Zip files, read with Python's `zipfile`, whose many ways to fail on hostile bytes all become a refusal here.

The numbers are sections of the format's definition, PKWARE's APPNOTE.TXT 6.3.
"""

from __future__ import annotations

import errno
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from dopq.container_handler.archive import Kind, Limits, Member
from dopq.container_handler.refusal import refusal, shown
from dopq.container_handler.zip_end import check_end
from dopq.job import Problem

_ENCRYPTED = 0x1 | 0x40 | 0x2000  # 4.4.4: traditional, strong, masked headers
_PATCH = 0x20  # 4.4.4: the content is a difference to another file
_UTF8 = 0x800  # 4.4.4: the name is UTF-8, else IBM code page 437
# bzip2 and lzma are left out: zipfile unpacks a whole input block of them at once, however large it becomes.
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_LOCAL_HEADER_BYTES = 30  # 4.3.7, without name and extra field
_MALFORMED = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OverflowError,
    LookupError,
)


class ZipArchive:
    """A zip file that is open for reading (an `Archive`); a context manager.

    Raises:
        BundleRejected: it is no zip file, not a whole one, or larger than `limits`.
        OSError: this machine could not read the file.
    """

    def __init__(self, path: Path, limits: Limits) -> None:
        check_end(path, limits)
        with _refusing("bundle"):
            self._zip = zipfile.ZipFile(path)
        overlapping = _overlapping(self._zip)
        self.members = tuple(_member(info, overlapping) for info in self._zip.infolist())
        self._infos = dict(zip(self.members, self._zip.infolist(), strict=True))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._zip.close()

    def open(self, member: Member) -> ZipContent:
        """Read one file of the archive; raises `BundleRejected` where its header is damaged."""
        where = shown(member.name)
        with _refusing(where):
            return ZipContent(self._zip.open(self._infos[member]), where, member.size)


class ZipContent:
    """The bytes of one file (a `Content`)."""

    def __init__(self, stream: IO[bytes], where: str, size: int) -> None:
        self._stream = stream
        self._where = where
        self._left = size

    def read(self, size: int = -1, /) -> bytes:
        """As `Content.read` promises: `zipfile` stops at the claimed size and compares the CRC-32 there."""
        with _refusing(self._where):
            data = self._stream.read(size)
        expected = self._left if size < 0 else min(size, self._left)
        if len(data) < expected:
            what = f"{expected - len(data)} bytes or more of it are missing"
            raise refusal([Problem(self._where, what, "Zip the bundle again.")])
        self._left -= len(data)
        return data

    def close(self) -> None:
        """Stop reading."""
        self._stream.close()


@contextmanager
def _refusing(where: str) -> Iterator[None]:
    try:
        yield
    except _MALFORMED as error:
        what = f"it is damaged ({shown(str(error) or type(error).__name__)})"
        raise refusal([Problem(where, what, "Copy or zip the bundle again.")]) from error
    except OSError as error:
        if error.errno != errno.EINVAL:  # that one is a seek to where no file has bytes
            raise
        what = "it is damaged (an offset points outside of the file)"
        raise refusal([Problem(where, what, "Copy or zip the bundle again.")]) from error


def _member(info: zipfile.ZipInfo, overlapping: frozenset[int]) -> Member:
    mode = info.external_attr >> 16  # 4.4.15: as st_mode where the archive was made on Unix, else 0
    # Where no modes were kept (Windows) every file may be run, as in a context sent by Docker's own client there.
    return Member(
        name=_name(info),
        kind=_kind(info, mode),
        size=info.file_size,
        executable=bool(mode & 0o111) or not mode,
        obstacle=_obstacle(info, overlapping),
    )


def _name(info: zipfile.ZipInfo) -> str:
    """The name with all that zipfile cuts off at a NUL; macOS writes UTF-8 without saying so."""
    if info.flag_bits & _UTF8:
        return info.orig_filename
    try:
        return info.orig_filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.orig_filename


def _kind(info: zipfile.ZipInfo, mode: int) -> Kind:
    form = stat.S_IFMT(mode)
    if form == stat.S_IFLNK:
        return Kind.LINK
    if form not in {0, stat.S_IFREG, stat.S_IFDIR}:
        return Kind.SPECIAL
    return Kind.FOLDER if form == stat.S_IFDIR or info.orig_filename.endswith("/") else Kind.FILE


def _obstacle(info: zipfile.ZipInfo, overlapping: frozenset[int]) -> str:
    if info.flag_bits & _ENCRYPTED:
        return "it is encrypted"
    if info.compress_type not in _METHODS or info.flag_bits & _PATCH:
        return f"its compression (method {info.compress_type}) is not taken; deflate and store are"
    if info.header_offset in overlapping:
        return "it overlaps with another entry"
    return ""


def _overlapping(archive: zipfile.ZipFile) -> frozenset[int]:
    """Offsets of entries that reach into the next one or into the table of contents, as in a zip bomb of one kernel."""
    infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
    ends = [*(info.header_offset for info in infos[1:]), archive.start_dir]
    return frozenset(
        info.header_offset
        for info, end in zip(infos, ends, strict=False)  # an archive of nothing has an end, too
        if info.header_offset + _LOCAL_HEADER_BYTES + info.compress_size > end
    )
