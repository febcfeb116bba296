"""DataPlatform: the one owner of the truth about jobs.

Commands in, snapshots out. A command checks that its arrow is legal, writes the journal, changes memory and only then
tells anybody. Everything is short and under one lock; no command waits for Docker, the share or a peer. Live jobs are
in memory, ended ones are read from the journal.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta

from dopq.config import QueueSettings
from dopq.errors import InvariantBroken, NotFound, WrongState
from dopq.job import (
    ARROWS,
    Actor,
    Building,
    Ended,
    GpuId,
    Held,
    ImageId,
    Job,
    JobId,
    JobSpec,
    Lease,
    Outcome,
    Problem,
    Queued,
    Reason,
    ResourceUse,
    Running,
    Starting,
    State,
    StateName,
    Stopping,
    UserName,
    Work,
    lease_of,
    work_of,
)
from dopq.penalty import Account, charge_rate, penalty, refunded, usage_at, with_rate
from dopq.queue_model import Decision, Hold, Holding, Snapshot, Waiting
from dopq.store import Event, Journal
from dopq.users import Users
from dopq.utils.clock import Clock
from dopq.utils.log import logger
from dopq.wire import Place, Plain, job_to_wire, time_to_wire

log = logger(__name__)

Listener = Callable[[Job], None]


@dataclass(frozen=True, slots=True)
class QueueLock:
    """Nothing is started before `until`, at the wish of `owner`. A lease, so that a forgotten lock ends by itself."""

    owner: str
    reason: str
    until: datetime


class DataPlatform:
    """The owner of all jobs, their order's inputs, and what everybody used."""

    def __init__(self, journal: Journal, users: Users, clock: Clock, settings: QueueSettings, node: str) -> None:
        self._journal = journal
        self._users = users
        self._clock = clock
        self._settings = settings
        self._node = node
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._listeners: list[Listener] = []
        self._queue_watchers: list[Callable[[], None]] = []
        self._alive: dict[JobId, Job] = {job.id: job for job in journal.alive()}
        # Those of them that hold a lease: few, however long the queue is.
        self._leased: dict[JobId, Job] = {job.id: job for job in self._alive.values() if lease_of(job.state)}
        self._accounts: dict[UserName, Account] = journal.accounts()
        self._places: dict[JobId, Place] = {}
        self._seq = journal.last_seq()
        self._draining = False
        noted = journal.noted("lock")
        self._queue_lock = _lock_from_json(noted) if noted else None

    # --- being told ---------------------------------------------------------------------------------------------------

    def subscribe(self, listener: Listener) -> None:
        """Call `listener` with every job that changed, after the change is on disk.

        It runs in the thread that made the change: it must ring a doorbell and return.
        """
        with self._lock:
            self._listeners.append(listener)

    def watch_queue(self, watcher: Callable[[], None]) -> None:
        """Call `watcher` when the queue as a whole was locked, unlocked or told to drain; the same rules apply."""
        with self._lock:
            self._queue_watchers.append(watcher)

    def wait_for_change(self, after_seq: int, timeout_s: float) -> int:
        """Wait until some job has changed since journal entry `after_seq`, at most `timeout_s`; the newest entry."""
        with self._changed:
            self._changed.wait_for(lambda: self._seq > after_seq, timeout_s)
            return self._seq

    # --- commands: intake ---------------------------------------------------------------------------------------------

    def accept(self, user: UserName, bundle: str, key: str, name: str) -> Job:
        """Take responsibility for a bundle: from here on it is a job, and on disk.

        The same `key` always gives the same job, so that asking twice is harmless.
        """
        with self._lock:
            job = self._journal.add(
                Job(JobId(0), user, bundle, key, name, self._clock.now(), Building()), f"took {bundle}"
            )
            if isinstance(job.state, Building) and job.id not in self._alive:
                self._keep(job)
            return self._alive.get(job.id, job)

    def is_known(self, key: str) -> bool:
        """Whether a bundle of that key has been accepted, at any time."""
        return self._journal.has_key(key)

    def enqueue(self, job_id: JobId, spec: JobSpec, image: ImageId, *, has_input: bool) -> Job:
        """The image stands: the job joins the queue under the name that its spec gives."""
        with self._lock:
            job = self._live(job_id)
            work = Work(spec, image, self._clock.now(), has_input)
            return self._move(replace(job, name=spec.name), Queued(work), Actor.PROVIDER, f"image {image} is ready")

    def reject(self, job_id: JobId, outcome: Outcome, reason: Reason, problems: tuple[Problem, ...] = ()) -> Job:
        """No image came of the bundle: it was refused (`invalid`), or its build failed (`build_failed`)."""
        with self._lock:
            ended = Ended(outcome, self._clock.now(), reason, problems=problems)
            return self._move(self._live(job_id), ended, Actor.PROVIDER, reason.sentence)

    def hold(self, job_id: JobId, reason: Reason) -> Job:
        """Keep a job that is to be built back. One that is held already stays as it is."""
        with self._lock:
            job = self._live(job_id)
            if isinstance(job.state, Held):
                return job
            return self._move(job, Held(reason, self._clock.now()), Actor.PROVIDER, reason.sentence)

    def resume(self, job_id: JobId) -> Job:
        """What a job was held for is over. One that is not held stays as it is."""
        with self._lock:
            job = self._live(job_id)
            if not isinstance(job.state, Held):
                return job
            return self._move(job, Building(), Actor.PROVIDER, f"no longer held: {job.state.reason.code}")

    # --- commands: running --------------------------------------------------------------------------------------------

    def begin(self, job_id: JobId, gpus: frozenset[GpuId]) -> Job:
        """Give a queued job its GPUs. On disk before any engine is asked for a container.

        Raises:
            WrongState: the job left the queue, or a GPU was given away since the decision; decide anew.
        """
        with self._lock:
            job = self._live(job_id)
            if not isinstance(job.state, Queued):
                raise WrongState(f"Job {job_id} is {job.state.name}, not queued.")
            taken = gpus & self._gpus_held()
            if taken:
                raise WrongState(f"GPU {min(taken)} is held by another job.")
            lease = Lease(attempt=1, gpus=gpus, since=self._clock.now())
            cause = f"chosen, on {', '.join(sorted(gpus))}" if gpus else "chosen, on the CPU"
            return self._move(job, Starting(job.state.work, lease), Actor.SCHEDULER, cause)

    def mark_running(self, job_id: JobId, started_at: datetime) -> Job:
        """The container's process runs. A job that was asked to stop meanwhile stays `stopping`."""
        with self._lock:
            job = self._live(job_id)
            match job.state:
                case Starting(work, lease):
                    return self._move(job, Running(work, lease, started_at), Actor.RUNNER, "its process runs")
                case Running() | Stopping():
                    return job
                case _:
                    raise WrongState(f"Job {job_id} is {job.state.name}; it cannot be running.")

    def request_stop(self, job_id: JobId, becomes: StateName, reason: Reason, actor: Actor) -> Job:
        """Ask a job with a container to end. Whoever runs it sees the state and stops the container."""
        with self._lock:
            job = self._live(job_id)
            if becomes is not StateName.CANCELLED and becomes is not StateName.TIMED_OUT:
                raise InvariantBroken(f"A stopped job does not become {becomes}.")
            match job.state:
                case Starting(work, lease):
                    state = Stopping(work, lease, None, becomes, reason, self._clock.now())
                case Running(work, lease, started):
                    state = Stopping(work, lease, started, becomes, reason, self._clock.now())
                case Stopping():
                    return job
                case _:
                    raise WrongState(f"Job {job_id} is {job.state.name}; it has no container to stop.")
            return self._move(job, state, actor, reason.sentence)

    def finish(
        self,
        job_id: JobId,
        outcome: Outcome,
        reason: Reason,
        *,
        at: datetime,
        exit_code: int | None = None,
        started_at: datetime | None = None,
        use: ResourceUse | None = None,
    ) -> Job:
        """The container is over and everything of it is collected: the job ends and its lease with it.

        `at` and `started_at` are the engine's times; they are kept within the lease.
        """
        with self._lock:
            job = self._live(job_id)
            lease = lease_of(job.state)
            if lease is None:
                raise WrongState(f"Job {job_id} is {job.state.name}; it has no run to finish.")
            ended = Ended(
                outcome,
                at=min(max(at, lease.since), max(self._clock.now(), lease.since)),
                reason=reason,
                exit_code=exit_code,
                work=work_of(job.state),
                lease=lease,
                started_at=started_at,
                use=use or ResourceUse(),
            )
            return self._move(job, ended, Actor.RUNNER, reason.sentence)

    # --- commands: people ---------------------------------------------------------------------------------------------

    def cancel(self, job_id: JobId, by: str) -> Job:
        """Cancel a job: at once where it has no container, else it becomes `stopping` first. Twice is fine.

        Raises:
            NotFound: there is no such job.
            WrongState: it has ended otherwise.
        """
        with self._lock:
            job = self.job(job_id)
            reason = Reason("cancelled", f"Cancelled by {by}.")
            match job.state:
                case Building():
                    return self._move(job, Ended(StateName.CANCELLED, self._clock.now(), reason), Actor.USER, "cancel")
                case Held(work=work) | Queued(work):
                    ended = Ended(StateName.CANCELLED, self._clock.now(), reason, work=work)
                    return self._move(job, ended, Actor.USER, reason.sentence)
                case Starting() | Running() | Stopping():
                    return self.request_stop(job_id, StateName.CANCELLED, reason, Actor.USER)
                case Ended(outcome=StateName.CANCELLED):
                    return job
                case Ended(outcome=outcome):
                    raise WrongState(f"Job {job_id} has ended already: {outcome}.", "There is nothing left to cancel.")

    def exec_dopq_lock_state(self, owner: str, reason: str, lock_for: timedelta | None) -> QueueLock | None:
        """Lock the queue for a while, or unlock it (`lock_for` None). Running jobs go on; nothing new starts."""
        with self._lock:
            lock = QueueLock(owner, reason, self._clock.now() + lock_for) if lock_for else None
            self._journal.note("lock", _lock_to_json(lock) if lock else None)
            self._queue_lock = lock
            self._tell_watchers()
            return lock

    def drain(self) -> None:
        """Start nothing more; for good, since the node is about to stop."""
        with self._lock:
            self._draining = True
            self._tell_watchers()

    def update_enqueued_container_list(self, jobs: Iterable[JobId], by: str) -> list[Job]:
        """Take jobs out of the queue. Those that are not in it any more are left as they are."""
        with self._lock:
            alive = [self._alive[job_id] for job_id in jobs if job_id in self._alive]
            waiting = [job.id for job in alive if isinstance(job.state, Building | Held | Queued)]
            return [self.cancel(job_id, by) for job_id in waiting]

    def clear_dopq_history_list(self) -> int:
        """Clear the history; how many jobs it held. Their rows and stories stay in the journal."""
        with self._lock:
            ended = [job.id for job in self._journal.ended(limit=-1)]
            self._journal.clear(ended)
            return len(ended)

    # --- snapshots ----------------------------------------------------------------------------------------------------

    def job(self, job_id: JobId) -> Job:
        """A job by number, ended or not. Raises `NotFound`."""
        with self._lock:
            job = self._alive.get(job_id) or self._journal.job(job_id)
        if job is None:
            raise NotFound(f"There is no job {job_id}.", "`dopq-client status` and `history` list them.")
        return job

    def alive(self) -> list[Job]:
        """Every job that has not ended, oldest first."""
        with self._lock:
            return list(self._alive.values())

    def snapshot(self, gpus: frozenset[GpuId], max_running: int, stopped: Reason | None) -> Snapshot:
        """All that the next decision depends on. `stopped`: the caller's own obstacle, such as an absent engine."""
        with self._lock:
            states = [(job, job.state) for job in self._alive.values()]
            return Snapshot(
                waiting=tuple(_waiting(job, state.work) for job, state in states if isinstance(state, Queued)),
                holding=tuple(
                    Holding(job.id, job.user, lease.gpus) for job, state in states if (lease := lease_of(state))
                ),
                gpus=gpus,
                max_running=max_running,
                penalty=self.penalties(),
                stopped=self._stopped() or stopped,
            )

    def record_decisions(self, decisions: list[Decision]) -> None:
        """Remember each waiting job's place and reason, for those who ask."""
        held = [decision for decision in decisions if isinstance(decision, Hold)]
        with self._lock:
            self._places = {hold.job: Place(n, hold.reason) for n, hold in enumerate(held, start=1)}

    def penalties(self) -> dict[UserName, float]:
        """Each user's penalty now, running jobs counted live."""
        now_s, half_life = self._clock.now().timestamp(), self._settings.half_life_s
        weights = {user.name: user.weight for user in self._users.all()}
        with self._lock:
            return {
                user: penalty(usage_at(account, now_s, half_life), weights.get(user, 1.0))
                for user, account in self._accounts.items()
            }

    def queue_lock(self) -> QueueLock | None:
        """The lock that is in force now."""
        with self._lock:
            lock = self._queue_lock
            return lock if lock and lock.until > self._clock.now() else None

    def story(self, job_id: JobId) -> list[Event]:
        """Everything that happened to a job, in order."""
        return self._journal.story(job_id)

    def find(self, reference: str, user: UserName) -> Job:
        """The job meant by a number, a name of which there is one, `@` (my newest) or `@~N` (N before that).

        Raises:
            NotFound: nothing matches, or a name matches several jobs that have not ended.
        """
        text = reference.strip()
        if text.isascii() and text.isdigit() and len(text) < 16:
            return self.job(JobId(int(text)))
        if text == "@" or (text.startswith("@~") and text[2:].isascii() and text[2:].isdigit() and len(text) < 9):
            newest = self._journal.newest(user, skip=int(text[2:] or 0))
            if newest:
                return newest
            raise NotFound(f"You have no job that {text} could mean.", "`dopq-client history` lists yours.")
        return self._by_name(text, user)

    def _by_name(self, name: str, user: UserName) -> Job:
        named = self._journal.named(name, user)
        mine = [job for job in named if job.user == user] or named
        alive = [job for job in mine if not isinstance(job.state, Ended)]
        if len(alive) > 1:
            numbers = ", ".join(str(job.id) for job in alive)
            raise NotFound(f"Several jobs are called {name!r}: {numbers}.", "Say which one by its number.")
        if not mine:
            raise NotFound(f"There is no job called {name!r}.", "`dopq-client status` and `history` list them.")
        return alive[0] if alive else mine[0]

    def unpublished(self) -> list[Job]:
        """Every job that changed since `mark_published`, in the order of its last change."""
        return self._journal.changed_since(int(self._journal.noted("published") or 0))

    def mark_published(self, seq: int) -> None:
        """Remember that the share tells everything up to journal entry `seq`."""
        self._journal.note("published", str(seq))

    # --- snapshots as plain data (names kept from DoPQ 1.0) -----------------------------------------------------------

    def describe(self, jobs: Iterable[Job]) -> list[Plain]:
        """Jobs as the contract spells them."""
        now, penalties = self._clock.now(), self.penalties()
        with self._lock:
            return [
                job_to_wire(
                    job,
                    node=self._node,
                    now=now,
                    place=self._places.get(job.id) if isinstance(job.state, Queued) else None,
                    penalty=penalties.get(job.user, 0.0),
                )
                for job in jobs
            ]

    def get_running_info(self) -> list[Plain]:
        """Jobs that occupy the node: starting, running or stopping."""
        return self.describe(job for job in self.alive() if lease_of(job.state))

    def get_enqueued_container_list(self) -> list[Plain]:
        """Jobs before their start, in queue order; those that have no image yet come last."""
        jobs = self.describe(job for job in self.alive() if isinstance(job.state, Building | Held | Queued))
        return sorted(jobs, key=lambda j: (j["state"] != StateName.QUEUED, j["position"] or len(jobs), j["id"]))

    def get_completed_containers_info(self, limit: int, user: UserName | None = None) -> list[Plain]:
        """The history, the last to end first."""
        return self.describe(self._journal.ended(limit, user))

    def get_user_statistics(self) -> list[Plain]:
        """Usage, penalty and number of jobs of every registered user."""
        now_s, counts = self._clock.now().timestamp(), self._journal.counts()
        penalties = self.penalties()
        with self._lock:
            accounts = dict(self._accounts)
            gpus = Counter[UserName]()
            for job in self._alive.values():
                lease = lease_of(job.state)
                gpus[job.user] += len(lease.gpus) if lease else 0
        return [
            {
                "user": str(user.name),
                "role": str(user.role),
                "weight": user.weight,
                "penalty": penalties.get(user.name, 0.0),
                "usage_gpu_seconds": usage_at(accounts.get(user.name, Account()), now_s, self._settings.half_life_s),
                "gpus_held": gpus[user.name],
                "jobs": {str(state): counts.get((user.name, state), 0) for state in StateName},
            }
            for user in self._users.all()
        ]

    def get_dopq_status(self) -> Plain:
        """The queue as a whole."""
        states = Counter(job.state.name for job in self.alive())
        lock = self.queue_lock()
        return {
            "node": self._node,
            "jobs": {str(state): count for state, count in sorted(states.items())},
            "draining": self._draining,
            "lock": {"owner": lock.owner, "reason": lock.reason, "until": time_to_wire(lock.until)} if lock else None,
        }

    # --- invariants ---------------------------------------------------------------------------------------------------

    def assert_consistent(self) -> None:
        """Raise `InvariantBroken` unless memory says what the journal says and no GPU is held twice."""
        with self._lock:
            if self._journal.alive() != sorted(self._alive.values(), key=lambda job: job.id):
                raise InvariantBroken("Memory and journal disagree about the jobs that have not ended.")
            if self._journal.accounts() != self._accounts:
                raise InvariantBroken("Memory and journal disagree about what users have used.")
            leases = [lease for job in self._alive.values() if (lease := lease_of(job.state))]
            if sum(len(lease.gpus) for lease in leases) != len(self._gpus_held()):
                raise InvariantBroken("Two jobs hold the same GPU.")

    # --- inside -------------------------------------------------------------------------------------------------------

    def _live(self, job_id: JobId) -> Job:
        job = self.job(job_id)
        if isinstance(job.state, Ended):
            raise WrongState(f"Job {job_id} has ended: {job.state.name}.")
        return job

    def _gpus_held(self) -> frozenset[GpuId]:
        leases = (lease_of(job.state) for job in self._leased.values())
        return frozenset(gpu for lease in leases if lease for gpu in lease.gpus)

    def _move(self, job: Job, state: State, actor: Actor, cause: str) -> Job:
        """Take one arrow: check it, write it, remember it, tell."""
        old = self._alive[job.id]
        if actor not in ARROWS.get((old.state.name, state.name), frozenset()):
            raise WrongState(f"Job {job.id} is {old.state.name}; it cannot become {state.name} by the {actor}.")
        new = replace(job, state=state)
        account = self._account_after(old, new)
        new = self._journal.change(new, old, actor, cause, self._clock.now(), account)
        if account is not None:
            self._accounts[new.user] = account
        self._keep(new)
        arrow = f"{old.state.name}->{new.state.name}"
        log.info("state_changed", job=new.id, user=new.user, arrow=arrow, actor=actor, cause=cause)
        return new

    def _account_after(self, old: Job, new: Job) -> Account | None:
        """The user's account when a lease begins or ends; None while nothing changes for it."""
        if lease_of(old.state) == lease_of(new.state):
            return None
        now_s, half_life = self._clock.now().timestamp(), self._settings.half_life_s
        # Summed anew, not added to: neither rounding nor a changed setting may stay in an account for ever.
        leased = [job for job in self._leased.values() if job.user == new.user and job.id != new.id]
        rate = sum(self._rate(job.state) for job in [*leased, new])
        account = with_rate(self._accounts.get(new.user, Account()), rate, now_s, half_life)
        if isinstance(new.state, Ended):  # its process ended before we came to know, perhaps while the node was down
            account = refunded(account, self._rate(old.state), new.state.at.timestamp(), half_life)
        return account

    def _rate(self, state: State) -> float:
        lease = lease_of(state)
        return charge_rate(len(lease.gpus), self._settings.cpu_job_rate) if lease else 0.0

    def _keep(self, job: Job) -> None:
        if isinstance(job.state, Ended):
            del self._alive[job.id]
        else:
            self._alive[job.id] = job
        if lease_of(job.state):
            self._leased[job.id] = job
        else:
            self._leased.pop(job.id, None)
        self._seq = job.seq
        self._changed.notify_all()
        for listener in self._listeners:
            listener(job)

    def _tell_watchers(self) -> None:
        for watcher in self._queue_watchers:
            watcher()

    def _stopped(self) -> Reason | None:
        if self._draining:
            return Reason("draining", "The node finishes what runs and then stops; nothing new starts.")
        lock = self.queue_lock()
        if lock is None:
            return None
        until = lock.until.astimezone().strftime("%H:%M on %d %b")
        return Reason("locked", f"{lock.owner} locked the queue until {until}: {lock.reason}")


def _waiting(job: Job, work: Work) -> Waiting:
    return Waiting(job.id, job.user, work.spec.gpus, work.spec.priority, work.queued_at.timestamp())


def _lock_to_json(lock: QueueLock) -> str:
    return json.dumps(asdict(lock) | {"until": lock.until.isoformat()})


def _lock_from_json(text: str) -> QueueLock:
    data = json.loads(text)
    return QueueLock(data["owner"], data["reason"], datetime.fromisoformat(data["until"]))
