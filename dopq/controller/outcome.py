"""What a job has left: logs, results, its report."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dopq.access import Access, Whose, remote
from dopq.controller.arguments import Length, Offset, Reference, Wait
from dopq.controller.desk import Desk
from dopq.errors import NotFound
from dopq.job import Ended, Job, is_to_be_built
from dopq.outbox import BUILD_LOG, JOB_LOG
from dopq.report import report
from dopq.users import User
from dopq.wire import Plain


class Outcome(Desk):
    """Calls that read what a job has left."""

    __slots__ = ()

    @remote(Access.USER, Whose.OWN)
    def read_log(
        self, caller: User, reference: Reference, build: bool, offset: Offset, length: Length, wait_s: Wait
    ) -> Plain:
        """Up to `length` bytes of a job's log (`build`: of its build) from byte `offset`.

        With nothing new yet, waits for at most `wait_s`. `complete` is true when no byte will ever follow these.
        """
        job = self.own(caller, reference)
        path = BUILD_LOG if build else JOB_LOG
        seq = job.seq
        deadline = wait_s
        while True:
            job = self.platform.job(job.id)
            finished = isinstance(job.state, Ended) or (build and not is_to_be_built(job.state))
            data = self._read_if_there(job, path, offset, length)
            if data or finished or deadline <= 0:
                return {"data": data, "complete": finished and len(data) < length, "state": str(job.state.name)}
            # Bytes of a log are no journal entries: look often, and at once when the job changes.
            seq = self.platform.wait_for_change(max(seq, job.seq), 0.1)
            deadline -= 0.1

    @remote(Access.USER, Whose.OWN)
    def list_results(self, caller: User, reference: Reference) -> list[Plain]:
        """The files that a job has left so far: path, size in bytes, executable."""
        results = self.results.list(self.own(caller, reference))
        return [{"path": result.path, "size": result.size, "executable": result.executable} for result in results]

    @remote(Access.USER, Whose.OWN)
    def read_result(
        self,
        caller: User,
        reference: Reference,
        path: Annotated[str, Field(max_length=4096)],
        offset: Offset,
        length: Length,
    ) -> bytes:
        """Up to `length` bytes of one result from byte `offset`; empty at its end."""
        return self.results.read(self.own(caller, reference), path, offset, length)

    @remote(Access.USER, Whose.OWN)
    def get_report(self, caller: User, reference: Reference) -> str:
        """The report on a job: how it ended and what it took."""
        return report(self.own(caller, reference))

    def _read_if_there(self, job: Job, path: str, offset: int, length: int) -> bytes:
        try:
            return self.results.read(job, path, offset, length)
        except NotFound:
            return b""
