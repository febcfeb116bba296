"""DataPlatform: the one owner of the truth about jobs.

Commands in, snapshots out. A command asks lifecycle.py what follows from it and has the register (register.py) enter
that: on disk first, then in memory, then told. Everything is short and under one lock; no command waits for Docker, the
share or a peer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from dopq import dependencies, lifecycle, reference
from dopq.config import ContainerSettings, GpuSettings, QueueSettings
from dopq.course import Situation
from dopq.dispatch import Dispatch
from dopq.errors import NotAllowed, NotFound, WrongState
from dopq.explanation import explanation_to_wire
from dopq.forecast import Forecast
from dopq.job import (
    Actor,
    Building,
    Ended,
    GpuId,
    Held,
    ImageId,
    Job,
    JobId,
    JobSpec,
    Occupying,
    Outcome,
    Problem,
    Queued,
    Reason,
    ResourceUse,
    StateName,
    UserName,
    Work,
    gpus_held,
)
from dopq.ledger import Ledger
from dopq.queue_lock import Drain, QueueLock
from dopq.queue_model import Decision, Start
from dopq.queue_view import Defaults
from dopq.ranking import REMEMBERED
from dopq.register import Listener, Register
from dopq.room import Capacity
from dopq.run_times import RunTimes
from dopq.stoppage import Stoppage
from dopq.store import Event, Journal
from dopq.users import Role, User, Users
from dopq.utils.clock import Clock
from dopq.wire import Plain, job_to_wire


class DataPlatform:
    """The owner of all jobs, their order's inputs, and what everybody used."""

    def __init__(
        self,
        journal: Journal,
        users: Users,
        clock: Clock,
        settings: QueueSettings,
        node: str,
        container: ContainerSettings | None = None,
        gpu: GpuSettings | None = None,
    ) -> None:
        """`container`, `gpu`: what a job gets that names nothing, how long one may take to stop, and what a slot is."""
        self._journal = journal
        self._users = users
        self._clock = clock
        self._node = node
        ledger = Ledger(journal.accounts(), settings.half_life_s, settings.cpu_job_rate)
        given = container or ContainerSettings()
        self._settings = settings
        self._slots_per_gpu = (gpu or GpuSettings()).slots_per_gpu
        defaults = Defaults(settings.default_time_limit_s, given.memory_bytes, given.stop_grace_s, self._slots_per_gpu)
        self._register = Register(journal, ledger, clock, defaults)
        self._lock = self._register.lock
        self._stoppage = Stoppage(journal, clock, self._lock)
        ended = reversed(journal.ended(REMEMBERED))
        self._dispatch = Dispatch(self._register, self._weights, settings, defaults, ended, clock.now())

    # --- being told ---------------------------------------------------------------------------------------------------

    def subscribe(self, listener: Listener) -> None:
        """Call `listener` with every job that changed, after the change is on disk.

        It runs in the thread that made the change: it must ring a doorbell and return.
        """
        self._register.subscribe(listener)

    def watch_queue(self, watcher: Callable[[], None]) -> None:
        """Call `watcher` when the queue as a whole was locked, drained, or neither any more; the same rules apply."""
        self._stoppage.watch(watcher)

    def wait_for_change(self, after_seq: int, timeout_s: float) -> int:
        """Wait until some job has changed since journal entry `after_seq`, at most `timeout_s`; the newest entry."""
        return self._register.wait_for_change(after_seq, timeout_s)

    # --- commands: intake ---------------------------------------------------------------------------------------------

    def accept(self, user: UserName, bundle: str, key: str, name: str) -> Job:
        """Take responsibility for a bundle: from here on it is a job, and on disk.

        The same `key` always gives the same job, so that asking twice is harmless.
        """
        job = Job(JobId(0), user, bundle, key, name, self._clock.now(), Building())
        return self._register.add(job, f"took {bundle}")

    def is_known(self, key: str) -> bool:
        """Whether a bundle of that key has been accepted, at any time."""
        return self._journal.with_key(key) is not None

    def rerun(self, text: str, user: UserName, key: str) -> Job:
        """A new job with the settings and the image of one of the user's that has ended; `text` as `find` takes it.

        The same `key` always gives the same job, so that asking twice is harmless.

        Raises:
            NotFound: there is no such job, or its image is not kept any more.
            NotAllowed: it is somebody else's.
            WrongState: it has not ended, never had an image, or had input, which is gone.
        """
        with self._lock:
            if known := self._journal.with_key(key):
                return self.job(known.id)
            old = self.find(text, user)
            if old.user != user:
                raise NotAllowed(f"Job {old.id} belongs to {old.user}.", "Only one's own jobs can be run again.")
            now = self._clock.now()
            new = replace(old, key=key, submitted_at=now, state=lifecycle.again(old, now))
            return self._register.add(new, f"job {old.id} is run again", Actor.USER, image_of=old.id)

    def enqueue(self, job_id: JobId, spec: JobSpec, image: ImageId, *, has_input: bool) -> Job:
        """The image stands: the job joins the queue, or stays held, under the name that its spec gives.

        One that is to run after jobs that there are not, or that wait for it, is `invalid`.
        """
        with self._lock:
            job = self._register.live(job_id)
            after, problems = dependencies.resolve(job, spec.after, lambda text: self._others(job, text), self.job)
            if problems:
                reason = Reason("bundle_rejected", "It cannot run after what it names.")
                return self.reject(job_id, StateName.INVALID, reason, tuple(problems))
            state = lifecycle.built(job, Work(spec, image, self._clock.now(), has_input, after))
            return self._register.move(replace(job, name=spec.name), state, Actor.PROVIDER, f"image {image} is ready")

    def reject(self, job_id: JobId, outcome: Outcome, reason: Reason, problems: tuple[Problem, ...] = ()) -> Job:
        """No image came of the bundle: it was refused (`invalid`), or its build failed (`build_failed`)."""
        with self._lock:
            ended = Ended(outcome, self._clock.now(), reason, problems=problems)
            return self._register.move(self._register.live(job_id), ended, Actor.PROVIDER, reason.sentence)

    def hold(self, job_id: JobId, reason: Reason) -> Job:
        """Keep a job that is to be built back for want of space. One that is held already stays as it is."""
        with self._lock:
            job = self._register.live(job_id)
            if isinstance(job.state, Held):
                return job
            return self._register.move(job, Held(reason, self._clock.now()), Actor.PROVIDER, reason.sentence)

    def resume(self, job_id: JobId) -> Job:
        """There is space for a job that is to be built. One that is not held for want of it stays as it is."""
        with self._lock:
            job = self._register.live(job_id)
            if not (isinstance(job.state, Held) and job.state.awaits_space):
                return job
            return self._register.move(job, Building(), Actor.PROVIDER, f"no longer held: {job.state.reason.code}")

    def give_up_in_vain(self) -> None:
        """Cancel the jobs that wait for the success of one that has not succeeded."""
        with self._lock:
            for job_id, reason in list(self._register.in_vain.items()):
                job = self._register.live(job_id)
                state = lifecycle.cancelled(job, reason, self._clock.now())
                self._register.move(job, state, Actor.SCHEDULER, reason.sentence)

    # --- commands: running --------------------------------------------------------------------------------------------

    def begin(self, job_id: JobId, gpus: frozenset[GpuId]) -> Job:
        """Give a queued job its GPUs, or slots of one. On disk before any engine is asked for a container.

        Raises:
            WrongState: the job left the queue, or a GPU was given away since the decision; decide anew.
        """
        with self._lock:
            job = self._register.live(job_id)
            part, rate = self._dispatch.part_and_rate(job, gpus)
            state = lifecycle.begun(job, gpus, part, rate, self._clock.now())
            if taken := self._register.too_full(gpus, part):
                raise WrongState(f"GPU {min(taken)} is held by another job.")
            cause = f"chosen, on {', '.join(sorted(gpus))}" if gpus else "chosen, on the CPU"
            return self._register.move(job, state, Actor.SCHEDULER, cause)

    def mark_running(self, job_id: JobId, started_at: datetime) -> Job:
        """The container's process runs. A job that was asked to stop meanwhile stays `stopping`."""
        with self._lock:
            job = self._register.live(job_id)
            return self._register.move(job, lifecycle.process_runs(job, started_at), Actor.RUNNER, "its process runs")

    def end_lease(self, job_id: JobId, attempt: int) -> Job:
        """No process of that attempt is left: others may have its GPUs and its place. Twice is fine.

        The job stays `running` or `stopping` until the engine has told how it ended. One that is not at that attempt
        any more, or has ended, stays as it is.
        """
        with self._lock:
            job = self.job(job_id)
            state = lifecycle.process_gone(job, attempt, self._clock.now())
            return self._register.move(job, state, Actor.RUNNER, "its process is gone, and its lease ends")

    def request_stop(self, job_id: JobId, becomes: StateName, reason: Reason, actor: Actor) -> Job:
        """Ask a job with a container to end. Whoever runs it sees the state and stops the container."""
        with self._lock:
            job = self._register.live(job_id)
            state = lifecycle.asked_to_stop(job, becomes, reason, self._clock.now())
            return self._register.move(job, state, actor, reason.sentence)

    def warn(self, job_id: JobId, warning: Reason | None) -> Job:
        """Tell the user of a running job what is odd about it, or (None) that nothing is any more. Twice is fine."""
        with self._lock:
            job = self._register.live(job_id)
            cause = warning.sentence if warning else "nothing is odd about it any more"
            return self._register.move(job, lifecycle.warned(job, warning), Actor.SCHEDULER, cause)

    def try_again(self, job_id: JobId, reason: Reason) -> Job | None:
        """Put a job back into the queue whose attempt ended for `reason`: a fault of ours, with attempts left.

        It gives its GPUs back and is charged nothing for the attempt. None where it has to end instead.
        """
        with self._lock:
            job = self._register.live(job_id)
            state = lifecycle.tried_again(job, reason, self._clock.now())
            if state is None or not isinstance(job.state, Occupying):
                return None
            cause = f"attempt {job.state.lease.attempt} failed: {reason.sentence}"
            return self._register.move(job, state, Actor.RUNNER, cause)

    def next_try(self) -> datetime | None:
        """When the next of the jobs that wait to be tried again may start."""
        return self._register.next_rest_end()

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
        """The container is over and everything of it is on our own disk: the job ends, and its lease with it.

        `at` and `started_at` are the engine's times; `at` is kept between the lease's begin and now.
        """
        with self._lock:
            job = self._register.live(job_id)
            ended = lifecycle.finished(
                job,
                outcome,
                reason,
                at=at,
                now=self._clock.now(),
                exit_code=exit_code,
                started_at=started_at,
                use=use,
            )
            return self._register.move(job, ended, Actor.RUNNER, reason.sentence)

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
            return self._register.move(
                job, lifecycle.cancelled(job, reason, self._clock.now()), Actor.USER, reason.sentence
            )

    def put_on_hold(self, job_id: JobId, by: User) -> Job:
        """Keep a job out of the queue until it is released; its image is made meanwhile. Twice is fine.

        Raises:
            NotFound: there is no such job.
            WrongState: it has been started.
        """
        with self._lock:
            job = self.job(job_id)
            if by.name == job.user:
                reason = Reason("held_by_user", f"{by.name} holds it.")
            else:
                reason = Reason("held_by_admin", f"The admin {by.name} holds it.")
            state = lifecycle.held(job, reason, self._clock.now())
            return self._register.move(job, state, Actor.USER, f"held by {by.name}")

    def release(self, job_id: JobId, by: User) -> Job:
        """Let a job that somebody holds go on. One that is not held stays as it is.

        Raises:
            NotFound: there is no such job.
            NotAllowed: an admin holds it, and `by` is none.
            WrongState: it has been started, or it waits for space.
        """
        with self._lock:
            job = self.job(job_id)
            state = lifecycle.released(job, self._clock.now())
            if isinstance(job.state, Held) and job.state.reason.code == "held_by_admin" and by.role is not Role.ADMIN:
                raise NotAllowed(f"Job {job_id} is held by an admin.", "Ask them why, and to release it.")
            return self._register.move(job, state, Actor.USER, f"released by {by.name}")

    def exec_dopq_lock_state(self, owner: str, reason: str, lock_for: timedelta | None) -> QueueLock | None:
        """Lock the queue for a while, or unlock it (`lock_for` None). Running jobs go on; nothing new starts."""
        if lock_for:
            return self._stoppage.lock_for(owner, reason, lock_for)
        self._stoppage.unlock()
        return None

    def drain(self, owner: str, reason: str) -> Drain:
        """Start nothing more until `undrain`, also after a restart. Running jobs go on."""
        return self._stoppage.drain(owner, reason)

    def undrain(self) -> None:
        """Start jobs again. Twice is fine."""
        self._stoppage.undrain()

    def update_enqueued_container_list(self, jobs: Iterable[JobId], by: str) -> list[Job]:
        """Take jobs out of the queue. Those that are not in it any more are left as they are."""
        with self._lock:
            wanted = set(jobs)
            waiting = [job for job in self._register.alive() if isinstance(job.state, Building | Held | Queued)]
            return [self.cancel(job.id, by) for job in waiting if job.id in wanted]

    def clear_dopq_history_list(self) -> int:
        """Clear the history; how many jobs it held. Their rows and stories stay in the journal."""
        return self._journal.clear()

    # --- snapshots ----------------------------------------------------------------------------------------------------

    def job(self, job_id: JobId) -> Job:
        """A job by number, ended or not. Raises `NotFound`."""
        return self._register.job(job_id)

    def alive(self) -> list[Job]:
        """Every job that has not ended, oldest first."""
        return self._register.alive()

    def leased(self) -> list[Job]:
        """The jobs whose lease is in force: few, however long the queue is."""
        return self._register.leased()

    def decide(self, capacity: Capacity, stopped: Reason | None = None) -> Decision:
        """Who is to start now; how everybody else stands is kept for those who ask. Changes nothing else.

        `stopped`: the caller's own obstacle, such as an absent engine.
        """
        with self._lock:
            return self._dispatch.decide(capacity, self._stoppage.obstacle() or stopped, self._clock.now())

    def foresee(self, most: int) -> list[Job]:
        """Waiting jobs as they would be begun when one that occupies the node leaves it; at most so many.

        Nothing is promised by it: it holds as long as nothing else happens. A job is in it once for each set of GPUs
        that it might get.
        """
        with self._lock:
            if self._stoppage.obstacle():
                return []
            now = self._clock.now()
            return [self._as_begun(start, now) for start in self._dispatch.foresee(most, now)]

    def situation(self) -> tuple[Situation, RunTimes] | None:
        """What a forecast goes by, as of the newest decision; None before the first. A copy, cheap to make."""
        with self._lock:
            return self._dispatch.situation(self._stoppage.obstacle(), self._clock.now())

    def tell_forecast(self, forecast: Forecast) -> None:
        """Take over when waiting jobs will start, for all who ask; replaces what was told before."""
        with self._lock:
            self._dispatch.tell_forecast(forecast)

    def explain(self, job_id: JobId) -> Plain:
        """Why a job stands where it does: the reason, what it names, and what its user's place in the order is made of.

        Raises:
            NotFound: there is no such job.
        """
        job = self.job(job_id)
        described = self.describe([job])[0]
        with self._lock:
            cause = self._dispatch.why(job_id)
            terms = self._dispatch.terms(job.user, self._clock.now())
        return explanation_to_wire(described, cause, self._waits_for(job), self._settings.policy, terms)

    def penalties(self) -> dict[UserName, float]:
        """Each user's penalty now, running jobs counted live."""
        weights = self._weights()
        with self._lock:
            return self._register.ledger.penalties(weights, self._clock.now())

    def queue_lock(self) -> QueueLock | None:
        """The lock that is in force now."""
        return self._stoppage.queue_lock

    def story(self, job_id: JobId) -> list[Event]:
        """Everything that happened to a job, in order."""
        return self._journal.story(job_id)

    def find(self, text: str, user: UserName) -> Job:
        """The job meant by a number, a name of which there is one, `@` (my newest) or `@~N` (N before that).

        Raises:
            NotFound: nothing matches, or a name matches several jobs that have not ended.
        """
        match reference.parse(text):
            case reference.Number(job):
                return self.job(job)
            case reference.Newest(skip):
                newest = self._journal.newest(user, skip)
                if newest is None:
                    raise NotFound(f"You have no job that {text} could mean.", "`dopq-client history` lists yours.")
                return newest
            case reference.Name(name):
                return reference.of_that_name(name, self._journal.named(name, user), user)

    def unpublished(self) -> list[Job]:
        """Every job that changed since `mark_published`, in the order of its last change."""
        return self._journal.changed_since(int(self._journal.noted("published") or 0))

    def mark_published(self, seq: int) -> None:
        """Remember that the share tells everything up to journal entry `seq`."""
        self._journal.note("published", str(seq))

    # --- snapshots as plain data (names kept from DoPQ 1.0) -----------------------------------------------------------

    def describe(self, jobs: Iterable[Job]) -> list[Plain]:
        """Jobs as the contract spells them."""
        jobs = list(jobs)
        now, penalties = self._clock.now(), self.penalties()
        with self._lock:  # only as long as it takes to place those who wait: a long history is told without it
            places = self._dispatch.places(jobs, now)
        return [
            job_to_wire(
                job,
                node=self._node,
                now=now,
                place=places.get(job.id),
                penalty=penalties.get(job.user, 0.0),
                slots_per_gpu=self._slots_per_gpu,
            )
            for job in jobs
        ]

    def get_running_info(self) -> list[Plain]:
        """Jobs that occupy the node: starting, running or stopping."""
        return self.describe(job for job in self.alive() if isinstance(job.state, Occupying))

    def get_enqueued_container_list(self, limit: int = 1000) -> list[Plain]:
        """The first jobs before their start, in queue order; those that have no image yet come last."""
        with self._lock:
            in_line = self._dispatch.first(limit)
            waiting = [job for job in self._register.alive() if isinstance(job.state, Building | Held | Queued)]
        place = {job_id: number for number, job_id in enumerate(in_line)}
        waiting.sort(key=lambda job: (place.get(job.id, limit), not isinstance(job.state, Queued), job.id))
        return self.describe(waiting[:limit])

    def get_completed_containers_info(self, limit: int, user: UserName | None = None) -> list[Plain]:
        """The history, the last to end first."""
        return self.describe(self._journal.ended(limit, user))

    def get_user_statistics(self) -> list[Plain]:
        """Usage, penalty and number of jobs of every registered user."""
        counts, penalties = self._journal.counts(), self.penalties()
        with self._lock:
            usage = self._register.ledger.usage(self._clock.now())
            pairs = {(job.user, gpu) for job in self._register.leased() for gpu in gpus_held(job.state)}
        held = Counter(user for user, _ in pairs)
        return [
            {
                "user": str(user.name),
                "role": str(user.role),
                "weight": user.weight,
                "penalty": penalties.get(user.name, 0.0),
                "usage_gpu_seconds": usage.get(user.name, 0.0),
                "gpus_held": held[user.name],
                "jobs": {str(state): counts.get((user.name, state), 0) for state in StateName},
            }
            for user in self._users.all()
        ]

    def get_dopq_status(self) -> Plain:
        """The queue as a whole."""
        states = Counter(job.state.name for job in self.alive())
        lock, drain = self._stoppage.queue_lock, self._stoppage.draining
        return {
            "node": self._node,
            "jobs": {str(state): count for state, count in sorted(states.items())},
            "draining": drain is not None,
            "drain": drain.to_wire() if drain else None,
            "lock": lock.to_wire() if lock else None,
        }

    # --- invariants ---------------------------------------------------------------------------------------------------

    def assert_consistent(self) -> None:
        """Raise `InvariantBroken` unless memory says what the journal says and no GPU is held twice."""
        self._register.assert_consistent()

    # --- inside -------------------------------------------------------------------------------------------------------

    def _as_begun(self, start: Start, now: datetime) -> Job:
        job = self._register.live(start.job)
        part, rate = self._dispatch.part_and_rate(job, start.gpus)
        return replace(job, state=lifecycle.begun(job, start.gpus, part, rate, now))

    def _others(self, job: Job, text: str) -> Job:
        """Another job of a job's user, by number or name. Raises `NotFound`."""
        match reference.parse(text):
            case reference.Number(number) if self.job(number).user == job.user:
                return self.job(number)
            case reference.Name(name):
                named = [it for it in self._journal.named(name, job.user) if it.user == job.user and it.id != job.id]
                return reference.of_that_name(name, named, job.user)
            case _:
                raise NotFound(f"{text} is no job of {job.user}.")

    def _waits_for(self, job: Job) -> list[JobId]:
        """The jobs that a queued job is to run after, as far as they have not ended."""
        after = job.state.work.after if isinstance(job.state, Queued) else ()
        return [it.job for it in after if not isinstance(self.job(it.job).state, Ended)]

    def _weights(self) -> dict[UserName, float]:
        return {user.name: user.weight for user in self._users.all()}
