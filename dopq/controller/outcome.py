"""What a job has left: logs, results, its report."""

from __future__ import annotations

from functools import partial

from dopq.access import Access, Whose, remote
from dopq.advice import advice
from dopq.controller.arguments import Length, Lines, Offset, Reference, ResultPath, ResultPaths, Time, Wait
from dopq.controller.desk import Desk
from dopq.errors import NotFound, UserError
from dopq.job import Ended, Job, is_to_be_built
from dopq.log_end import begin_of_lines
from dopq.outbox import BUILD_LOG, JOB_LOG, LOGS
from dopq.report import report
from dopq.result_pieces import Piece, Sums, pieces, sums
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
    def get_log_offset(
        self, caller: User, reference: Reference, build: bool, lines: Lines | None, since: Time | None
    ) -> int:
        """The byte of a job's log at which its last `lines` lines begin, or what was printed `since` then.

        With both the later of the two, with neither 0. Of what was printed since nothing is left out, while something
        may be a little older.
        """
        job = self.own(caller, reference)
        if build and since:
            raise UserError("The log of a build has no times.", "Ask for its last lines instead.")
        begin = self.results.log_size_at(job, since) if since else 0
        if lines is None:
            return begin
        try:
            with self.results.opened(job, BUILD_LOG if build else JOB_LOG) as file:
                return max(begin, begin_of_lines(file, lines))
        except NotFound:
            return 0

    @remote(Access.USER, Whose.OWN)
    def list_results(self, caller: User, reference: Reference, after: ResultPath = "") -> Plain:
        """The files that a job has left so far: a page of those behind `after`; `next` asks for what follows."""
        page = self.results.list(self.own(caller, reference), after)
        files = [{"path": file.path, "size": file.size, "executable": file.executable} for file in page.files]
        return {"files": files, "next": page.next}

    @remote(Access.USER, Whose.OWN)
    def read_result(
        self, caller: User, reference: Reference, path: ResultPath, offset: Offset, length: Length
    ) -> bytes:
        """Up to `length` bytes of one result from byte `offset`; empty at its end."""
        return self.results.read(self.own(caller, reference), path, offset, length)

    @remote(Access.USER, Whose.OWN)
    def read_results(
        self, caller: User, reference: Reference, paths: ResultPaths, offset: Offset
    ) -> list[Plain | None]:
        """What these results hold, one after another, from byte `offset` of the first: as far as an answer has room."""
        job = self.own(caller, reference)
        read = pieces(partial(self.results.opened, job), paths, offset)
        return [
            {**_file(path, piece), "data": piece.data, "sha256": piece.sha256} if piece else None
            for path, piece in zip(paths, read, strict=False)
        ]

    @remote(Access.USER, Whose.OWN)
    def get_checksums(
        self, caller: User, reference: Reference, paths: ResultPaths, offset: Offset
    ) -> list[Plain | None]:
        """The SHA-256 of these results' blocks of 8 MiB, from byte `offset` of the first: some in each answer."""
        job = self.own(caller, reference)
        read = sums(partial(self.results.opened, job), paths, offset)
        return [
            {**_file(path, some), "sha256": some.sha256} if some else None
            for path, some in zip(paths, read, strict=False)
        ]

    @remote(Access.USER, Whose.OWN)
    def get_report(self, caller: User, reference: Reference) -> str:
        """The report on a job: how it ended and what it took."""
        return report(self.own(caller, reference))

    @remote(Access.USER, Whose.OWN)
    def get_advice(self, caller: User, reference: Reference) -> str | None:
        """What would help the next job like this one, as its report says; None where there is nothing to say."""
        return advice(self.own(caller, reference))

    def _read_if_there(self, job: Job, path: str, offset: int, length: int) -> bytes:
        try:
            return self.results.read(job, path, offset, length)
        except NotFound:
            return b""


def _file(path: str, read: Piece | Sums) -> Plain:
    """Which file that is: the same as long as these are the same. Of a log, which grows, the size alone counts."""
    return {"size": read.size, "modified_ns": None if path in LOGS else read.modified_ns}
