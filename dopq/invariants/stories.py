"""The journal against itself: no line is missing, every change was legal, and the table is what the stories tell."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from operator import attrgetter

from dopq.invariants.evidence import Evidence, Finding
from dopq.job import ARROWS, FINAL, Ended, Job, JobId, Lease, Occupying, StateName
from dopq.store import Event

_BIRTH = {StateName.BUILDING, StateName.QUEUED}  # from a bundle, or from the image of another job


def gaps(evidence: Evidence) -> Iterator[Finding]:
    """The lines of the journal are numbered from 1 on, without a gap."""
    expected = 1
    for event in evidence.events:
        if event.seq != expected:
            yield Finding("gap", event.job, f"After entry {expected - 1} of the journal comes entry {event.seq}.")
        expected = event.seq + 1


def illegal_changes(evidence: Evidence) -> Iterator[Finding]:
    """Every change begins where the one before it ended, and is one that its actor may make."""
    for job, story in _stories(evidence):
        before: StateName | None = None
        for event in story:
            if event.old != before:
                yield Finding(
                    "illegal_change", job, f"Entry {event.seq} changes it from {event.old}, but it was {before}."
                )
            elif not _is_legal(event):
                yield Finding(
                    "illegal_change",
                    job,
                    f"Entry {event.seq}: the {event.actor} may not change it from {event.old} to {event.new}.",
                )
            before = event.new


def second_ends(evidence: Evidence) -> Iterator[Finding]:
    """A job ends once at most."""
    for job, story in _stories(evidence):
        ends = [event for event in story if event.new in FINAL]
        if len(ends) > 1:
            told = ", ".join(f"{event.new} in entry {event.seq}" for event in ends)
            yield Finding("second_end", job, f"It ended {len(ends)} times: {told}.")


def unlike_their_stories(evidence: Evidence) -> Iterator[Finding]:
    """Each row of the table is what the replay of its story gives."""
    last = {job: story[-1] for job, story in _stories(evidence)}
    leases = {event.job: event.lease for event in evidence.events if event.lease}
    rows = {job.id: job for job in evidence.jobs}
    for number in sorted(rows.keys() | last.keys()):
        job, event = rows.get(number), last.get(number)
        if job is None or event is None:
            missing = "row in the table" if job is None else "story"
            yield Finding("unlike_its_story", number, f"It has no {missing}.")
        elif (job.state.name, job.seq) != (event.new, event.seq):
            sentence = f"It is {job.state.name} as of entry {job.seq}, its story ends with {event.new}, {event.seq}."
            yield Finding("unlike_its_story", number, sentence)
        elif (lease := _lease(job)) and leases.get(number, lease) != lease:
            yield Finding("unlike_its_story", number, "It has another lease than the one that its story tells of.")


def _lease(job: Job) -> Lease | None:
    """What its last attempt was given, as far as the table tells."""
    return job.state.lease if isinstance(job.state, Ended | Occupying) else None


def _is_legal(event: Event) -> bool:
    if event.old is None:
        return event.new in _BIRTH
    return event.actor in ARROWS.get((event.old, event.new), frozenset())


def _stories(evidence: Evidence) -> list[tuple[JobId, list[Event]]]:
    in_turn = sorted(evidence.events, key=lambda event: (event.job, event.seq))
    return [(job, list(story)) for job, story in groupby(in_turn, attrgetter("job"))]
