"""The outbox: one folder a job in the share, and safe ways to read from it.

`outbox/<user>/<job>-<name>/` holds `status.json`, `status.txt`, `build.log`, `job.log`, `output/` and `report.txt`.
While a bundle has not been read its job is called after the bundle's file; when the spec gives another name, the
folder follows.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dopq.container_handler.bundle_name import name_from_bundle
from dopq.errors import NotFound
from dopq.job import Job
from dopq.utils.files import make_public_folder

BUILD_LOG = "build.log"
JOB_LOG = "job.log"
OUTPUT = "output"
REPORT = "report.txt"
STATUS_JSON = "status.json"
STATUS_TEXT = "status.txt"


@dataclass(frozen=True, slots=True)
class ResultFile:
    """A file that a job left: its path inside the job's folder, size in bytes, and whether it is executable."""

    path: str
    size: int
    executable: bool


class Outbox:
    """Where the results of every job lie. Thread-safe; within a node only this class makes or renames job folders."""

    def __init__(self, root: Path, check_share: Callable[[], None] = lambda: None) -> None:
        """`check_share` raises `OSError` while the share is away: nothing may be made on a bare mount point."""
        self._root = root
        self.check_share = check_share
        self._lock = threading.Lock()

    def place(self, job: Job) -> Path:
        """Where the job's folder is, or will be once the share takes it."""
        return self._path(job, job.name)

    def folder(self, job: Job) -> Path:
        """The job's folder, made if it is missing, renamed if the job got its own name since.

        Raises:
            OSError: the share does not take it now, or is away.
        """
        self.check_share()
        path = self.place(job)
        with self._lock:
            if not path.is_dir():
                # Never the outbox itself: below a mount point whose share is away, nobody would find the results.
                make_public_folder(path.parent)
                first = self._path(job, name_from_bundle(job.bundle))
                if first != path and first.is_dir():
                    first.rename(path)
                else:
                    make_public_folder(path)
        return path

    def results(self, job: Job) -> list[ResultFile]:
        """The logs and outputs that are there now, sorted by path. Links and special files are not results."""
        folder = self.place(job)
        logs = [folder / name for name in (BUILD_LOG, JOB_LOG)]
        found = [path for path in logs if path.is_file() and not path.is_symlink()]
        found += [Path(entry.path) for entry in _regular_files(folder / OUTPUT)]
        return sorted((_result(folder, path) for path in found), key=lambda result: result.path)

    def read(self, job: Job, path: str, offset: int, length: int) -> bytes:
        """Up to `length` bytes of one result from byte `offset`; empty at its end.

        No component of the path may be a link, whatever a job did in its output.

        Raises:
            NotFound: there is no such regular file among the job's results.
        """
        parts = PurePosixPath(path).parts
        unknown = NotFound(f"Job {job.id} has no result called {path!r}.", "List its results.")
        if not parts or path.startswith("/") or ".." in parts or parts[0] not in {BUILD_LOG, JOB_LOG, OUTPUT}:
            raise unknown
        try:
            descriptor = _open_beneath(self.place(job), parts)
        except (OSError, ValueError) as error:  # ValueError: a name that no file can have
            raise unknown from error
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise unknown
            return os.pread(descriptor, length, offset)
        finally:
            os.close(descriptor)

    def _path(self, job: Job, name: str) -> Path:
        return self._root / job.user / f"{job.id}-{name}"


def _open_beneath(folder: Path, parts: tuple[str, ...]) -> int:
    """Open a file below `folder` for reading, following no link on the way."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            deeper = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = deeper
        # O_NONBLOCK: opening a FIFO must not wait for a writer.
        return os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=descriptor)
    finally:
        os.close(descriptor)


def _regular_files(folder: Path) -> Iterator[os.DirEntry[str]]:
    folders = [] if folder.is_symlink() or not folder.is_dir() else [folder]
    while folders:  # a loop, since a job may nest folders deeper than Python's stack
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(Path(entry.path))
                elif entry.is_file(follow_symlinks=False):
                    yield entry


def _result(folder: Path, path: Path) -> ResultFile:
    info = path.lstat()
    return ResultFile(path.relative_to(folder).as_posix(), info.st_size, bool(info.st_mode & 0o100))
