"""How often a bundle has been looked at in vain, counted on disk so that no death of ours forgets it."""

from __future__ import annotations

import json
from pathlib import Path

from dopq.utils.files import write_atomic

MOST_DEATHS = 3
"""So many processes may die of one bundle."""

MOST_TRIES = 100
"""So often a look may remain without an end, with the Provider dying before its gate.

Many a death has another cause and must not be laid at the door of a good bundle. One that does kill the Provider at
once holds the others up for a minute: a life is over in half a second.
"""


class GateTries:
    """The count of one bundle, in a small file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._begun, self._died = _read(file)

    @property
    def exhausted(self) -> bool:
        """Whether there have been enough."""
        return self._died >= MOST_DEATHS or self._begun >= MOST_TRIES

    def begin(self) -> None:
        """A look begins: on disk before this returns."""
        self._begun += 1
        self._write()

    def died(self) -> None:
        """The gate's process died of it."""
        self._died += 1
        self._write()

    def end(self) -> None:
        """The look came to an end, whatever it was."""
        self._file.unlink(missing_ok=True)

    def _write(self) -> None:
        write_atomic(self._file, json.dumps([self._begun, self._died]), 0o600)


def _read(file: Path) -> tuple[int, int]:
    try:
        begun, died = json.loads(file.read_text(encoding="ascii"))
        return int(begun), int(died)
    except (OSError, ValueError, TypeError):
        return 0, 0
