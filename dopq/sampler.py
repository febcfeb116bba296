"""What running jobs take, so that reports can say it: a thread looks at containers, others' looks at GPUs come in."""

from __future__ import annotations

import threading
from collections.abc import Callable

from dopq.container_handler.engine import Capacity, ContainerEngine, ContainerName
from dopq.data_platform import DataPlatform
from dopq.errors import DopqError
from dopq.gpu_samples import GpuSamples
from dopq.job import Job, JobId, Occupying, ResourceUse, Running, lease_of
from dopq.utils.gpu import GpuSurvey
from dopq.utils.log import logger

log = logger(__name__)

SAMPLE_S = 1.0


class Sampler:
    """Remembers what each running job takes of the machine and its GPUs, and what the engine says of itself."""

    def __init__(
        self, platform: DataPlatform, engine: ContainerEngine, name_of: Callable[[Job], ContainerName]
    ) -> None:
        self._platform = platform
        self._engine = engine
        self._name_of = name_of
        self._stopping = threading.Event()
        self._use: dict[JobId, ResourceUse] = {}
        self._gpus: dict[JobId, GpuSamples] = {}
        self._lock = threading.Lock()  # over the GPUs: whoever looks at them has a thread of its own
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
        with self._lock:
            gpus = self._gpus.pop(job, None)
        use = self._use.pop(job, None)
        return gpus.added_to(use or ResourceUse()) if gpus else use

    def see_gpus(self, survey: GpuSurvey) -> None:
        """Remember a look at the GPUs; one without an answer says nothing."""
        if survey.stale:
            return
        with self._lock:
            self._gpus = {job: samples for job, samples in self._gpus.items() if self._is_on_its_way(job)}
            for job in self._platform.leased():
                samples, lease = self._gpus.get(job.id, GpuSamples()), lease_of(job.state)
                if lease and lease.gpus:
                    is_running = isinstance(job.state, Running)
                    self._gpus[job.id] = samples.after(lease, survey.gpus) if is_running else samples

    def _is_on_its_way(self, job: JobId) -> bool:
        """Whether somebody will still ask what it took; its lease may have ended before."""
        return isinstance(self._platform.job(job).state, Occupying)

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
