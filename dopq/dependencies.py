"""Jobs that are to run after others: which ones these are, what is still waited for, and when that is in vain.

Pure. A dependency is found once, when the job's image stands; from then on it is a number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from dopq.errors import NotFound
from dopq.job import After, Dependency, Ended, Job, JobId, Problem, Reason, StateName, finished_at, work_of

Find = Callable[[str], Job]
"""The job of the same user that a number or a name means. Raises `NotFound`."""

Look = Callable[[JobId], Job]
"""A job as it is now."""


def resolve(job: Job, wanted: Iterable[After], find: Find, look: Look) -> tuple[tuple[Dependency, ...], list[Problem]]:
    """What `job` waits for by what its spec says, and everything that is wrong with that."""
    found, problems = [], []
    for after in wanted:
        try:
            other = find(after.job)
        except NotFound as unknown:
            problems.append(_problem(unknown.message.rstrip("."), "Hand that one in first, and say it by its number."))
            continue
        if other.id == job.id or _waits_for(other, job.id, look):
            what = "this is the job itself" if other.id == job.id else f"job {other.id} itself waits for this one"
            problems.append(_problem(what, "Leave one of the two out."))
        found.append(Dependency(other.id, after.however))
    return tuple(dict.fromkeys(found)), problems


def aside(after: Iterable[Dependency], look: Look) -> Reason | None:
    """Why a job may not start yet; None once all that it is to run after have ended."""
    waits = [it for it in after if not isinstance(look(it.job).state, Ended)]
    told = " and ".join(f"job {it.job} ({look(it.job).name}) to {'end' if it.however else 'succeed'}" for it in waits)
    return Reason("waits_for_job", f"Waits for {told}.") if waits else None


def in_vain(after: Iterable[Dependency], look: Look) -> Reason | None:
    """Why a job can never start: one that was to succeed before it has not."""
    for it in after:
        other = look(it.job)
        if not it.however and isinstance(other.state, Ended) and other.state.outcome is not StateName.SUCCEEDED:
            sentence = f"It was to run after job {it.job} ({other.name}) had succeeded; that one is {other.state.name}."
            return Reason("dependency_failed", sentence)
    return None


def since(queued_at: datetime, after: Iterable[Dependency], look: Look) -> datetime:
    """From when on a job waits for its turn: not before the last of those that it is to run after has ended."""
    ends = (finished_at(look(it.job).state) for it in after)
    return max([queued_at, *(end for end in ends if end)])


def _waits_for(job: Job, target: JobId, look: Look) -> bool:
    """Whether `job` cannot run before `target`, directly or by way of others."""
    seen, to_see = set[JobId](), [job]
    while to_see:
        work = work_of(to_see.pop().state)
        new = {it.job for it in work.after} - seen if work else set[JobId]()
        if target in new:
            return True
        seen |= new
        to_see += [other for other in map(look, new) if not isinstance(other.state, Ended)]
    return False


def _problem(what: str, instead: str) -> Problem:
    return Problem("job.toml: after", what[:1].lower() + what[1:], instead)
