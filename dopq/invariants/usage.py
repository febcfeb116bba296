"""What users owe is the sum of what their jobs held."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime

from dopq.invariants.evidence import Evidence, Finding
from dopq.job import Ended, Job, Lease, Occupying, UserName, is_our_fault
from dopq.penalty import Account

TOLERANCE_S = 1.0
"""GPU-seconds by which rounding, and steps of the clock that a time server makes, may move an account."""


def miscounted_usage(evidence: Evidence) -> Iterator[Finding]:
    """Each account is what the intervals of its user's leases add up to, faded by the half-life of now."""
    expected = _summed(evidence)
    for user, used in evidence.ledger.usage(evidence.now).items():
        due = expected.pop(user, 0.0)
        if not math.isclose(used, due, rel_tol=1e-3, abs_tol=TOLERANCE_S):
            yield _miscounted(user, used, due)
    yield from (_miscounted(user, 0.0, due) for user, due in expected.items() if due > TOLERANCE_S)


def _summed(evidence: Evidence) -> dict[UserName, float]:
    """Each user's usage, from the leases alone."""
    sums: dict[UserName, float] = {}
    for job in evidence.jobs:
        if lease := _charged(job):
            rate, since = evidence.ledger.rate_of(lease), lease.since.timestamp()
            until = _until(job, lease, evidence.now).timestamp()
            used = evidence.ledger.faded(Account(0.0, since, rate), until)
            sums[job.user] = sums.get(job.user, 0.0) + evidence.ledger.faded(
                Account(used, until), evidence.now.timestamp()
            )
    return sums


def _until(job: Job, lease: Lease, now: datetime) -> datetime:
    """When what is charged for a lease ended, or now."""
    return lease.ended_at or (job.state.at if isinstance(job.state, Ended) else now)


def _charged(job: Job) -> Lease | None:
    """The lease that is charged: none for an attempt that failed by a fault of ours."""
    if isinstance(job.state, Ended):
        return None if is_our_fault(job.state.reason) else job.state.lease
    return job.state.lease if isinstance(job.state, Occupying) else None


def _miscounted(user: UserName, used: float, due: float) -> Finding:
    return Finding(
        "miscounted",
        None,
        f"{user} owes {used:.1f} GPU-seconds, and the leases add up to {due:.1f}. "
        "That is no defect where queue.half_life_s was changed, or the clock set, while they ran.",
    )
