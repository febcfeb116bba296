"""The journal against what others have seen: what it acknowledged, and what ran."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from dopq.invariants.evidence import Evidence, Finding, Run
from dopq.job import Ended, StateName


def lost_jobs(evidence: Evidence) -> Iterator[Finding]:
    """Every job that was acknowledged is in the journal."""
    known = {job.id for job in evidence.jobs}
    for number in sorted(evidence.told.keys() - known):
        yield Finding("lost", number, f"{evidence.told[number]} tells of it, and the journal does not know it.")


def unrecorded_starts(evidence: Evidence) -> Iterator[Finding]:
    """Every process that started was an attempt of its own, which the journal had decided on."""
    recorded = _attempts(evidence)
    for run, times in sorted(Counter(evidence.witnessed or ()).items()):
        if run not in recorded:
            yield Finding("unrecorded_start", run.job, f"Attempt {run.attempt} ran, and was never decided on.")
        if times > 1:
            yield Finding("ran_twice", run.job, f"Attempt {run.attempt} started {times} times.")


def unseen_starts(evidence: Evidence) -> Iterator[Finding]:
    """Every job that has succeeded did run."""
    if evidence.witnessed is None:
        return
    seen = set(evidence.witnessed)
    for job in evidence.jobs:
        if isinstance(job.state, Ended) and job.state.outcome is StateName.SUCCEEDED and job.state.lease:
            run = Run(job.id, job.state.lease.attempt)
            if run not in seen:
                yield Finding("unseen_start", job.id, f"Attempt {run.attempt} succeeded, and nobody saw it start.")


def _attempts(evidence: Evidence) -> set[Run]:
    """Each attempt that was decided on: the Nth start of a job in its story is its attempt N."""
    started, attempts = Counter[int](), set[Run]()
    for event in evidence.events:
        if event.new is StateName.STARTING:
            started[event.job] += 1
            attempts.add(Run(event.job, started[event.job]))
    return attempts
