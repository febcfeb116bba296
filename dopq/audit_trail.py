"""The audit log, read: every entry of all its files in order, past lines that are none."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from dopq.audit import Entry, full_files

LONGEST_LINE = 64 * 1024
"""No entry comes near it; what is longer is damage, and is not held in memory."""


@dataclass(frozen=True, slots=True)
class Damaged:
    """A line that is no entry: who wrote it was killed, the disk was full, or somebody else wrote."""

    file: Path
    number: int


def read_audit(path: Path) -> Iterator[Entry | Damaged]:
    """Every line of the log at `path`, the oldest first; a line at a time, however large the files are.

    The log may be rotated meanwhile: what was there when this was called is read once, as far as it is still kept.

    Raises:
        OSError: a file of it cannot be read.
    """
    with ExitStack() as files:
        newest = _opened(path)
        if newest:
            files.enter_context(newest)
        for full in full_files(path) if path.parent.is_dir() else []:
            file = _opened(full)  # the oldest may have gone since it was listed
            if file:
                with file:
                    if not (newest and _same(file, newest)):  # rotated since it was opened
                        yield from _lines(file, full)
        if newest:
            yield from _lines(newest, path)


def _opened(path: Path) -> BinaryIO | None:
    try:
        return path.open("rb")
    except FileNotFoundError:
        return None


def _same(one: BinaryIO, other: BinaryIO) -> bool:
    return os.path.samestat(os.fstat(one.fileno()), os.fstat(other.fileno()))


def _lines(file: BinaryIO, path: Path) -> Iterator[Entry | Damaged]:
    number = 0
    while line := file.readline(LONGEST_LINE):
        number += 1
        if line != b"\n":
            yield _entry(line) or Damaged(path, number)


def _entry(line: bytes) -> Entry | None:
    try:
        told = json.loads(line)
        at = datetime.fromisoformat(told["at"])
        entry = Entry(
            at,
            _text_or_none(told["user"]),
            _text_or_none(told["peer"]),
            None if told["uid"] is None else int(told["uid"]),
            str(told["from"]),
            str(told["method"]),
            dict(told["what"]),
            str(told["result"]),
        )
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return entry if at.tzinfo else None


def _text_or_none(value: object) -> str | None:
    return None if value is None else str(value)
