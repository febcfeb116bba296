"""Whether jobs die on this node as soon as they start, whoever they belong to. Pure.

One user's jobs may all have the same mistake in them. Where jobs of several users die in their first seconds, one after
the other, it is the node that is broken, and it would go through the whole queue in a minute.
"""

from __future__ import annotations

from dopq.job import Ended, Job, JobId, Queued, StateName, UserName

EARLY_S = 10.0
"""A job that fails within so many seconds of its start has failed early."""

USERS = 2
"""So many users have to be hit."""


class EarlyFailures:
    """The early failures since a job last did better. Not thread-safe.

    Args:
        most: so many in a row are too many; 0: any number is fine.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._failed: dict[tuple[JobId, int], UserName] = {}  # by attempt, the oldest first

    def note(self, job: Job) -> None:
        """A job has changed. What is no end of an attempt, or was ended by somebody, says nothing."""
        match job.state:
            case Queued(work=work) if work.retry and work.retry.reason.code == "start_failed":
                self._failed[job.id, work.retry.failed] = job.user
            case Ended(outcome=StateName.FAILED | StateName.LOST, lease=lease) as state if lease and _is_early(state):
                self._failed[job.id, lease.attempt] = job.user
            case Ended(outcome=outcome, lease=lease) if lease and outcome is not StateName.CANCELLED:
                self.forget()

    @property
    def too_many(self) -> str | None:
        """What happened, in words, where it was too much; else None."""
        jobs, users = [job for job, _ in self._failed], set(self._failed.values())
        if not self._most or len(self._failed) < self._most or len(users) < USERS:
            return None
        named = ", ".join(str(job) for job in jobs[-self._most :])
        return f"the last {len(jobs)} jobs of {len(users)} users died within {EARLY_S:g} s of their start ({named})"

    def forget(self) -> None:
        """Begin to count anew."""
        self._failed.clear()


def _is_early(state: Ended) -> bool:
    return state.started_at is None or (state.at - state.started_at).total_seconds() < EARLY_S
