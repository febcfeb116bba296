"""What must be so, whatever died: the invariants of a node, and a look at whether they hold. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from dopq.invariants.evidence import Evidence, Finding
from dopq.invariants.leases import containers_without_lease, gpus_held_twice, leases_without_container
from dopq.invariants.stories import gaps, illegal_changes, second_ends, unlike_their_stories
from dopq.invariants.usage import miscounted_usage
from dopq.invariants.witnesses import lost_jobs, unrecorded_starts, unseen_starts

INVARIANTS: tuple[Callable[[Evidence], Iterable[Finding]], ...] = (
    lost_jobs,
    gaps,
    illegal_changes,
    second_ends,
    unlike_their_stories,
    gpus_held_twice,
    leases_without_container,
    containers_without_lease,
    unrecorded_starts,
    unseen_starts,
    miscounted_usage,
)


def check(evidence: Evidence) -> list[Finding]:
    """All that is not as it must be; empty where everything is."""
    return [finding for invariant in INVARIANTS for finding in invariant(evidence)]
