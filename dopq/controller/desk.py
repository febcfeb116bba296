"""What every room of the controller has: the parts of the node behind it, and what a caller may be told of a job."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dopq.accounts import Accounts
from dopq.data_platform import DataPlatform
from dopq.errors import NotAllowed
from dopq.job import Job, JobId
from dopq.peers.peers import Peers
from dopq.results import Results
from dopq.uploads import Uploads
from dopq.users import Role, User
from dopq.wire import Plain, public


@dataclass(frozen=True, slots=True)
class Desk:
    """The parts of one node; `system` and `request_shutdown` are what is asked of the node itself.

    `limits` are those by which it judges bundles (`container_handler.rules.rules_to_wire`).
    """

    platform: DataPlatform
    results: Results
    uploads: Uploads
    system: Callable[[], Plain]
    nodes: Peers
    request_shutdown: Callable[[], None]
    limits: Plain
    accounts: Accounts

    def own(self, caller: User, reference: str) -> Job:
        """The job that is meant, if the caller may act on it."""
        job = self.platform.find(reference, caller.name)
        if not may_act_for(caller, job.user):
            raise NotAllowed(f"Job {JobId(job.id)} belongs to {job.user}.", "Ask them, or an admin.")
        return job

    def one(self, caller: User, job: Job) -> Plain:
        """A job as the caller may see it."""
        return told(caller, self.platform.describe([job]))[0]


def may_act_for(caller: User, owner: str) -> bool:
    """Whether the caller may see all that belongs to `owner`, and act on it."""
    return caller.name == owner or caller.role is Role.ADMIN


def told(caller: User, jobs: list[Plain]) -> list[Plain]:
    """Jobs as the caller may see them. Every job that leaves the node goes through here."""
    return [job if may_act_for(caller, job["user"]) else public(job) for job in jobs]
