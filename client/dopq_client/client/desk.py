"""What every room of the client has: the link to the service, and how a job is meant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self, cast

from dopq_client.link import Link
from dopq_client.patience import PatientLink
from dopq_client.shapes import JobInfo

Reference = int | str
"""A job's number, a name of which there is one, `@` (my newest) or `@~N` (N before that)."""

Progress = Callable[[int, int], None]
"""Is told how many bytes are through, and of how many."""


class Desk:
    """One service, as one user."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def patient(self) -> Self:
        """The same, which waits for up to a minute for a node that is away, where asking again does no harm."""
        return type(self)(PatientLink(self._link))

    def job(self, reference: Reference) -> JobInfo:
        """One job as it is now. Raises `NotFound`."""
        return cast("JobInfo", self._link.call("get_job", str(reference)))

    def _number(self, reference: Reference) -> str:
        """The job's number: a change that is repeated must not meet another job that `@` or a name means by then."""
        return str(reference) if str(reference).isdecimal() else str(self.job(reference)["id"])
