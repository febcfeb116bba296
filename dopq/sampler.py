"""The thread that looks at running containers once a second: for live figures, and for reports on what a job took."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from dopq.container_handler.engine import Capacity, ContainerEngine, ContainerName, Sample
from dopq.data_platform import DataPlatform
from dopq.errors import DopqError
from dopq.job import Job, JobId, ResourceUse, Running
from dopq.live import Load, load_between
from dopq.utils.clock import Clock
from dopq.utils.log import logger

log = logger(__name__)

SAMPLE_S = 1.0

SHORTEST_S = 0.5
"""Seconds between two samples below which their difference says little of how busy a job is."""

STALE_S = 10.0
"""Seconds after which a load is none any more: the engine has not answered since."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is known of one running job; `at_s`: when it was looked at last, on the clock's monotonic hand."""

    at_s: float
    sample: Sample
    use: ResourceUse
    load: Load


class Sampler:
    """Remembers what each running job takes and has taken, and what the engine says of itself."""

    def __init__(
        self,
        platform: DataPlatform,
        engine: ContainerEngine,
        name_of: Callable[[Job], ContainerName],
        clock: Clock,
    ) -> None:
        self._platform = platform
        self._engine = engine
        self._name_of = name_of
        self._clock = clock
        self._stopping = threading.Event()
        self._seen: dict[JobId, _Seen] = {}
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self.capacity: Capacity | None = None

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Look no more."""
        self._stopping.set()
        self._thread.join(timeout_s)

    def load(self, job: JobId) -> Load | None:
        """What a job takes at the moment; None where it was not seen running in the last `STALE_S` seconds."""
        seen = self._seen.get(job)
        return seen.load if seen and self._clock.monotonic() - seen.at_s <= STALE_S else None

    def take(self, job: JobId) -> ResourceUse | None:
        """What a job has taken, and forget it; None if it was never seen running."""
        seen = self._seen.pop(job, None)
        return seen.use if seen else None

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
                now = self._engine.use(self._name_of(job))
                self._seen[job.id] = _after(self._seen.get(job.id), now, self._clock.monotonic())


def _after(before: _Seen | None, now: Sample, at_s: float) -> _Seen:
    """What is known after one more sample."""
    if before is None:
        return _Seen(at_s, now, ResourceUse(now.cpu_s, now.memory_peak_bytes), Load(None, now.memory_bytes))
    if at_s - before.at_s < SHORTEST_S:
        return replace(before, use=_together(before.use, now))
    load = load_between(before.sample, now, at_s - before.at_s)
    return _Seen(at_s, now, _together(before.use, now), load)


def _together(known: ResourceUse, now: Sample) -> ResourceUse:
    """The newest CPU time and the highest peak; a container that has just ended says nothing new."""
    peaks = [peak for peak in (known.memory_peak_bytes, now.memory_peak_bytes) if peak is not None]
    return ResourceUse(known.cpu_s if now.cpu_s is None else now.cpu_s, max(peaks, default=None))
