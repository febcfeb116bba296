"""Writes what a job says to its log on the node's own disk, while it says it."""

from __future__ import annotations

from collections.abc import Iterator

from dopq.asking import Asking
from dopq.container_handler.engine import ContainerEngine, LogPiece
from dopq.errors import EngineRefused
from dopq.job import Job
from dopq.log_mirror import LogMirror
from dopq.log_times import LogTimes
from dopq.results import Results
from dopq.runner_settings import RunnerSettings, attempt_of
from dopq.utils.clock import Clock
from dopq.utils.crash_points import step
from dopq.utils.log import logger

log = logger(__name__)


class LogFollower:
    """Follows the logs of containers. Thread-safe; each log is followed by one thread."""

    def __init__(
        self,
        engine: ContainerEngine,
        results: Results,
        mirror: LogMirror,
        asking: Asking,
        settings: RunnerSettings,
        clock: Clock,
    ) -> None:
        self._engine = engine
        self._results = results
        self._mirror = mirror
        self._asking = asking
        self._settings = settings
        self._clock = clock

    def follow(self, job: Job, *, over: bool = False) -> bool:
        """Write to a job's log what is not in it yet, until its process ends; whether that was all there was.

        Args:
            over: its container has ended, so that the engine drops nothing more.

        Raises:
            NodeStops: the node stops.
            EngineUnavailable, OSError: the engine, or our own disk, does not serve now. Repeat it.
        """
        path = self._results.log_file(job)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        try:
            with step("log append"):
                return self._results.run_log(job, attempt_of(job)).follow(lambda: self._said(job), over=over)
        except EngineRefused as refused:  # no reason not to wait for its end: the container tells whether it is there
            log.warning("log_refused", job=job.id, cause=refused.message)
            return False

    def _said(self, job: Job) -> Iterator[LogPiece]:
        path, times = self._results.log_file(job), LogTimes(self._results.log_times_file(job))
        for piece in self._engine.log(self._settings.container_of(job)):
            self._asking.check_on()  # before it is written: by now the next life of the node may write there
            yield piece
            times.grew(self._clock.now(), path.stat().st_size)
            self._mirror.grew(job)
