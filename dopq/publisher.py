"""The thread that tells users, through the share, how their jobs stand.

Everything it writes follows from the journal: `status.json`, `status.txt` and `report.txt` in the job's outbox, and the
bundle of a job that did not succeed back in `invalid/` or `failed/` beside its reason. What a run left comes with it,
where the share was away when the run ended. So it may fail, be killed and begin again anywhere. A share that is away
holds up nobody but its readers.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path

from dopq.config import Paths
from dopq.container_handler.outputs import discard
from dopq.data_platform import DataPlatform
from dopq.errors import DopqError
from dopq.job import Ended, Job, JobId, StateName, is_to_be_built
from dopq.outbox import REPORT, STATUS_JSON, STATUS_TEXT, Outbox
from dopq.report import report, status_text
from dopq.results import Results
from dopq.returned_bundle import return_bundle
from dopq.share import ShareAway
from dopq.utils.crash_points import step
from dopq.utils.files import write_atomic
from dopq.utils.log import logger
from dopq.wire import SCHEMA_VERSION

log = logger(__name__)

RETRY_S = 1.0
"""How long to leave a share alone that did not take a file."""


class Publisher:
    """Writes what changed to the share, in the order in which it changed."""

    def __init__(self, platform: DataPlatform, outbox: Outbox, results: Results, paths: Paths) -> None:
        self._platform = platform
        self._outbox = outbox
        self._results = results
        self._paths = paths
        self._doorbell = threading.Condition()
        self._pending: dict[JobId, Job] = {job.id: job for job in platform.unpublished()}
        self._newest_told = 0
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self.trouble: str | None = None  # why the share does not take files at present, for `system`

    def start(self) -> None:
        """Begin with whatever was not told before the last stop."""
        self._platform.subscribe(self._note)
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Tell what is still to be told, unless the share refuses; what remains is told at the next start."""
        with self._doorbell:
            self._stopping = True
            self._doorbell.notify()
        self._thread.join(timeout_s)

    def _note(self, job: Job) -> None:
        with self._doorbell:
            self._pending.pop(job.id, None)  # to the end of the line: published in the order of the last change
            self._pending[job.id] = job
            self._doorbell.notify()

    def _run(self) -> None:
        while True:
            with self._doorbell:
                self._doorbell.wait_for(lambda: self._pending or self._stopping)
                if not self._pending:
                    return
                job = next(iter(self._pending.values()))
            told = self._tell(job)
            with self._doorbell:
                if self._pending.get(job.id) is job:
                    del self._pending[job.id]
                    if not told:  # to the end of the line: what the share refuses of one job holds up no other
                        self._pending[job.id] = job
                if not told and (self._stopping or self._doorbell.wait_for(lambda: self._stopping, RETRY_S)):
                    return
                quiet = not self._pending
            if quiet:
                self._mark()

    def _tell(self, job: Job) -> bool:
        try:
            with step("share tell"):
                self._write(job)
        except OSError as error:
            if self.trouble is None:
                log.warning("share_refuses", path=error.filename, cause=error.strerror)
            self.trouble = _trouble(error)
            return False
        except Exception:
            log.exception("publisher_defect", job=job.id)  # as if told: the others still want to be
        self.trouble = None
        self._newest_told = max(self._newest_told, job.seq)
        return True

    def _mark(self) -> None:
        try:
            self._platform.mark_published(self._newest_told)
        except DopqError as error:
            log.warning("not_marked_as_published", cause=error.message)  # told again after a restart: harmless

    def _write(self, job: Job) -> None:
        folder = self._outbox.folder(job)
        if not is_to_be_built(job.state):
            self._results.bring_build_log(job)
        if isinstance(job.state, Ended):
            if job.state.lease:
                self._results.bring_for_good(job)
            write_atomic(folder / REPORT, report(job))
            self._give_back(job, job.state)
        write_atomic(folder / STATUS_TEXT, status_text(job))
        facts = {"schema_version": SCHEMA_VERSION, "job": self._platform.describe([job])[0]}
        write_atomic(folder / STATUS_JSON, json.dumps(facts, indent=2) + "\n")

    def _give_back(self, job: Job, end: Ended) -> None:
        """Return the bundle of a job that did not succeed, and forget our own copy and working files."""
        bundle = self._paths.spool / job.key
        if end.outcome is not StateName.SUCCEEDED:
            shelf = self._paths.invalid if end.outcome is StateName.INVALID else self._paths.failed
            with step("bundle return"):
                return_bundle(bundle, shelf, job, end)
        with step("bundle discard"):
            bundle.unlink(missing_ok=True)
            discard(self._paths.jobs / str(job.id))


def _trouble(error: OSError) -> str:
    if isinstance(error, ShareAway):
        return str(error)  # in the words of whoever else meets it, so that it is told once
    # Everybody is told: the folder says whose it is, and nothing of how their file is called.
    where = f" ({Path(error.filename).parent})" if error.filename else ""
    return f"The share does not take files: {error.strerror}{where}."
