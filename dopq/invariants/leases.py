"""Leases: no part of a GPU is held twice, and each goes with a container."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from dopq.invariants.evidence import Evidence, Finding, Run
from dopq.job import Ended, GpuId, Job, JobId, Lease, Occupying, StateName, lease_of
from dopq.room import ROUNDING

GRACE = timedelta(seconds=60)
"""So long an engine may take to make a container, or to remove one, before it counts as missing or left behind."""

_OCCUPYING = {StateName.STARTING, StateName.RUNNING, StateName.STOPPING}


def gpus_held_twice(evidence: Evidence) -> Iterator[Finding]:
    """At no moment do the leases of a GPU add up to more than all of it.

    Moments are entries of the journal, not times: no step of a clock hides an overlap, or makes one.
    """
    held: dict[JobId, Lease] = {}
    known = {job.id: lease for job in evidence.jobs if (lease := _last_lease(job))}
    for event in evidence.events:
        if event.new not in _OCCUPYING or (event.lease and event.lease.ended_at):
            held.pop(event.job, None)
        elif event.new is StateName.STARTING and (lease := event.lease or known.get(event.job)):
            for gpu in sorted(lease.gpus):
                others = [job for job, other in held.items() if gpu in other.gpus and job != event.job]
                if lease.part + sum(held[job].part for job in others) > 1.0 + ROUNDING:
                    yield Finding("held_twice", event.job, _overlap(gpu, others, event.seq))
            held[event.job] = lease


def leases_without_container(evidence: Evidence) -> Iterator[Finding]:
    """Each job with a lease in force has its container, a minute after it was told to start at the latest."""
    if evidence.containers is None:
        return
    for job in evidence.jobs:
        lease = lease_of(job.state)
        if lease and lease.since + GRACE < evidence.now and Run(job.id, lease.attempt) not in evidence.containers:
            yield Finding(
                "no_container", job.id, f"It is {job.state.name}, and attempt {lease.attempt} has no container."
            )


def containers_without_lease(evidence: Evidence) -> Iterator[Finding]:
    """Each container belongs to an attempt that has not ended, or did a minute ago.

    The lease of that attempt may be over: then the container is kept for what the engine has still to tell of it.
    """
    changed = _changed(evidence)
    attempts = {Run(job.id, job.state.lease.attempt) for job in evidence.jobs if isinstance(job.state, Occupying)}
    for run in sorted(set(evidence.containers or ()) - attempts):
        at = changed.get(run.job)
        if at is None or at + GRACE < evidence.now:
            yield Finding("no_lease", run.job, f"The container of attempt {run.attempt} is there, and has no lease.")


def _changed(evidence: Evidence) -> dict[JobId, datetime]:
    return {event.job: event.at for event in evidence.events}


def _last_lease(job: Job) -> Lease | None:
    return job.state.lease if isinstance(job.state, Ended | Occupying) else None


def _overlap(gpu: GpuId, others: list[JobId], seq: int) -> str:
    return f"It was given {gpu} in entry {seq}, which was held by job {', '.join(map(str, others))}."
