"""The thread that brings logs into the share while they grow. A share that is away holds up nobody else."""

from __future__ import annotations

import threading

from dopq.job import Job, JobId
from dopq.results import Results
from dopq.utils.log import logger

log = logger(__name__)

PAUSE_S = 0.1
"""How late a line may reach the share; and how often at most a log that grows quickly is opened there."""

RETRY_S = 1.0
"""How long to leave a share alone that did not take a log."""


class LogMirror:
    """Brings what it is told of. A log that it could not bring is brought with the other results of its job."""

    def __init__(self, results: Results) -> None:
        self._results = results
        self._doorbell = threading.Condition()
        self._grown: dict[JobId, Job] = {}
        self._stopping = False
        self._refused: set[JobId] = set()  # whose logs the share did not take when they were last brought
        self._thread = threading.Thread(target=self._run, name="log-mirror", daemon=True)

    def start(self) -> None:
        """Begin to bring logs."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Bring nothing more."""
        with self._doorbell:
            self._stopping = True
            self._doorbell.notify()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def grew(self, job: Job) -> None:
        """A job's log has become longer. Never waits for the share."""
        with self._doorbell:
            self._grown[job.id] = job
            self._doorbell.notify()

    def _run(self) -> None:
        pause_s = 0.0
        while True:
            with self._doorbell:
                self._doorbell.wait_for(lambda: self._stopping, pause_s)
                self._doorbell.wait_for(lambda: self._grown or self._stopping)
                if self._stopping:
                    return
                grown, self._grown = self._grown, {}
            missing = [job for job in grown.values() if not self._brought(job)]
            for job in missing:
                self.grew(job)
            pause_s = RETRY_S if missing else PAUSE_S

    def _brought(self, job: Job) -> bool:
        try:
            self._results.bring_log(job)
        except OSError as error:
            if job.id not in self._refused:
                log.warning("share_refuses", job=job.id, path=error.filename, cause=error.strerror)
            self._refused.add(job.id)
            return False
        except Exception:
            log.exception("log_mirror_defect", job=job.id)  # whoever brings the rest meets it again
        self._refused.discard(job.id)
        return True
