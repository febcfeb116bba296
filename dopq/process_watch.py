"""The thread that ends leases by the kernel's word: it knows that a job's last process is gone before the engine does.

Where the kernel cannot be asked, leases end with their jobs, when the engine has told how these ended.
"""

from __future__ import annotations

import os
import select
import threading

from dopq.container_handler.engine import Init
from dopq.data_platform import DataPlatform
from dopq.errors import DopqError
from dopq.job import Job, JobId
from dopq.runner_settings import attempt_of
from dopq.starts import Starts
from dopq.utils.container_init import hold
from dopq.utils.crash_points import step
from dopq.utils.log import logger

log = logger(__name__)


class ProcessWatch:
    """Waits for the ends of all jobs' processes at once. Thread-safe."""

    def __init__(self, platform: DataPlatform, starts: Starts) -> None:
        self._platform = platform
        self._starts = starts
        self._ends = select.epoll()
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._ends.register(self._bell, select.EPOLLIN)
        self._lock = threading.Lock()
        self._held: dict[int, tuple[JobId, int]] = {}  # by pidfd: which attempt at which job
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="process-watch", daemon=True)

    def start(self) -> None:
        """Begin to wait."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Wait no more. The leases of what still runs are left to the next life."""
        self._stopping.set()
        os.eventfd_write(self._bell, 1)
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        if not self._thread.is_alive():
            for held in list(self._held):
                self._let_go(held)
            os.close(self._bell)

    def watch(self, job: Job, init: Init) -> None:
        """End the lease of a job's attempt with its process, where that can be seen from here. Twice is fine."""
        run = job.id, attempt_of(job)
        with self._lock:
            if self._stopping.is_set() or run in self._held.values():
                return
            if (held := hold(init.pid, init.container)) is not None:
                self._held[held] = run
                self._ends.register(held, select.EPOLLIN)

    def _run(self) -> None:
        while not self._stopping.is_set():
            for ready, _ in self._ends.poll():
                if ready != self._bell:
                    self._end_lease(*self._let_go(ready))

    def _let_go(self, held: int) -> tuple[JobId, int]:
        with self._lock:
            self._ends.unregister(held)
            os.close(held)
            return self._held.pop(held)

    def _end_lease(self, job: JobId, attempt: int) -> None:
        try:
            with step("lease end"):
                self._platform.end_lease(job, attempt)
        except DopqError as error:  # such as a full disk: then it ends with its job
            log.warning("lease_not_ended", job=job, code=error.code, cause=error.message)
        except Exception:
            log.exception("process_watch_defect", job=job)
        self._starts.expect_one()
