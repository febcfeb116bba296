"""The kinds of archive that are taken, told from each other by the ending of the name."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import BinaryIO

from dopq.container_handler.archive import Archive, Limits, file_problem
from dopq.container_handler.bundle_name import ENDINGS, GZIPPED, split_ending
from dopq.container_handler.gunzip import gunzip, is_whole_gzip
from dopq.container_handler.refusal import refusal, shown
from dopq.container_handler.scratch import Scratch
from dopq.container_handler.tar_archive import TarArchive
from dopq.container_handler.tar_entries import END_BYTES
from dopq.container_handler.tar_header import BLOCK
from dopq.container_handler.zip_archive import ZipArchive
from dopq.container_handler.zip_end import has_end
from dopq.job import Problem

_MOST_UNPACKED_TO_LOOK = 16 * 2**20
_TAR_BYTES_PER_ENTRY = 8 * BLOCK  # header, fill-up, and extensions of an honest entry


def open_archive(file: BinaryIO, name: str, limits: Limits, scratch: Scratch) -> Archive:
    """Open an archive whose kind the ending of its `name` tells.

    Args:
        file: a file on disk, which nobody may change meanwhile; open for as long as the archive is used.
        scratch: for what is unpacked on the way; it has to last as long.

    Raises:
        BundleRejected: it is no archive of that kind, not a whole one, or larger than `limits`.
        OSError: this machine's disk is full or failing.
    """
    ending = split_ending(name)[1].lower()
    if not ending:
        what = f"this kind of file is not taken; folders and {', '.join(ENDINGS)} are"
        raise refusal([Problem(shown(name), what, "Pack the folder with 'zip -r' or 'tar -czf' and hand that in.")])
    if ending == ".zip":
        return ZipArchive(file, limits)
    if ending in GZIPPED:
        most = most_bytes_of(limits)
        return TarArchive(_unzipped(file, limits, most, scratch), replace(limits, bundle_bytes=most))
    return TarArchive(file, limits)


def most_bytes_of(limits: Limits) -> int:
    """The largest tar file that a bundle within `limits` can be, or become."""
    return limits.unpacked_bytes + limits.entries * _TAR_BYTES_PER_ENTRY


def is_whole(file: BinaryIO, name: str) -> bool:
    """Whether a file has the end that its kind of archive has, which half a copy has not.

    No verdict on the rest of it: damaged files are whole, too, and so is what is no archive. A large gzip file passes,
    since nothing but unpacking all of it would tell.
    """
    ending, size = split_ending(name)[1].lower(), file.seek(0, io.SEEK_END)
    if ending == ".zip":
        return has_end(file)
    if ending == ".tar":
        file.seek(max(0, size - END_BYTES))
        return size >= END_BYTES and not file.read().strip(b"\0")
    return not ending or size > _MOST_UNPACKED_TO_LOOK or is_whole_gzip(file)


def _unzipped(file: BinaryIO, limits: Limits, most_bytes: int, scratch: Scratch) -> BinaryIO:
    if problem := file_problem(file.seek(0, 2), limits):
        raise refusal([problem])
    tar = scratch.file()
    gunzip(file, tar.write, most_bytes)
    tar.flush()
    return tar
