"""The folder that results are written to: each file whole or absent, and nothing outside it."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from dopq.errors import UserError
from dopq_client.results import safe_parts

if TYPE_CHECKING:
    from filelock import FileLock

ARRIVALS = ".dopq-fetch"
"""The folder in a target for what has not come whole; it goes when everything has."""


class Target:
    """The folder that results are written to; for one fetch at a time, in a `with` block.

    What was cut off in the middle of a file stays in `ARRIVALS`, also after this process was killed: the next fetch
    into this folder goes on with it. A power failure may cost more: nothing is forced to the disk.

    Raises:
        UserError: it cannot be written to, or another fetch is writing there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._arrivals = folder / ARRIVALS
        self._lock: FileLock | None = None

    def __enter__(self) -> Self:
        from filelock import FileLock, Timeout

        with self.told(ARRIVALS):
            self.folder.mkdir(parents=True, exist_ok=True)
            _real_folder(self._arrivals)
            self._lock = FileLock(self._arrivals / "lock", timeout=0)
            try:
                self._lock.acquire()
            except Timeout:
                raise UserError(
                    f"Another fetch is writing into {self.folder}.", "Wait for it, or choose another folder: `-o DIR`."
                ) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._lock, "left before it was entered"
        if kind is None:
            for cut_off in self._arrivals.glob("*.part"):  # of a file that is no result any more
                cut_off.unlink()
        self._lock.release()
        with suppress(OSError):  # not while something is kept in it
            (self._arrivals / "lock").unlink(missing_ok=True)
            self._arrivals.rmdir()

    def here(self, path: str) -> Path | None:
        """The regular file that lies at the place of that result; None where there is none."""
        place = self.folder.joinpath(*safe_parts(path))
        with suppress(OSError, ValueError):
            if stat.S_ISREG(place.lstat().st_mode):
                return place
        return None

    def arrival(self, path: str) -> Arrival:
        """Take up a result where the last fetch left it, or anew. Raises `UnsafePath`."""
        safe_parts(path)
        return Arrival(self, path, self._arrivals / f"{hashlib.sha256(path.encode()).hexdigest()[:32]}.part")

    def put(self, path: str, data: bytes) -> None:
        """Write a whole file."""
        arrival = self.arrival(path)
        arrival.keep(0)
        arrival.add(data)
        arrival.finish(executable=False)

    def take(self, path: str, arrived: Path, *, executable: bool) -> None:
        """Put what has arrived whole into its place, instead of whatever file is there."""
        *folders, name = safe_parts(path)
        with self.told(path):
            folder = self.folder
            for part in folders:
                folder /= part
                _real_folder(folder)
            arrived.chmod(0o755 if executable else 0o644)
            arrived.replace(folder / name)  # a link of that name is replaced, not followed

    @contextmanager
    def told(self, path: str) -> Iterator[None]:
        """Say of what goes wrong with a file here what its user can do: `UserError`."""
        try:
            yield
        except (OSError, ValueError) as error:  # ValueError: a name that no file can have
            why = error.strerror if isinstance(error, OSError) else error
            raise UserError(
                f"{self.folder / path} cannot be written: {why}.", "Choose another folder with `-o DIR`."
            ) from error


class Arrival:
    """A result that is on its way; its first `size` bytes are here."""

    def __init__(self, target: Target, path: str, part: Path) -> None:
        self.part = part
        self._target = target
        self._path = path
        with target.told(path):
            if part.is_symlink():
                part.unlink()
            self._file = part.open("r+b" if part.exists() else "w+b", buffering=0)
            self.size = self._file.seek(0, os.SEEK_END)

    def keep(self, size: int) -> None:
        """Forget what is here beyond the first `size` bytes."""
        with self._target.told(self._path):
            self.size = self._file.seek(size)
            self._file.truncate()

    def add(self, data: bytes) -> None:
        """What comes behind that."""
        with self._target.told(self._path):
            rest = memoryview(data)
            while rest:  # a disk that is nearly full takes a part
                rest = rest[self._file.write(rest) :]
            self.size += len(data)

    def finish(self, *, executable: bool) -> None:
        """It is whole: into its place."""
        self._file.close()
        self._target.take(self._path, self.part, executable=executable)

    def close(self) -> None:
        """Leave off. What is here stays for the next time, if it is anything."""
        self._file.close()
        if not self.size:
            self.part.unlink(missing_ok=True)


def _real_folder(folder: Path) -> None:
    """Make a folder where it is missing. Raises `UserError` where a link has its name, `OSError` where a file has."""
    if folder.is_symlink():
        raise UserError(f"{folder} is a link; results are not written through links.", "Remove it, then fetch again.")
    folder.mkdir(exist_ok=True)
