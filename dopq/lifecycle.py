"""The life of a job: from where it stands and what happens to it, to where it stands then.

Pure: no clock, no I/O. The owner of the truth (data_platform.py) asks here what follows, and the register writes it
down. A state that is returned as it came means that there is nothing to do: asking twice is fine. docs/states.md draws
all of it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from dopq.errors import InvariantBroken, WrongState
from dopq.job import (
    ARROWS,
    Actor,
    Building,
    Ended,
    GpuId,
    Held,
    Job,
    Lease,
    Occupying,
    Outcome,
    Queued,
    Reason,
    ResourceUse,
    Retry,
    Running,
    Starting,
    State,
    StateName,
    Stopping,
    Work,
    is_our_fault,
    work_of,
)

FIRST_PAUSE_S = 30
"""Seconds after which a job is tried again for the first time; each pause is twice the one before."""


def check_arrow(job: Job, state: State, actor: Actor) -> None:
    """Raise `WrongState` unless `actor` may take `job` to `state`."""
    if actor not in ARROWS.get((job.state.name, state.name), frozenset()):
        raise WrongState(f"Job {job.id} is {job.state.name}; it cannot become {state.name} by the {actor}.")


def built(job: Job, work: Work) -> Queued | Held:
    """Its image stands: it waits for its turn, unless somebody has put it on hold meanwhile."""
    if isinstance(job.state, Held) and not job.state.awaits_space and job.state.work is None:
        return replace(job.state, work=work)
    return Queued(work)


def held(job: Job, reason: Reason, now: datetime) -> Held:
    """Somebody wants it kept back for `reason`. One that an admin holds stays as it is."""
    match job.state:
        case Held(reason=known):
            return job.state if known.code in {reason.code, "held_by_admin"} else replace(job.state, reason=reason)
        case Building() | Queued():
            return Held(reason, now, work_of(job.state))
        case _:
            sentence = f"Job {job.id} is {job.state.name}; only a job that has not started can be held."
            raise WrongState(sentence, "`dopq-client cancel` ends one that runs.")


def released(job: Job, now: datetime) -> Building | Queued:
    """Nobody wants it kept back any more. The time for which it was held does not count as waiting."""
    match job.state:
        case Held(since=since, work=Work() as work):
            held_for = max(timedelta(), now - max(since, work.queued_at))
            return Queued(replace(work, queued_at=work.queued_at + held_for))
        case Held() if job.state.awaits_space:
            raise WrongState(f"Job {job.id} is held for want of space.", "It goes on by itself when there is some.")
        case Held():
            return Building()
        case Building() | Queued():
            return job.state
        case _:
            raise WrongState(f"Job {job.id} is {job.state.name}, not held.")


def again(job: Job, now: datetime) -> Queued:
    """What a new job is that runs the image of `job`, which has ended, once more."""
    work = work_of(job.state)
    if not isinstance(job.state, Ended):
        raise WrongState(f"Job {job.id} is {job.state.name}; only one that has ended can be run again.", "Wait for it.")
    if work is None:
        raise WrongState(f"Job {job.id} ended before it had an image.", "Hand its bundle in again.")
    if work.has_input:
        raise WrongState(f"The input of job {job.id} was removed when it ended.", "Hand its bundle in again.")
    return Queued(replace(work, queued_at=now, after=(), retry=None))


def begun(job: Job, gpus: frozenset[GpuId], part: float, rate: float, now: datetime) -> Starting:
    """It was chosen, and given `part` of these GPUs, charged at `rate`.

    Raises:
        WrongState: it has left the queue since.
    """
    if not isinstance(job.state, Queued):
        raise WrongState(f"Job {job.id} is {job.state.name}, not queued.")
    work = job.state.work
    return Starting(work, Lease(work.retry.failed + 1 if work.retry else 1, gpus, now, rate, part))


def tried_again(job: Job, reason: Reason, now: datetime) -> Queued | None:
    """Its attempt ended for `reason`, and it is to be tried again after a while; None where it is not."""
    match job.state:
        case Stopping(becomes=becomes) if becomes is not StateName.FAILED:
            return None  # somebody wants it ended, whatever it ended for
        case Starting(work, lease) | Running(work, lease) | Stopping(work, lease) if is_our_fault(reason):
            if lease.attempt <= work.spec.retries:
                pause_s = FIRST_PAUSE_S * 2 ** (lease.attempt - 1)
                return Queued(replace(work, retry=Retry(lease.attempt, reason, now + timedelta(seconds=pause_s))))
    return None


def process_runs(job: Job, started_at: datetime) -> Running | Stopping:
    """Its process runs. One that was asked to stop meanwhile stays `stopping`."""
    match job.state:
        case Starting(work, lease):
            return Running(work, lease, started_at)
        case Running() | Stopping():
            return job.state
        case _:
            raise WrongState(f"Job {job.id} is {job.state.name}; it cannot be running.")


def process_gone(job: Job, attempt: int, now: datetime) -> State:
    """No process of that attempt is left: its lease ends, whatever the engine will tell of how.

    What has no lease of that attempt in force stays as it is.
    """
    match job.state:
        case Running(lease=lease) | Stopping(lease=lease) if lease.attempt == attempt and lease.ended_at is None:
            return replace(job.state, lease=replace(lease, ended_at=max(now, lease.since)))
        case _:
            return job.state


def asked_to_stop(job: Job, becomes: StateName, reason: Reason, now: datetime) -> Stopping:
    """Somebody wants its container to end; `becomes` is what it is then.

    The first who asked counts; but one that is to fail may be tried again, so that a user's word still counts. So it
    does of one whose process is gone, though there is nothing left to stop.
    """
    if becomes not in (StateName.CANCELLED, StateName.TIMED_OUT, StateName.FAILED):
        raise InvariantBroken(f"A stopped job does not become {becomes}.")
    match job.state:
        case Starting(work, lease):
            return Stopping(work, lease, None, becomes, reason, now)
        case Running(lease=lease) if lease.ended_at and becomes is not StateName.CANCELLED:
            raise WrongState(f"The process of job {job.id} is gone; there is nothing to stop.")
        case Running(work, lease, started):
            return Stopping(work, lease, started, becomes, reason, now)
        case Stopping(becomes=StateName.FAILED) if becomes is StateName.CANCELLED:
            return replace(job.state, becomes=becomes, reason=reason)
        case Stopping():
            return job.state
        case _:
            raise WrongState(f"Job {job.id} is {job.state.name}; it has no container to stop.")


def warned(job: Job, warning: Reason | None) -> State:
    """Something is odd about a running job, or (None) nothing any more. Others have no warning and stay as they are."""
    if isinstance(job.state, Running) and job.state.warning != warning:
        return replace(job.state, warning=warning)
    return job.state


def cancelled(job: Job, reason: Reason, now: datetime) -> Stopping | Ended:
    """Its user wants it no more: it ends at once where it has no container, else that has to stop first."""
    match job.state:
        case Building() | Held() | Queued():
            return Ended(StateName.CANCELLED, now, reason, work=work_of(job.state))
        case Starting() | Running() | Stopping():
            return asked_to_stop(job, StateName.CANCELLED, reason, now)
        case Ended(outcome=StateName.CANCELLED):
            return job.state
        case Ended(outcome=outcome):
            raise WrongState(f"Job {job.id} has ended already: {outcome}.", "There is nothing left to cancel.")


def finished(
    job: Job,
    outcome: Outcome,
    reason: Reason,
    *,
    at: datetime,
    now: datetime,
    exit_code: int | None,
    started_at: datetime | None,
    use: ResourceUse | None,
) -> Ended:
    """Its container is over. `at` is the engine's time, and is kept between the lease's begin and now."""
    if not isinstance(job.state, Occupying):
        raise WrongState(f"Job {job.id} is {job.state.name}; it has no run to finish.")
    lease = job.state.lease
    return Ended(
        outcome,
        at=min(max(at, lease.since), max(now, lease.since)),
        reason=reason,
        exit_code=exit_code,
        work=work_of(job.state),
        lease=lease,
        started_at=started_at,
        use=use or ResourceUse(),
    )
