"""Room for what has to be unpacked before it can be looked at."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO


class Scratch(ExitStack):
    """A context manager that makes files without a name in a folder; the disk is free again when it ends."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def file(self) -> BinaryIO:
        """A new, empty file for reading and writing. Raises `OSError` where the disk is full."""
        return self.enter_context(TemporaryFile(dir=self._folder))
