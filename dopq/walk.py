"""The walk of one job, from its lease to its end.

Every step looks before it acts, so that the same walk begins a job, adopts one that a former life of the node left
running, and finishes one that ended meanwhile. What the engine says counts, never memory; an engine that does not
answer leaves everything open. A share that does not answer leaves nothing open: a run ends on our own disk
(docs/adr/0033).
"""

from __future__ import annotations

from datetime import UTC, datetime

from dopq.asking import Asking
from dopq.beginning import Beginning
from dopq.container_handler.engine import Absent, Alive, ContainerEngine, Exited, Observation
from dopq.ending import Ending
from dopq.errors import EngineRefused
from dopq.job import Job
from dopq.log_follower import LogFollower
from dopq.process_watch import ProcessWatch
from dopq.runner_settings import RunnerSettings
from dopq.utils.clock import Clock

WAIT_S = 30.0
"""How long the engine is asked at a time to wait for an end."""


class Walk:
    """What all jobs do, each in a thread of its own."""

    def __init__(
        self,
        engine: ContainerEngine,
        beginning: Beginning,
        log: LogFollower,
        processes: ProcessWatch,
        ending: Ending,
        asking: Asking,
        settings: RunnerSettings,
        clock: Clock,
    ) -> None:
        self._engine = engine
        self._beginning = beginning
        self._log = log
        self._processes = processes
        self._ending = ending
        self._ask = asking.until_answered
        self._settings = settings
        self._clock = clock

    def go(self, job: Job, known: list[Observation]) -> None:
        """Take a job with a lease to the end of its attempt; `known` as `Beginning.begin` has it.

        Raises:
            NodeStops: the node stops; the container runs on.
        """
        try:
            seen = self._ask(lambda: self._beginning.begin(job, known))
        except EngineRefused as refused:
            self._ending.finish(job, refused)
            return
        if isinstance(seen, Alive) and seen.init:
            self._processes.watch(job, seen.init)
        self._ending.finish(job, self._followed(job, seen))

    def _followed(self, job: Job, seen: Observation) -> Absent | Exited:
        """How its container ended, once its log is on our own disk to the last byte."""
        name = self._settings.container_of(job)
        followed_at = datetime.min.replace(tzinfo=UTC)
        while not isinstance(seen, Exited | Absent):
            self._ask(lambda: self._log.follow(job))
            followed_at = self._clock.now()
            seen = self._ask(lambda: self._engine.wait(name, WAIT_S)) or seen
        if isinstance(seen, Exited) and seen.finished_at >= followed_at:  # it may have said something since
            self._ask(lambda: self._log.follow(job))
        return seen
