"""The build log of a job: whole on the node's own disk, and in the share as far as that takes it.

The share may refuse at any moment: a log never ends a build. What it lacks then is brought by the publisher.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from dopq.utils.files import make_public
from dopq.utils.log import logger

log = logger(__name__)


class BuildLogFile:
    """Writes to `kept`, on our own disk, and to `shared` until that refuses."""

    def __init__(self, shared: Path, kept: Path) -> None:
        self._path = shared
        self._kept_path = kept
        self._kept: BinaryIO | None = None
        self._shared: BinaryIO | None = None

    def __enter__(self) -> Self:
        self._kept = self._kept_path.open("wb", buffering=0)
        try:
            self._shared = self._path.open("wb", buffering=0)
            make_public(self._shared.fileno())
        except OSError as error:
            self._give_up(error)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._kept:
            self._kept.close()
        self._close_shared()

    def write(self, text: bytes) -> None:
        """Add to the log."""
        assert self._kept, "write inside the with block"
        self._kept.write(text)
        if self._shared:
            try:
                self._shared.write(text)
            except OSError as error:
                self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        log.warning("build_log_refused", path=self._path, cause=error.strerror)
        self._close_shared()

    def _close_shared(self) -> None:
        if self._shared:
            with contextlib.suppress(OSError):  # a network share may refuse only now what it took before
                self._shared.close()
            self._shared = None
