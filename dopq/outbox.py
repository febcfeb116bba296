"""The outbox: one folder a job in the share, and safe ways to read from it.

`outbox/<user>/<job>-<name>/` holds `status.json`, `status.txt`, `build.log`, `job.log`, `output/` and `report.txt`.
While a bundle has not been read its job is called after the bundle's file; when the spec gives another name, the
folder follows.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from dopq.container_handler.bundle_name import name_from_bundle
from dopq.errors import NotFound
from dopq.job import Job
from dopq.result_files import Page, page
from dopq.utils.files import make_public_folder

BUILD_LOG = "build.log"
JOB_LOG = "job.log"
LOG_TIMES = ".job.log.times"
OUTPUT = "output"
LOGS = frozenset({BUILD_LOG, JOB_LOG})
"""They only grow, while other results are as they are from the moment in which they appear."""

REPORT = "report.txt"
STATUS_JSON = "status.json"
STATUS_TEXT = "status.txt"


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

    def results(self, job: Job, after: str = "") -> Page:
        """Logs and outputs that are there now: a page, in the order of their names, of what comes behind `after`."""
        return page(self.place(job), (BUILD_LOG, JOB_LOG, OUTPUT), after)

    def open(self, job: Job, path: str) -> int:
        """Open one result for reading; its descriptor.

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
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise unknown
        return descriptor

    def open_log_times(self, job: Job) -> int:
        """Open the index of times of the job's log for reading; its descriptor. Raises `OSError`."""
        return os.open(self.place(job) / LOG_TIMES, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)

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
