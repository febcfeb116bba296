"""One result that comes in, piece by piece: each is verified, and all are of the same file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from dopq.errors import TryAgain
from dopq.wire import Plain
from dopq_client.target import Arrival, Target

MOST_TRIES = 3
"""How often a file may change while it is read, or a piece of it arrive damaged."""


@dataclass(frozen=True, slots=True)
class Result:
    """A result, as the service lists it: its path there and here."""

    path: str
    place: str
    size: int
    executable: bool


class Incoming:
    """A result on its way into its target; its first `size` bytes are here."""

    def __init__(self, target: Target, result: Result) -> None:
        self._result = result
        self._arrival: Arrival = target.arrival(result.place)
        self._same: tuple[int, int] | None = None
        self._tries = 0

    @property
    def size(self) -> int:
        """How much of it is here."""
        return self._arrival.size

    @property
    def part(self) -> Path:
        """The file that has these bytes."""
        return self._arrival.part

    def keep(self, size: int) -> None:
        """Forget what is here beyond the first `size` bytes."""
        self._arrival.keep(size)

    def take(self, piece: Plain | None) -> bool:
        """Take what `read_results` has said of it from byte `size` on; whether it is whole and in its place now.

        Raises:
            TryAgain: it went, ended early, or does not arrive as it is after several tries.
            UserError: it cannot be written here.
        """
        if piece is None:
            raise TryAgain(f"{self._result.path} is not there any more.", "Fetch again.")
        data: bytes = piece["data"]
        if hashlib.sha256(data).hexdigest() != piece["sha256"]:
            self._once_more("arrived damaged")
            return False
        if self._is_another(piece):
            self._once_more("changed while it was read")
            self.keep(0)
            return False
        # Of a log that still grows we take as much as there was when it was listed.
        end: int = self._result.size if piece["modified_ns"] is None else piece["size"]
        self._arrival.add(data[: max(0, end - self.size)])
        if self.size < end and not data:
            raise TryAgain(f"{self._result.path} ended after {self.size} of {end} bytes.", "Fetch again.")
        if self.size == end:
            self._arrival.finish(executable=self._result.executable)
        return self.size == end

    def close(self) -> None:
        """Leave off; what is here is taken up next time."""
        self._arrival.close()

    def _is_another(self, piece: Plain) -> bool:
        if piece["modified_ns"] is None:
            return False
        before, self._same = self._same, (piece["size"], piece["modified_ns"])
        return before not in {None, self._same}

    def _once_more(self, what: str) -> None:
        self._tries += 1
        if self._tries == MOST_TRIES:
            raise TryAgain(f"{self._result.path} {what}, {MOST_TRIES} times.", "Fetch again later.")
