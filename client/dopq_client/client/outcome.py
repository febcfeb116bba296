"""What jobs leave: logs and results."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

from dopq.wire import Plain
from dopq_client.client.desk import Desk, Progress, Reference
from dopq_client.link import Link
from dopq_client.patience import PatientLink
from dopq_client.results import write_result
from dopq_client.shapes import FetchedFile
from dopq_client.waiting import POLL_S

READ_BYTES = 256 * 1024
"""What is read at a time; the service's own limit."""


class Outcome(Desk):
    """Reading what jobs print, and bringing what they leave."""

    def logs(self, reference: Reference, *, build: bool = False, follow: bool = False) -> Iterator[bytes]:
        """A job's log (`build`: of its build) in pieces, as the job wrote it.

        `follow`: goes on as the log grows, until no byte will ever follow; a restart of the node in between is waited
        for, up to a minute.
        """
        job = str(self.job(reference)["id"])  # `@` may mean another job by the time of the next piece
        link: Link = PatientLink(self._link) if follow else self._link
        offset = 0
        while True:
            answer = link.call("read_log", job, build, offset, READ_BYTES, POLL_S if follow else 0.0)
            data: bytes = answer["data"]
            if data:
                yield data
            offset += len(data)
            if answer["complete"] or not (data or follow):
                return

    def last_lines(self, reference: Reference, count: int = 10, *, build: bool = False) -> list[str]:
        """The last `count` lines of a job's log, as far as they lie in its last 16 KiB; none if it has no log."""
        wanted = "build.log" if build else "job.log"
        sizes = {result["path"]: int(result["size"]) for result in self._results(reference)}
        if wanted not in sizes:
            return []
        offset = max(0, sizes[wanted] - 16 * 1024)
        data: bytes = self._link.call("read_result", str(reference), wanted, offset, 16 * 1024)
        return data.decode("utf-8", "replace").splitlines()[-count:]

    def fetch(self, reference: Reference, into: str | Path, progress: Progress | None = None) -> list[FetchedFile]:
        """Write a job's logs, outputs and report below `into`, replacing older copies; what was written.

        Each file is whole or absent. Nothing is written outside `into`, whatever the service says.

        Raises:
            UserError: `into` cannot be written to, or the service named a file in an unsafe way (`UnsafePath`).
            TryAgain: a file got shorter while it was read.
        """
        target, job = Path(into), str(self.job(reference)["id"])
        listed = self._results(job)
        total = sum(int(result["size"]) for result in listed)
        done = 0
        for result in listed:
            path, size = str(result["path"]), int(result["size"])
            read = self._reader(job, path, done, total, progress)
            write_result(target, path, size, bool(result["executable"]), read)
            done += size
        report = str(self._link.call("get_report", job)).encode()
        write_result(target, "report.txt", len(report), False, lambda offset: report[offset:])
        files = [FetchedFile(path=str(result["path"]), size=int(result["size"])) for result in listed]
        return [*files, FetchedFile(path="report.txt", size=len(report))]

    def _reader(
        self, job: str, path: str, before: int, total: int, progress: Progress | None
    ) -> Callable[[int], bytes]:
        def read(offset: int) -> bytes:
            data: bytes = self._link.call("read_result", job, path, offset, READ_BYTES)
            if progress:
                progress(min(before + offset + len(data), total), total)
            return data

        return read

    def _results(self, reference: Reference) -> list[Plain]:
        return cast("list[Plain]", self._link.call("list_results", str(reference)))
