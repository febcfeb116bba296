"""Jobs: how they stand, why they wait, and what is to become of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Self, TypeVar, cast

from dopq_client.client.desk import Desk, Reference
from dopq_client.patience import PatientLink
from dopq_client.shapes import Explanation, JobInfo, JobsPage
from dopq_client.waiting import POLL_S, newest, wait

Seen = TypeVar("Seen")


class Jobs(Desk):
    """Looking at jobs, waiting for them, and changing what becomes of them."""

    def jobs(self) -> list[JobInfo]:
        """Everybody's jobs that have not ended: those that run first, then the queue in its order."""
        running = cast("list[JobInfo]", self._link.call("get_running_containers_info"))
        return running + cast("list[JobInfo]", self._link.call("get_enqueued_containers_info"))

    def page(
        self,
        *,
        limit: int = 50,
        skip: int = 0,
        mine: bool = False,
        user: str | None = None,
        states: Iterable[str] = (),
    ) -> JobsPage:
        """At most `limit` (1 to 10,000) of the jobs that have not ended, after the first `skip`, as `jobs` sorts them.

        Args:
            mine: only your own.
            user: only theirs.
            states: only those in one of these; none for any.
        """
        return cast("JobsPage", self._link.call("get_jobs", limit, skip, mine, user, list(states)))

    def explain(self, reference: Reference) -> Explanation:
        """Why a job waits, for whom and until when, and what the order of the users is made of. Raises `NotFound`."""
        return cast("Explanation", self._link.call("get_explanation", str(reference)))

    def history(
        self,
        *,
        mine: bool = False,
        limit: int = 100,
        user: str | None = None,
        states: Iterable[str] = (),
        since: datetime | None = None,
    ) -> list[JobInfo]:
        """Ended jobs, the last to end first: at most `limit` (1 to 10,000).

        Args:
            mine: only your own.
            user: only theirs.
            states: only those that are in one of these; none for any.
            since: only those that ended then or later; a time with its zone.
        """
        from_then = since.isoformat() if since else None
        answer = self._link.call("get_containers_history_info", limit, mine, user, list(states), from_then)
        return cast("list[JobInfo]", answer)

    def watch(self, look: Callable[[Self], Seen]) -> Iterator[Seen]:
        """What `look` sees with the client that it is given: at first, when a job has changed, and every five seconds.

        A restart of the node in between is waited for, up to a minute.
        """
        link = PatientLink(self._link)
        patient, seq = type(self)(link), newest(link, 0, 0.0)
        while True:
            yield look(patient)
            seq = newest(link, seq, POLL_S)

    def cancel(self, reference: Reference) -> JobInfo:
        """Cancel one of your jobs. One that runs is `stopping` first. Raises `NotFound`, `NotAllowed`, `WrongState`."""
        return cast("JobInfo", self._link.call("cancel_job", self._number(reference)))

    def hold(self, reference: Reference) -> JobInfo:
        """Keep one of your jobs out of the queue until you release it. Raises as `cancel` does."""
        return cast("JobInfo", self._link.call("hold_job", self._number(reference)))

    def release(self, reference: Reference) -> JobInfo:
        """Let a held job go on. One that an admin holds takes an admin: `NotAllowed`. Else raises as `cancel` does."""
        return cast("JobInfo", self._link.call("release_job", self._number(reference)))

    def wait(
        self,
        references: Iterable[Reference],
        timeout_s: float | None = None,
        *,
        any_of: bool = False,
        on_change: Callable[[JobInfo], None] | None = None,
    ) -> list[JobInfo]:
        """Wait until all of the jobs (`any_of`: one of them) have ended, and return all of them as they are then.

        What those have left can be read then, unless the share is away.
        A restart of the node in between is waited for, up to a minute.

        Args:
            timeout_s: give up after so many seconds; None waits for as long as it takes.
            on_change: is told of every job at first, and again whenever its state is another one.

        Raises:
            WaitTimedOut: the time ran out. The jobs go on.
        """
        return wait(self._link, references, timeout_s, any_of=any_of, on_change=on_change)
