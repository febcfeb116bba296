"""The thread that looks at running containers once a second, so that reports can say what a job took."""

from __future__ import annotations

import threading
from collections.abc import Callable

from dopq.container_handler.engine import Capacity, ContainerEngine, ContainerName
from dopq.data_platform import DataPlatform
from dopq.errors import DopqError
from dopq.job import Job, JobId, ResourceUse, Running
from dopq.utils.log import logger

log = logger(__name__)

SAMPLE_S = 1.0


class Sampler:
    """Remembers CPU time and the memory peak of each running job, and what the engine says of itself."""

    def __init__(
        self, platform: DataPlatform, engine: ContainerEngine, name_of: Callable[[Job], ContainerName]
    ) -> None:
        self._platform = platform
        self._engine = engine
        self._name_of = name_of
        self._stopping = threading.Event()
        self._use: dict[JobId, ResourceUse] = {}
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self.capacity: Capacity | None = None

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Look no more."""
        self._stopping.set()
        self._thread.join(timeout_s)

    def take(self, job: JobId) -> ResourceUse | None:
        """What a job has taken, and forget it; None if it was never seen running."""
        return self._use.pop(job, None)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._look()
            except DopqError as away:
                log.debug("not_sampled", cause=away.message)  # whoever waits for the engine says so in the log
            self._stopping.wait(SAMPLE_S)

    def _look(self) -> None:
        if self.capacity is None:
            self.capacity = self._engine.capacity()
        for job in self._platform.alive():
            if isinstance(job.state, Running):
                known, now = self._use.get(job.id, ResourceUse()), self._engine.use(self._name_of(job))
                self._use[job.id] = _together(known, now)


def _together(known: ResourceUse, now: ResourceUse) -> ResourceUse:
    """The newest CPU time and the highest peak; a container that has just ended says nothing new."""
    peaks = [peak for peak in (known.memory_peak_bytes, now.memory_peak_bytes) if peak is not None]
    return ResourceUse(known.cpu_s if now.cpu_s is None else now.cpu_s, max(peaks, default=None))
