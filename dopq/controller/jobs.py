"""One's jobs: how they stand, why they wait, and what is to become of them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dopq.access import Access, Whose, remote
from dopq.controller.arguments import Reference, Wait
from dopq.controller.desk import Desk, told
from dopq.users import User
from dopq.wire import Plain, time_to_wire


class Jobs(Desk):
    """Calls about jobs."""

    __slots__ = ()

    @remote(Access.USER, Whose.EVERYBODYS)
    def get_job(self, caller: User, reference: Reference) -> Plain:
        """One job, by number, name, `@` (my newest) or `@~N`; of somebody else's only what all may see."""
        return self.one(caller, self.platform.find(reference, caller.name))

    @remote(Access.USER, Whose.OWN)
    def get_explanation(self, caller: User, reference: Reference) -> Plain:
        """Why one of the caller's jobs waits, for whom and until when, and what the order of the users is made of."""
        return self.platform.explain(self.own(caller, reference).id)

    @remote(Access.USER, Whose.OWN)
    def get_job_story(self, caller: User, reference: Reference) -> list[Plain]:
        """Everything that happened to one of the caller's jobs: time, from, to, who, cause."""
        return [
            {
                "at": time_to_wire(event.at),
                "old": str(event.old) if event.old else None,
                "new": str(event.new),
                "actor": str(event.actor),
                "cause": event.cause,
            }
            for event in self.platform.story(self.own(caller, reference).id)
        ]

    @remote(Access.USER)
    def wait_for_change(self, caller: User, after_seq: int, wait_s: Wait) -> int:  # noqa: ARG002 - a number, no content
        """Wait until any job has changed since journal entry `after_seq`, at most `wait_s`; the newest entry."""
        return self.platform.wait_for_change(after_seq, wait_s)

    @remote(Access.USER, Whose.OWN, changes=True)
    def cancel_job(self, caller: User, reference: Reference) -> Plain:
        """Cancel one of the caller's jobs (an admin: anybody's); the job as it is then."""
        job = self.own(caller, reference)
        return self.one(caller, self.platform.cancel(job.id, by=caller.name))

    @remote(Access.USER, Whose.OWN, changes=True)
    def hold_job(self, caller: User, reference: Reference) -> Plain:
        """Keep one of the caller's jobs out of the queue (an admin: anybody's); the job as it is then."""
        job = self.own(caller, reference)
        return self.one(caller, self.platform.put_on_hold(job.id, caller))

    @remote(Access.USER, Whose.OWN, changes=True)
    def release_job(self, caller: User, reference: Reference) -> Plain:
        """Let one of the caller's jobs go on that is held. What an admin holds only an admin releases."""
        job = self.own(caller, reference)
        return self.one(caller, self.platform.release(job.id, caller))

    @remote(Access.USER, Whose.OWN, changes=True)
    def delete_req_enqueued_containers(
        self, caller: User, references: Annotated[list[Reference], Field(max_length=1000)]
    ) -> list[Plain]:
        """Take jobs out of the queue; those that have left it are not touched. All are checked before one is taken."""
        jobs = [self.own(caller, reference).id for reference in references]
        taken = self.platform.update_enqueued_container_list(jobs, by=caller.name)
        return told(caller, self.platform.describe(taken))
