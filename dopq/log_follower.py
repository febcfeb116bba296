"""Writes what a job says to its log on the node's own disk, while it says it."""

from __future__ import annotations

from collections.abc import Iterator

from dopq.asking import Asking
from dopq.container_handler.engine import ContainerEngine
from dopq.errors import EngineRefused
from dopq.job import Job
from dopq.log_mirror import LogMirror
from dopq.results import Results
from dopq.runner_settings import RunnerSettings, attempt_of
from dopq.utils.crash_points import step
from dopq.utils.files import append_rest
from dopq.utils.log import logger

log = logger(__name__)


class LogFollower:
    """Follows the logs of containers. Thread-safe; each log is followed by one thread."""

    def __init__(
        self, engine: ContainerEngine, results: Results, mirror: LogMirror, asking: Asking, settings: RunnerSettings
    ) -> None:
        self._engine = engine
        self._results = results
        self._mirror = mirror
        self._asking = asking
        self._settings = settings

    def follow(self, job: Job) -> None:
        """Write to a job's log what is not in it yet, until its process ends.

        The engine repeats its log from the first byte, so the file's size says where to go on.

        Raises:
            NodeStops: the node stops.
            EngineUnavailable, OSError: the engine, or our own disk, does not serve now. Repeat it.
        """
        path = self._results.log_file(job)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        with step("log append"):
            append_rest(path, self._said(job), self._results.log_start(job, attempt_of(job)))

    def _said(self, job: Job) -> Iterator[bytes]:
        name = self._settings.container_of(job)
        try:
            for chunk in self._engine.log(name):
                self._asking.check_on()  # before it is written: by now the next life of the node may write there
                yield chunk
                self._mirror.grew(job)
        except EngineRefused as refused:  # no reason not to wait for its end: the container tells whether it is there
            log.warning("log_refused", container=name, cause=refused.message)
