"""The log of one attempt at a job, on the node's own disk: whole up to a limit, then what is left of the rest.

The engine repeats a log, so the size of ours says where to go on (docs/adr/0004). A note beside it tells with which
piece the engine's log began, and so whether the engine still has that beginning; and whether the limit was reached
(docs/adr/0074).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path

from dopq.container_handler.engine import LogPiece
from dopq.utils.files import append_rest, write_atomic

NOTICE = (
    b"\n--- The log has reached its limit here. What the job prints from now on is added when it has ended: "
    b"its last part, or all of it if there is not much more. ---\n"
)

Read = Callable[[], Iterator[LogPiece]]


@dataclass(frozen=True, slots=True)
class _Note:
    """What is known of an attempt's log.

    Attributes:
        start: the byte of our file at which it begins.
        first: the engine's time of its first piece; None: nothing was read yet.
        full_at: the byte of our file at which its limit was reached; None: it was not.
    """

    start: int = 0
    first: str | None = None
    full_at: int | None = None


class _LimitReached(Exception):
    """From here on a piece of the engine's log may be missing."""


class RunLog:
    """One attempt's part of a log file. One thread at a time."""

    def __init__(self, path: Path, attempt: int) -> None:
        """`path`: the file, to which further attempts add."""
        self._path = path
        self._attempt = attempt
        self._note_path = path.with_name(f"{path.name}.{attempt}")

    def begin(self) -> None:
        """Have the log of a further attempt go on behind that of the one before. Twice is fine.

        Raises:
            OSError: our own disk does not take it now. Repeat it.
        """
        if self._attempt > 1 and not self._note_path.exists():
            with self._path.open("ab") as file:
                file.write(f"--- attempt {self._attempt} ---\n".encode())
                start = file.tell()
            self._keep(_Note(start))

    @property
    def is_full(self) -> bool:
        """Whether it has reached its limit, so that a part of it may be missing."""
        return self._note().full_at is not None

    def follow(self, read: Read, *, over: bool) -> bool:
        """Add what is missing, and what comes, until the limit or the end; on disk when this returns.

        Args:
            read: begins to read the engine's log, from its first piece.
            over: the container has ended, so that the engine drops nothing more.

        Returns:
            Whether the log is all there as far as the engine had it; else it has to be followed once more when over.

        Raises:
            OSError: our own disk does not take it now. Repeat it.
        """
        note = self._note()
        if note.full_at is None:
            note = self._add_sure(read(), note)
        if note.full_at is None:
            return True
        self._add_rest(read() if over else iter(()), note)
        return over

    def _add_sure(self, pieces: Iterator[LogPiece], note: _Note) -> _Note:
        """Add up to the limit; what is known then."""
        first = next(pieces, None)
        if first is None:
            self._path.touch(0o600)
            return note
        if note.first is None:
            note = self._keep(replace(note, first=first.at))
        if note.first == first.at:
            try:
                append_rest(self._path, _sure(chain([first], pieces)), note.start)
            except _LimitReached:
                pass
            else:
                return note
        return self._keep(replace(note, full_at=self._path.stat().st_size))

    def _add_rest(self, pieces: Iterator[LogPiece], note: _Note) -> None:
        """Add the notice, and behind it what the engine has that we have not."""
        first = next(pieces, None)
        known = (note.full_at or 0) - note.start if first and first.at == note.first else 0
        rest = _without(known, (piece.data for piece in chain([first] if first else [], pieces)))
        append_rest(self._path, chain([NOTICE], rest), note.full_at or 0)

    def _note(self) -> _Note:
        try:
            said = json.loads(self._note_path.read_text(encoding="ascii"))
        except FileNotFoundError:
            return _Note()
        return _Note(said) if isinstance(said, int) else _Note(**said)  # a number: from before there were limits

    def _keep(self, note: _Note) -> _Note:
        write_atomic(self._note_path, json.dumps(asdict(note)) + "\n", 0o600)
        return note


def _sure(pieces: Iterable[LogPiece]) -> Iterator[bytes]:
    for piece in pieces:
        if not piece.is_sure:
            raise _LimitReached
        yield piece.data


def _without(known_bytes: int, chunks: Iterable[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        yield chunk[known_bytes:]
        known_bytes = max(0, known_bytes - len(chunk))
