"""The results of a job on their way: from the node's own disk, where its run leaves them, into its outbox in the share.

A run is over when everything of it is on the node's disk; the share may be away then. So whoever brings results and
whoever reads them asks here. Bringing may be repeated at any time, by anybody and after any death: nothing is lost or
doubled by it.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path
from weakref import WeakValueDictionary

from dopq.container_handler.outputs import collect
from dopq.errors import TryAgain
from dopq.job import Ended, Job, JobId
from dopq.outbox import BUILD_LOG, JOB_LOG, OUTPUT, Outbox, ResultFile
from dopq.utils.crash_points import step
from dopq.utils.files import fsync_file, make_public, write_atomic
from dopq.utils.log import logger

log = logger(__name__)

_CHUNK_BYTES = 2**20
_SHOWN = 20


class Results:
    """The log and the outputs of every job. Thread-safe; each job's are brought by one thread at a time."""

    def __init__(self, outbox: Outbox, jobs: Path) -> None:
        """`jobs` is the folder of the state folder that has one folder for each job."""
        self._outbox = outbox
        self._jobs = jobs
        self._lock = threading.Lock()
        self._brought: WeakValueDictionary[JobId, threading.Lock] = WeakValueDictionary()

    # --- on the node's disk -------------------------------------------------------------------------------------------

    def log_file(self, job: Job) -> Path:
        """Where a run's log is written; gone once the share has it and the job has ended."""
        return self._jobs / str(job.id) / JOB_LOG

    def output_folder(self, job: Job) -> Path:
        """What a run sees as `/output`; gone once the share has its content and the job has ended."""
        return self._jobs / str(job.id) / OUTPUT

    def begin_attempt(self, job: Job, attempt: int) -> None:
        """Have the log of a further attempt go on behind that of the one before. Twice is fine.

        Raises:
            OSError: our own disk does not take it now. Repeat it.
        """
        if attempt > 1 and not self._log_start(job, attempt).exists():
            with self.log_file(job).open("ab") as file:
                file.write(f"--- attempt {attempt} ---\n".encode())
                start = file.tell()
            write_atomic(self._log_start(job, attempt), f"{start}\n", 0o600)

    def log_start(self, job: Job, attempt: int) -> int:
        """The byte of the log at which an attempt's own begins."""
        return int(self._log_start(job, attempt).read_text(encoding="ascii")) if attempt > 1 else 0

    def _log_start(self, job: Job, attempt: int) -> Path:
        return self._jobs / str(job.id) / f"{JOB_LOG}.{attempt}"

    # --- into the share -----------------------------------------------------------------------------------------------

    def check_share(self) -> None:
        """Raise `OSError` while the share is away."""
        self._outbox.check_share()

    def bring_log(self, job: Job) -> None:
        """Add to `job.log` in the outbox what it lacks, unless the job's results are being brought at this moment.

        Raises:
            OSError: the share does not take it now; a part may be there. Repeat it.
        """
        bringing = self._bringing(job.id)
        if bringing.acquire(blocking=False):
            try:
                self._bring_log(job)
            finally:
                bringing.release()

    def bring(self, job: Job) -> None:
        """Bring everything of a run that is over. What has been brought already costs nothing.

        Raises:
            OSError: the share does not take it now. Repeat it.
        """
        with self._bringing(job.id), step("results bring"):
            self._bring_log(job)
            if self._has_outputs(job):
                left = collect(self.output_folder(job), self._outbox.folder(job) / OUTPUT)
                if left:
                    log.warning("outputs_left_behind", job=job.id, files=left[:_SHOWN], count=len(left))

    def _has_outputs(self, job: Job) -> bool:
        """Whether there are any to bring: a job that never had a lease has none, though the folder may be there."""
        never_began = isinstance(job.state, Ended) and job.state.lease is None
        return self.output_folder(job).is_dir() and not never_began

    def bring_build_log(self, job: Job) -> None:
        """Put the log of a build that is over into the outbox, unless it is there.

        As a whole: what the share has may be that of an earlier build, whose node was killed.

        Raises:
            OSError: the share does not take it now. Repeat it.
        """
        kept = self._jobs / str(job.id) / BUILD_LOG
        if kept.exists():
            target = self._outbox.folder(job) / BUILD_LOG
            if not target.exists() or target.stat().st_size != kept.stat().st_size:
                write_atomic(target, kept.read_bytes())

    def bring_for_good(self, job: Job) -> None:
        """As `bring`; what lies on the node's own disk may be discarded then."""
        self.bring(job)
        if self.log_file(job).exists():
            fsync_file(self._outbox.folder(job) / JOB_LOG)

    def _bring_log(self, job: Job) -> None:
        if self.log_file(job).exists():
            _copy_rest(self.log_file(job), self._outbox.folder(job) / JOB_LOG)

    def _bringing(self, job: JobId) -> threading.Lock:
        with self._lock:
            return self._brought.setdefault(job, threading.Lock())

    # --- for readers --------------------------------------------------------------------------------------------------

    def list(self, job: Job) -> list[ResultFile]:
        """The results that are in the share now, sorted by path.

        Raises:
            TryAgain: the share is away, or does not have yet what an ended job left.
        """
        self._require(job)
        return self._outbox.results(job)

    def read(self, job: Job, path: str, offset: int, length: int) -> bytes:
        """Up to `length` bytes of one result from byte `offset`; empty at its end.

        Logs are read from the node's own disk as long as they are there: they are ahead of those in the share.

        Raises:
            NotFound: there is no such regular file among the job's results.
            TryAgain: as `list`.
        """
        if path in {BUILD_LOG, JOB_LOG}:
            with suppress(FileNotFoundError), (self._jobs / str(job.id) / path).open("rb") as file:
                return os.pread(file.fileno(), length, offset)
        self._require(job)
        return self._outbox.read(job, path, offset, length)

    def _require(self, job: Job) -> None:
        try:
            self._outbox.check_share()
        except OSError as away:
            raise TryAgain(
                f"The results of job {job.id} cannot be read now: the share does not answer as it should.",
                "Ask again later; `dopq-client system` tells what is wrong with the share.",
            ) from away
        still_here = isinstance(job.state, Ended) and self._has_outputs(job)
        if still_here and not (self._outbox.place(job) / OUTPUT).is_dir():
            raise TryAgain(
                f"The results of job {job.id} are on their way into the share, which did not take them when it ended.",
                "Ask again in a moment; `dopq-client system` tells what is wrong with the share.",
            )


def _copy_rest(source: Path, target: Path) -> None:
    """Add to `target` what `source` has more, as far as it goes now.

    Both have the same first bytes, so the size of `target` says where to go on (docs/adr/0004).
    """
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with source.open("rb") as read, os.fdopen(descriptor, "ab", buffering=0) as write:
        make_public(descriptor)
        end, at = os.fstat(read.fileno()).st_size, os.fstat(descriptor).st_size
        while at < end:  # not until its end: one that grows quickly would keep all others waiting
            at += write.write(os.pread(read.fileno(), min(_CHUNK_BYTES, end - at), at))
