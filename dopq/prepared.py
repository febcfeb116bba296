"""Containers that are made before their jobs have leases, for one attempt on certain GPUs each.

One is no attempt, whatever it is made for: it bears a name of its own until the job's lease is in the journal, and is
renamed then (docs/adr/0070). Where it stands by it is started, too, and a latch holds its command back until it has
been renamed (docs/adr/0071).
"""

from __future__ import annotations

import secrets
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from dopq.blueprint import Blueprint
from dopq.container_handler.container import LATCH_LABEL, ahead_name, is_ahead_name, made_ahead
from dopq.container_handler.engine import Absent, Alive, ContainerEngine, ContainerName, Created, Observation
from dopq.container_handler.latch import Latch, opened_at
from dopq.container_handler.outputs import discard
from dopq.container_handler.proof import Proof
from dopq.errors import EngineRefused
from dopq.job import Job, Occupying, Starting, started_at
from dopq.namespaces import Namespaces
from dopq.runner_settings import RunnerSettings
from dopq.utils.clock import Clock
from dopq.utils.log import logger

log = logger(__name__)


@dataclass(frozen=True, slots=True)
class _Made:
    """One of them: the job as it will be when it has its lease, and the latch at which it stands by."""

    name: ContainerName
    job: Job
    latch: Latch | None

    def is_for(self, job: Job) -> bool:
        ours, theirs = self.job.state, job.state
        return (
            job.id == self.job.id
            and isinstance(ours, Occupying)
            and isinstance(theirs, Occupying)
            and (ours.lease.attempt, ours.lease.gpus) == (theirs.lease.attempt, theirs.lease.gpus)
            and (ours.work.spec, ours.work.image) == (theirs.work.spec, theirs.work.image)
        )


class Prepared:
    """Makes them, gives them to their attempts, and removes those that nobody wants any more. Thread-safe."""

    def __init__(
        self,
        engine: ContainerEngine,
        proof: Proof,
        namespaces: Namespaces,
        blueprint: Blueprint,
        settings: RunnerSettings,
        clock: Clock,
    ) -> None:
        self._engine = engine
        self._proof = proof
        self._namespaces = namespaces
        self._blueprint = blueprint
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._life = secrets.token_hex(4)  # names of former lives are never given again
        self._number = 0
        self._ready: list[_Made] = []
        self._taken: dict[ContainerName, _Made] = {}  # renamed, or about to be, and not yet begun
        self._unwanted: deque[_Made] = deque()

    # --- before the lease ---------------------------------------------------------------------------------------------

    def first_without(self, jobs: Iterable[Job]) -> Job | None:
        """The first of some jobs for which none is there."""
        with self._lock:
            return next((job for job in jobs if not any(made.is_for(job) for made in self._ready)), None)

    def make(self, job: Job) -> None:
        """Make one for a job, given as it will be when it has its lease. To be called by one thread.

        Raises:
            EngineRefused, EngineUnavailable, OSError: there is none; what came of it is for `remove_unwanted`.
        """
        self._number += 1
        name = ahead_name(self._settings.node_id, self._life, self._number)
        latch = Latch(self._settings.paths.jobs / str(job.id) / name) if self._settings.standby else None
        made = _Made(name, job, latch)
        try:
            request = self._blueprint.request(job)
            self._engine.create(
                made_ahead(
                    request,
                    name,
                    namespace=self._namespaces.lend(name),
                    latch=latch.folder if latch else None,
                    mac=self._proof.mac(name, request.image),
                )
            )
            if latch:
                self._engine.start(name)
        except Exception:
            self._unwanted.append(made)
            raise
        with self._lock:
            self._ready.append(made)

    def keep(self, foreseen: Iterable[Job], leased: Callable[[], Collection[Job]]) -> None:
        """Have those removed that are nobody's any more, or that somebody else has ended.

        Args:
            foreseen: jobs that come next, given as above.
            leased: tells the jobs whose lease is in force. One that is to be started will take what was made for it.

        Raises:
            EngineUnavailable: call it again.
        """
        taken = list(self._taken.items())  # before leases are asked for: each of these had one when it was taken
        in_force = leased()
        wanted = [*foreseen, *(job for job in in_force if isinstance(job.state, Starting))]
        for made in list(self._ready):
            if not any(made.is_for(job) for job in wanted) or not self._stands(made):
                self._reject(made)
        for name, made in taken:
            if not any(made.is_for(job) for job in in_force):  # it ended before its command began
                self._give_up(name)

    def _stands(self, made: _Made) -> bool:
        return isinstance(self._engine.observe(made.name), Alive if made.latch else Created)

    def _reject(self, made: _Made) -> None:
        with self._lock:
            if made in self._ready:  # else it has been taken meanwhile
                self._ready.remove(made)
                self._unwanted.append(made)

    def remove_unwanted(self) -> None:
        """Remove what nobody wants any more.

        Raises:
            EngineUnavailable: call it again.
        """
        while self._unwanted:
            made = self._unwanted[0]
            if made.latch:
                made.latch.close()
            self._namespaces.remove_with(made.name)
            if made.latch:
                discard(made.latch.folder)
            self._unwanted.popleft()

    def remove_all(self) -> None:
        """Remove all that no attempt has taken. What stays is swept in the next life.

        Raises:
            EngineUnavailable: some are still there; their commands will never run.
        """
        for made in list(self._ready):
            if made.latch:
                made.latch.close()
            self._reject(made)
        self.remove_unwanted()

    def left_behind(self, found: Mapping[ContainerName, object]) -> set[ContainerName]:
        """Those of the containers found that former lives have made, and that no attempt has taken."""
        return {name for name in found if is_ahead_name(self._settings.node_id, name, but_of=self._life)}

    # --- with the lease -----------------------------------------------------------------------------------------------

    def take(self, job: Job) -> bool:
        """Give the attempt that a job is at the container that was made for it; whether there is one.

        To be called once its lease is in the journal, and again where the engine did not answer. The container has the
        attempt's name then; `begin` is to follow.

        Raises:
            EngineUnavailable: call it again.
        """
        name = self._settings.container_of(job)
        made = self._claimed(job, name)
        if made is None:
            return False
        self._namespaces.hand_over(made.name, name)
        try:
            self._engine.rename(made.name, name)
        except EngineRefused as gone:  # somebody has removed it
            log.info("prepared_not_taken", job=job.id, cause=gone.message)
            self._give_up(name)
            return False
        if made.latch and not isinstance(self._engine.observe(name), Alive):  # somebody has ended it while it stood by
            self._namespaces.remove_with(name)
            self._give_up(name)
            return False
        return True

    def _claimed(self, job: Job, name: ContainerName) -> _Made | None:
        with self._lock:
            for made in self._ready:
                if made.is_for(job):
                    self._ready.remove(made)
                    self._taken[name] = made
                    break
            return self._taken.get(name)

    def _give_up(self, name: ContainerName) -> None:
        with self._lock:
            if made := self._taken.pop(name, None):
                self._unwanted.append(made)

    def begin(self, name: ContainerName) -> datetime | None:
        """Let the command of an attempt begin that has taken its container; when that was.

        None where its process is still to be started, as that of any attempt without a latch.

        Raises:
            OSError: our own disk does not take that it has begun; it has not. Call it again.
        """
        with self._lock:
            made = self._taken.get(name)
        now = self._clock.now()
        if made and made.latch:
            made.latch.open(now)
        with self._lock:
            self._taken.pop(name, None)
        return now if made and made.latch else None

    def recall(self, job: Job, seen: Observation) -> Observation:
        """What is there of an attempt's container, its command's begin for its process's: it may have stood by.

        One whose command never began is `Created`. Where a former life took it that is gone, and so is its latch, with
        which its process ends: it is removed.

        Raises:
            EngineUnavailable: call it again.
        """
        name = self._settings.container_of(job)
        if isinstance(seen, Absent | Created):
            return seen
        with self._lock:
            made = self._taken.get(name)
        if made and made.latch and isinstance(seen, Alive):
            return Created()
        origin = self._engine.origin(name)
        latch = origin.labels.get(LATCH_LABEL) if origin else None
        if not latch:
            return seen
        begun_at = opened_at(self._settings.paths.jobs / str(job.id) / latch) or started_at(job.state)
        if begun_at:
            return replace(seen, started_at=begun_at)
        self._namespaces.remove_with(name)
        if made:
            self._give_up(name)
        log.info("stood_by_in_vain", job=job.id)
        return Absent()
