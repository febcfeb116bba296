"""A job that is followed from where it is to its end: first its build, then itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from dopq.job import StateName
from dopq_client.shapes import JobInfo, has_ended
from dopq_client.words import outcome

if TYPE_CHECKING:
    from dopq_client.client import DopqClient
    from dopq_client.session import Session


def follow(
    session: Session, client: DopqClient, job: JobInfo, *, tail: int | None = None, since: datetime | None = None
) -> Iterator[tuple[str, Iterator[bytes]]]:
    """The logs of a job, `build` if it is being built and then `job`, each in pieces until its end.

    What they are, where the job stands then, and how it ended is noted in between. `tail` and `since` are about the
    first of them; as a build has no times it comes whole.
    """
    client = client.patient()
    if _is_to_be_built(job):
        session.note(f"{outcome(job)} This is its build:")
        yield "build", client.logs(job["id"], build=True, follow=True, tail=tail)
        job, tail, since = client.job(job["id"]), None, None
    if job["started_at"] or not has_ended(job):
        session.note(outcome(job))
        yield "job", client.logs(job["id"], follow=True, tail=tail, since=since)
        before, job = job, client.job(job["id"])
        if job["state"] == before["state"]:  # it had ended when it was asked for
            return
    session.note(outcome(job))


def goes_on(job: JobInfo) -> str:
    """What to say to somebody who does not want to look on any longer."""
    number = job["id"]
    return (
        f"\nNo longer following; job {number} goes on.\n"
        f"  dopq-client logs -f {number}   follows it again\n"
        f"  dopq-client fetch {number}     its results, once it has ended\n"
        f"  dopq-client cancel {number}    ends it"
    )


def _is_to_be_built(job: JobInfo) -> bool:
    return job["state"] in {StateName.BUILDING, StateName.HELD} and job["image"] is None
