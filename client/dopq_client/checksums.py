"""Which of the files here are those of the service, by checksums that it makes of its own: nothing is sent for that."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from dopq.wire import Plain
from dopq_client.link import Link

BLOCK_BYTES = 8 * 2**20
"""What has one checksum: the service's own number."""

PATHS_AT_ONCE = 200
"""How many files one question is about: the longest paths that there are fit into a message."""

_READ_BYTES = 2**20


def confirmed(link: Link, job: str, mine: Iterable[tuple[str, Path]]) -> Iterator[int]:
    """Of each of my files, how many of its first bytes the job's result of that path has, too.

    In whole blocks; the last of a file may be shorter. 0 for a result that is not there.

    Raises:
        OSError: one of mine cannot be read.
    """
    waiting, same = deque(mine), 0
    while waiting:
        asked = list(islice(waiting, PATHS_AT_ONCE))
        answers: list[Plain | None] = link.call("get_checksums", job, [path for path, _ in asked], same)
        if not answers:  # a service that has nothing to say
            waiting.clear()
        for (_, file), answer in zip(asked, answers, strict=False):
            size, sums = (answer["size"], answer["sha256"]) if answer else (0, [])
            more = _same(file, same, size, sums)
            same += more
            if more and same < size and more == len(sums) * BLOCK_BYTES:
                break  # and there is more to compare
            yield same
            same = 0
            waiting.popleft()


def _same(file: Path, begin: int, size: int, sums: list[str]) -> int:
    """How many bytes from `begin` on are those of a file of that size with these checksums."""
    same = 0
    with file.open("rb") as mine:
        mine.seek(begin)
        for wanted in sums:
            length = min(BLOCK_BYTES, size - begin - same)
            if _sum(mine, length) != wanted:
                break
            same += length
    return same


def _sum(file: BinaryIO, length: int) -> str:
    digest = hashlib.sha256()
    while length and (data := file.read(min(_READ_BYTES, length))):
        digest.update(data)
        length -= len(data)
    return digest.hexdigest()
