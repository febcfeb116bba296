"""The build log of a job in the share, which may refuse it at any moment: a log never ends a build."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from dopq.utils.log import logger

log = logger(__name__)


class BuildLogFile:
    """Writes to `wanted`, from its first refusal on to `instead`, which is added to it in the end if possible."""

    def __init__(self, wanted: Path, instead: Path) -> None:
        self._wanted = wanted
        self._instead = instead
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        self._instead.unlink(missing_ok=True)
        try:
            self._file = self._wanted.open("wb", buffering=0)
        except OSError as error:
            self._turn_to_instead(error)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()
        if self._instead.exists():
            with contextlib.suppress(OSError), self._wanted.open("ab") as end, self._instead.open("rb") as late:
                shutil.copyfileobj(late, end)

    def write(self, text: bytes) -> None:
        """Add to the log."""
        assert self._file, "write inside the with block"
        try:
            self._file.write(text)
        except OSError as error:
            self._turn_to_instead(error)
            self._file.write(text)

    def _turn_to_instead(self, error: OSError) -> None:
        log.warning("build_log_refused", path=self._wanted, cause=error.strerror)
        self._close()
        self._file = self._instead.open("ab", buffering=0)

    def _close(self) -> None:
        if self._file:
            with contextlib.suppress(OSError):  # a network share may refuse only now what it took before
                self._file.close()
