"""What jobs leave: logs and results."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import cast

from dopq_client.client.desk import Desk, Reference
from dopq_client.fetching import Tell, fetch
from dopq_client.log_pieces import log_pieces
from dopq_client.patience import PatientLink
from dopq_client.shapes import FetchedFile
from dopq_client.target import Target


class Outcome(Desk):
    """Reading what jobs print, and bringing what they leave."""

    def logs(
        self,
        reference: Reference,
        *,
        build: bool = False,
        follow: bool = False,
        tail: int | None = None,
        since: datetime | None = None,
    ) -> Iterator[bytes]:
        """A job's log (`build`: of its build) in pieces, as the job wrote it.

        Args:
            follow: goes on as the log grows, until no byte will ever follow; a restart of the node in between is waited
                for, up to a minute.
            tail: begins with the last so many lines, as far as they lie in the log's last 16 MiB.
            since: begins with what was printed then, a time with its zone: nothing later is missing, and a little that
                is older may come before it. Not with `build`: `UserError`.
        """
        return log_pieces(self._link, str(self.job(reference)["id"]), build, follow, tail, since)

    def last_lines(self, reference: Reference, count: int = 10, *, build: bool = False) -> list[str]:
        """The last `count` lines of a job's log, as far as they lie in its last 16 KiB; none if it has no log."""
        end = b""
        for piece in self.logs(reference, build=build, tail=count):
            end = (end + piece)[-16 * 1024 :]
        return end.decode("utf-8", "replace").splitlines()[-count:]

    def advice(self, reference: Reference) -> str | None:
        """What would help the next job like this one, in a sentence; None where there is nothing to say."""
        return cast("str | None", self._link.call("get_advice", str(reference)))

    def fetch(self, reference: Reference, into: str | Path, progress: Tell | None = None) -> list[FetchedFile]:
        """Write a job's logs, outputs and report below `into`; what is there then.

        Each file is whole or absent, and verified; what is there already, from this job or by chance, is not read
        again. After whatever cut it off, the same call goes on; a restart of the node is waited for, up to a minute.
        Nothing is written outside `into`, whatever the service says. Of a job that goes on it is the log so far.

        Raises:
            UserError: `into` cannot be written to, another fetch is writing there, or the service named a file in an
                unsafe way (`UnsafePath`).
            TryAgain: a file went or changed while it was read, or the share is away.
        """
        job, target = str(self.job(reference)["id"]), Target(Path(into))
        files = fetch(PatientLink(self._link), job, target, lambda path: path, progress)
        report = str(self._link.call("get_report", job)).encode()
        with target:
            target.put("report.txt", report)
        return [*files, FetchedFile(path="report.txt", size=len(report), kept=False)]

    def fetch_outputs(self, reference: Reference, into: str | Path, progress: Tell | None = None) -> list[FetchedFile]:
        """Write what a job left in its `/output` into `into`, and nothing else. As `fetch` does."""
        job = str(self.job(reference)["id"])
        return fetch(PatientLink(self._link), job, Target(Path(into)), _below_output, progress)


def _below_output(path: str) -> str | None:
    return path.removeprefix("output/") if path.startswith("output/") else None
