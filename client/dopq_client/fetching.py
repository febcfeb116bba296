"""Bringing what a job has left into a folder: what is there already stays, the rest comes in pieces and is verified.

Nothing is remembered from one fetch to the next but the file at which it was cut off. What a folder holds is compared
with the service's checksums: it does not matter who wrote it, and a fetch that is over means that all of it is right.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from dopq.errors import TryAgain
from dopq.wire import Plain
from dopq_client.checksums import BLOCK_BYTES, PATHS_AT_ONCE, confirmed
from dopq_client.incoming import Incoming, Result
from dopq_client.link import Link
from dopq_client.results import safe_parts
from dopq_client.shapes import FetchedFile
from dopq_client.target import Target

ANSWER_BYTES = 2**20
"""How much the service sends in one answer; more is asked for in vain."""

Place = Callable[[str], str | None]
"""Where a result of that path goes, as a path below the target; None: nowhere."""


@dataclass(frozen=True, slots=True)
class FetchProgress:
    """How far a fetch has come: files and bytes that are here, and how many there are."""

    files: int
    files_total: int
    bytes: int
    bytes_total: int


Tell = Callable[[FetchProgress], None]


def fetch(link: Link, job: str, target: Target, place: Place, tell: Tell | None) -> list[FetchedFile]:
    """Bring the results of the job of that number for which there is a `place`, and say which they are.

    Raises:
        UserError: `target` cannot be written to, or the service named a file in an unsafe way (`UnsafePath`).
        TryAgain: a file went, got shorter, or changed again and again while it was read.
    """
    files = size = 0
    for page in _pages(link, job, place):  # all names are judged before anything is written
        files += len(page)
        size += sum(result.size for result in page)
    with target:
        return _Fetch(link, job, target, FetchProgress(0, files, 0, size), tell).bring(_pages(link, job, place))


def _pages(link: Link, job: str, place: Place) -> Iterator[list[Result]]:
    after: str | None = ""
    while after is not None:
        answer: Plain = link.call("list_results", job, after)
        page = [
            Result(file["path"], there, file["size"], file["executable"])
            for file in answer["files"]
            if (there := place(file["path"])) is not None
        ]
        for result in page:
            safe_parts(result.place)
        yield page
        after = answer["next"]


@dataclass
class _Fetch:
    """One fetch on its way."""

    link: Link
    job: str
    target: Target
    progress: FetchProgress
    tell: Tell | None

    def bring(self, pages: Iterable[list[Result]]) -> list[FetchedFile]:
        """Bring them; what is here in the end, in the order of the listing."""
        fetched = list[FetchedFile]()
        for page in pages:
            kept = self._kept(page)
            for result in page:
                if result.path in kept:
                    self._count(1, result.size)
            self._bring(deque(result for result in page if result.path not in kept))
            fetched += [FetchedFile(path=it.place, size=it.size, kept=it.path in kept) for it in page]
        return fetched

    def _kept(self, page: list[Result]) -> set[str]:
        """The paths of those that are here already, whole."""
        here = [(it, mine) for it in page if (mine := self.target.here(it.place)) and mine.stat().st_size == it.size]
        same = confirmed(self.link, self.job, [(it.path, mine) for it, mine in here])
        return {it.path for (it, _), size in zip(here, same, strict=False) if size == it.size}

    def _bring(self, waiting: deque[Result]) -> None:
        coming: Incoming | None = None
        try:
            while waiting:
                if coming is None:
                    coming = self._taken_up(waiting[0])
                for piece in self._pieces(waiting, coming.size):
                    if coming is None:
                        coming = self._begun(waiting[0])
                    before = coming.size
                    is_whole = coming.take(piece)
                    self._count(int(is_whole), coming.size - before)
                    if not is_whole:
                        break
                    coming = None
                    waiting.popleft()
        finally:
            if coming is not None:
                coming.close()

    def _taken_up(self, result: Result) -> Incoming:
        """A result, from where the last fetch was cut off."""
        coming = Incoming(self.target, result)
        same = confirmed(self.link, self.job, [(result.path, coming.part)] if coming.size >= BLOCK_BYTES else [])
        coming.keep(next(same, 0))
        self._count(0, coming.size)
        return coming

    def _begun(self, result: Result) -> Incoming:
        coming = Incoming(self.target, result)
        coming.keep(0)
        return coming

    def _pieces(self, waiting: Iterable[Result], offset: int) -> list[Plain | None]:
        room, paths = ANSWER_BYTES + offset, list[str]()
        for result in islice(waiting, PATHS_AT_ONCE):
            paths.append(result.path)
            room -= result.size
            if room <= 0:
                break
        pieces: list[Plain | None] = self.link.call("read_results", self.job, paths, offset)
        if not pieces:
            raise TryAgain(f"The service sends nothing of {paths[0]}.", "Fetch again later.")
        return pieces

    def _count(self, files: int, size: int) -> None:
        now = self.progress
        self.progress = FetchProgress(now.files + files, now.files_total, now.bytes + size, now.bytes_total)
        if self.tell:
            self.tell(self.progress)
