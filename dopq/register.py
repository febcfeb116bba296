"""The register: where every job stands, in memory and on disk.

One entry at a time, in one order: the journal first, then memory, then whoever listens. Live jobs are in memory, ended
ones are read from the journal. Which change may happen is lifecycle.py's to say.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from dopq import dependencies, lifecycle
from dopq.errors import InvariantBroken, NotFound, WrongState
from dopq.job import Actor, Ended, GpuId, Job, JobId, Reason, Retry, State, Work, lease_of, work_of
from dopq.ledger import Ledger
from dopq.lines import Queue
from dopq.queue_view import Defaults, waiting
from dopq.room import ROUNDING, Demand
from dopq.store import Journal
from dopq.utils.clock import Clock
from dopq.utils.log import logger

log = logger(__name__)

Listener = Callable[[Job], None]


class Register:
    """Every job, with the accounts that its changes charge.

    Attributes:
        lock: hold it to look and then act on what was seen; every method here takes it, too.
        ledger: what everybody used; look at it under the lock.
        queue: the jobs that wait for their turn, in lines; look at it under the lock.
        in_vain: those of them that can never start, and why; likewise.
        beyond: what was asked for and can never be met, when that was last looked at.
    """

    def __init__(self, journal: Journal, ledger: Ledger, clock: Clock, defaults: Defaults) -> None:
        self.lock = threading.RLock()
        self.ledger = ledger
        self.queue = Queue(journal.turns())
        self.in_vain: dict[JobId, Reason] = {}
        self.beyond: frozenset[Demand] = frozenset()
        self._defaults = defaults
        self._journal = journal
        self._clock = clock
        self._changed = threading.Condition(self.lock)
        self._listeners: list[Listener] = []
        self._alive: dict[JobId, Job] = {job.id: job for job in journal.alive()}
        # Those of them that hold a lease: few, however long the queue is.
        self._leased: dict[JobId, Job] = {job.id: job for job in self._alive.values() if lease_of(job.state)}
        self._dependents: dict[JobId, set[JobId]] = {}  # of jobs that have not ended
        self._resting: dict[JobId, datetime] = {}  # until then a job is not tried again
        for job in self._alive.values():
            self._line_up(job)
        self._seq = journal.last_seq()

    def subscribe(self, listener: Listener) -> None:
        """Call `listener` with every job that changed, after the change is on disk.

        It runs in the thread that made the change: it must ring a doorbell and return.
        """
        with self.lock:
            self._listeners.append(listener)

    def wait_for_change(self, after_seq: int, timeout_s: float) -> int:
        """Wait until some job has changed since journal entry `after_seq`, at most `timeout_s`; the newest entry."""
        with self._changed:
            self._changed.wait_for(lambda: self._seq > after_seq, timeout_s)
            return self._seq

    def add(self, job: Job, cause: str, actor: Actor = Actor.PROVIDER, *, image_of: JobId | None = None) -> Job:
        """Enter a new job, or find the one that has its key already; see `Journal.add`."""
        with self.lock:
            job = self._journal.add(job, cause, actor, image_of=image_of)
            if not isinstance(job.state, Ended) and job.id not in self._alive:
                self._keep(job)
            return self._alive.get(job.id, job)

    def move(self, job: Job, state: State, actor: Actor, cause: str) -> Job:
        """Take a job to `state`, and its name with it. The state that it is in already changes nothing.

        Raises:
            WrongState: `actor` may not do that; nothing has changed.
        """
        with self.lock:
            if state is job.state:
                return job
            lifecycle.check_arrow(job, state, actor)
            now, old, new = self._clock.now(), self._alive[job.id], replace(job, state=state)
            account = self.ledger.after(old, new, self._leased.values(), now)
            turn = self.queue.turn_of(job.id, now.timestamp(), self.beyond) if lease_of(state) else None
            new = self._journal.change(new, old, actor, cause, now, account, turn)
            if turn is not None:
                self.queue.turns[turn.user, turn.needs_gpu] = turn.at_s
            if account is not None:
                self.ledger.put(new.user, account)
            self._keep(new)
            arrow = f"{old.state.name}->{new.state.name}"
            log.info("state_changed", job=new.id, user=new.user, arrow=arrow, actor=actor, cause=cause)
            return new

    def job(self, job_id: JobId) -> Job:
        """A job by number, ended or not. Raises `NotFound`."""
        with self.lock:
            job = self._alive.get(job_id) or self._journal.job(job_id)
        if job is None:
            raise NotFound(f"There is no job {job_id}.", "`dopq-client status` and `history` list them.")
        return job

    def live(self, job_id: JobId) -> Job:
        """A job that has not ended. Raises `NotFound`, or `WrongState` when it has."""
        job = self.job(job_id)
        if isinstance(job.state, Ended):
            raise WrongState(f"Job {job_id} has ended: {job.state.name}.")
        return job

    def alive(self) -> list[Job]:
        """Every job that has not ended, oldest first."""
        with self.lock:
            return list(self._alive.values())

    def leased(self) -> list[Job]:
        """Every job that holds a lease."""
        with self.lock:
            return list(self._leased.values())

    def end_rests(self) -> None:
        """Put those jobs in line whose time to be tried again has come."""
        with self.lock:
            now = self._clock.now()
            for job_id in [job_id for job_id, until in self._resting.items() if until <= now]:
                del self._resting[job_id]
                self._line_up(self._alive[job_id])

    def next_rest_end(self) -> datetime | None:
        """When the next job may be tried again."""
        with self.lock:
            return min(self._resting.values(), default=None)

    def too_full(self, gpus: Iterable[GpuId], part: float) -> frozenset[GpuId]:
        """Those of the GPUs of which less than `part` is free by now."""
        held = _held(self.leased())
        return frozenset(gpu for gpu in gpus if held[gpu] + part > 1.0 + ROUNDING)

    def assert_consistent(self) -> None:
        """Raise `InvariantBroken` unless memory says what the journal says and no part of a GPU is held twice."""
        with self.lock:
            if self._journal.alive() != sorted(self._alive.values(), key=lambda job: job.id):
                raise InvariantBroken("Memory and journal disagree about the jobs that have not ended.")
            if self._journal.accounts() != self.ledger.accounts:
                raise InvariantBroken("Memory and journal disagree about what users have used.")
            if any(part > 1.0 + ROUNDING for part in _held(self._alive.values()).values()):
                raise InvariantBroken("Two jobs hold the same GPU, or the same part of one.")

    def _keep(self, job: Job) -> None:
        if isinstance(job.state, Ended):
            del self._alive[job.id]
        else:
            self._alive[job.id] = job
        if lease_of(job.state):
            self._leased[job.id] = job
        else:
            self._leased.pop(job.id, None)
        self._line_up(job)
        if isinstance(job.state, Ended):
            for dependent in self._dependents.pop(job.id, set()) & self._alive.keys():
                self._line_up(self._alive[dependent])
        self._seq = job.seq
        self._changed.notify_all()
        for listener in self._listeners:
            listener(job)

    def _line_up(self, job: Job) -> None:
        entry, work = waiting(job, self._defaults), work_of(job.state)
        if entry is None or work is None:
            self.queue.remove(job.id)
            self.in_vain.pop(job.id, None)
            self._resting.pop(job.id, None)
            return
        aside = self._aside(job.id, work)
        if work.after:  # the wait for others is none for a turn
            entry = replace(entry, queued_at_s=dependencies.since(work.queued_at, work.after, self.job).timestamp())
        if self.queue.get(job.id) != entry or self.queue.aside.get(job.id) != aside:
            self.queue.add(entry, aside)

    def _aside(self, job_id: JobId, work: Work) -> Reason | None:
        """Why a queued job is in no line; the end of whoever it waits for has it looked at again."""
        for it in work.after:
            if it.job in self._alive:
                self._dependents.setdefault(it.job, set()).add(job_id)
        in_vain = dependencies.in_vain(work.after, self.job)
        if in_vain:
            self.in_vain[job_id] = in_vain
        return in_vain or dependencies.aside(work.after, self.job) or self._rest(job_id, work.retry)

    def _rest(self, job_id: JobId, retry: Retry | None) -> Reason | None:
        """Why a job is not tried again yet."""
        if retry is None or retry.not_before <= self._clock.now():
            return None
        self._resting[job_id] = retry.not_before
        again = f"{retry.not_before.astimezone():%H:%M:%S}"
        sentence = f"Attempt {retry.failed} failed: {retry.reason.sentence} It is tried again at {again}."
        return Reason("waits_to_retry", sentence)


def _held(jobs: Iterable[Job]) -> Mapping[GpuId, float]:
    """How much of each GPU the jobs hold; nothing of those that are not in it."""
    parts: dict[GpuId, float] = defaultdict(float)
    for job in jobs:
        if lease := lease_of(job.state):
            for gpu in lease.gpus:
                parts[gpu] += lease.part
    return parts
