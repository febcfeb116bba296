"""Zip files. Python's `zipfile` reads the table of contents; its many ways to fail there all become a refusal.

The numbers are sections of the format's definition, PKWARE's APPNOTE.TXT 6.3.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import BinaryIO, Self

from dopq.container_handler.archive import Kind, Limits, Member
from dopq.container_handler.refusal import refusal, shown
from dopq.container_handler.zip_content import Claim, ZipContent
from dopq.container_handler.zip_end import check_end
from dopq.container_handler.zip_layout import Place, places
from dopq.container_handler.zip_name import has_two_names, read_name
from dopq.job import Problem

_ENCRYPTED = 0x1 | 0x40 | 0x2000  # 4.4.4: traditional, strong, masked headers
_PATCH = 0x20  # 4.4.4: the content is a difference to another file
# bzip2 and lzma are left out: Python unpacks a whole input block of them at once, however large it becomes.
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
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

    def __init__(self, file: BinaryIO, limits: Limits) -> None:
        check_end(file, limits)
        with _refusing("bundle"):
            self._zip = zipfile.ZipFile(file)
            infos = self._zip.infolist()
            self._descriptor = file.fileno()
            found = places(partial(os.pread, self._descriptor), infos, self._zip.start_dir)
        self.members = tuple(map(_member, infos, found))
        self._claims = dict(zip(self.members, map(_claim, infos, found), strict=True))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._zip.close()

    def open(self, member: Member) -> ZipContent:
        """Read one file of the archive."""
        return ZipContent(self._descriptor, self._claims[member], shown(member.name))


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


def _member(info: zipfile.ZipInfo, place: Place) -> Member:
    mode = info.external_attr >> 16  # 4.4.15: as st_mode where the archive was made on Unix, else 0
    # Where no modes were kept (Windows) every file may be run, as in a context sent by Docker's own client there.
    return Member(
        name=read_name(info),
        kind=_kind(info, mode),
        size=info.file_size,
        executable=bool(mode & 0o111) or not mode,
        obstacle=_obstacle(info) or place.obstacle,
    )


def _kind(info: zipfile.ZipInfo, mode: int) -> Kind:
    form = stat.S_IFMT(mode)
    if form == stat.S_IFLNK:
        return Kind.LINK
    if form not in {0, stat.S_IFREG, stat.S_IFDIR}:
        return Kind.SPECIAL
    return Kind.FOLDER if form == stat.S_IFDIR or info.orig_filename.endswith("/") else Kind.FILE


def _obstacle(info: zipfile.ZipInfo) -> str:
    if info.flag_bits & _ENCRYPTED:
        return "it is encrypted"
    if info.compress_type not in _METHODS or info.flag_bits & _PATCH:
        return f"its compression (method {info.compress_type}) is not taken; deflate and store are"
    if has_two_names(info):
        return "it has two names: its Unicode path is not the one in the table of contents"
    return "it is on another disk of a zip file in several parts" if info.volume else ""


def _claim(info: zipfile.ZipInfo, place: Place) -> Claim:
    deflated = info.compress_type == zipfile.ZIP_DEFLATED
    return Claim(place.start, info.compress_size, info.file_size, info.CRC, deflated)
