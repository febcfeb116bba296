"""Jobs as the queue model sees them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from dopq.job import Job, Lease, Queued, Work, lease_of, work_of
from dopq.lines import Waiting
from dopq.reservation import Holding
from dopq.room import ROUNDING, Demand


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a job gets that names nothing.

    Attributes:
        time_limit_s: seconds that it may run.
        memory_bytes: main memory that it is limited to; 0 for no limit.
        grace_s: seconds that any job may take to stop once its time is over.
        slots_per_gpu: slots that a whole GPU has.
    """

    time_limit_s: float
    memory_bytes: int = 0
    grace_s: float = 0.0
    slots_per_gpu: int = 1


def demand_of(work: Work, defaults: Defaults) -> Demand:
    """What a job asks for, and gets."""
    spec = work.spec
    gpus, slots = (0, spec.slots) if spec.slots else (spec.gpus, 0)
    return Demand(gpus, slots, spec.cpus or 0.0, spec.memory_bytes or defaults.memory_bytes)


def waiting(job: Job, defaults: Defaults) -> Waiting | None:
    """A job that waits for its turn; None for any other."""
    return _waiting(job, job.state.work, defaults) if isinstance(job.state, Queued) else None


def holding(job: Job, defaults: Defaults) -> Holding | None:
    """A job that occupies the node; None for any other."""
    lease, work = lease_of(job.state), work_of(job.state)
    if lease is None or work is None:
        return None
    limit_s = (work.spec.time_limit_s or defaults.time_limit_s) + defaults.grace_s
    return Holding(job.id, job.user, _occupied(work, lease, defaults), lease.gpus, lease.since.timestamp(), limit_s)


def _occupied(work: Work, lease: Lease, defaults: Defaults) -> Demand:
    """What its lease gave it, in slots of today's size; rounded up, since no slot may be given to two."""
    demand = demand_of(work, defaults)
    return demand._replace(slots=ceil(lease.part * defaults.slots_per_gpu - ROUNDING)) if demand.slots else demand


def as_waiting(job: Job, defaults: Defaults) -> Waiting | None:
    """A job with an image as it stood, or stands, in the queue: what is expected of its run goes by that."""
    work = work_of(job.state)
    return _waiting(job, work, defaults) if work else None


def _waiting(job: Job, work: Work, defaults: Defaults) -> Waiting:
    spec = work.spec
    limit_s = spec.time_limit_s or defaults.time_limit_s
    queued_at_s = work.queued_at.timestamp()
    return Waiting(job.id, job.user, demand_of(work, defaults), spec.priority, queued_at_s, limit_s, job.name)
