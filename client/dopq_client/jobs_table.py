"""Jobs, one a line: what `status` and `history` show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from dopq.clean import clean
from dopq.job import StateName
from dopq_client.plain_table import Cell, Column, PlainTable, Row
from dopq_client.shapes import JobInfo, JobsPage
from dopq_client.words import NOTHING, counted, elapsed, reason, since, start

_BAD = "1;31"
_COLOURS: dict[str, str] = {
    StateName.BUILDING: "36",
    StateName.HELD: "35",
    StateName.QUEUED: "33",
    StateName.STARTING: "32",
    StateName.RUNNING: "32",
    StateName.STOPPING: "33",
    StateName.SUCCEEDED: "1;32",
    StateName.CANCELLED: "2",
}
_COLUMNS = (
    Column("JOB", right=True),
    Column("NAME", widest=18),
    Column("USER", widest=12),
    Column("STATE", widest=12),
    Column("GPUS", right=True),
    Column("FOR", right=True),
)
_AS_ABOVE = "As above."


class JobsTable:
    """Jobs with how long they have been as they are, and why; with a line below it where there are more than these."""

    def __init__(self, jobs: Sequence[JobInfo], now: datetime, nothing: str = "No jobs wait or run.") -> None:
        self._jobs = jobs
        self._now = now
        self._nothing = nothing

    def lines(self, width: int | None, *, colour: bool) -> Iterator[str]:
        """The table, line by line."""
        if not self._jobs:
            yield self._nothing
            return
        rows = [Row(_cells(job, self._now), why) for job, why in zip(self._jobs, _whys(self._jobs), strict=True)]
        yield from PlainTable(_COLUMNS, rows, "WHY").lines(width, colour=colour)


class JobsPageView:
    """A page of what runs and waits, and where the rest is."""

    def __init__(self, page: JobsPage, skip: int, now: datetime, more: str) -> None:
        """`more`: the command that shows the page after `skip` jobs, but for how many to skip."""
        self._page = page
        self._skip = skip
        self._now = now
        self._more = more

    def lines(self, width: int | None, *, colour: bool) -> Iterator[str]:
        """The table, and how much is not in it."""
        jobs, total = self._page["jobs"], self._page["total"]
        nothing = "No jobs wait or run." if not total else f"There are only {counted(total, 'job')}."
        yield from JobsTable(jobs, self._now, nothing).lines(width, colour=colour)
        end = self._skip + len(jobs)
        if jobs and len(jobs) < total:
            by_state = ", ".join(f"{count:,} {clean(state)}" for state, count in self._page["counts"].items())
            yield ""
            yield f"{self._skip + 1:,} to {end:,} of {total:,}: {by_state}."
            if end < total:
                yield f"The next: {self._more} --skip {end}"


def _cells(job: JobInfo, now: datetime) -> list[Cell]:
    return [
        Cell(str(job["id"])),
        Cell(clean(job["name"])),
        Cell(clean(job["user"])),
        Cell(clean(job["state"]), _COLOURS.get(job["state"], _BAD)),
        Cell(NOTHING if job["num_gpus"] is None else str(job["num_gpus"])),
        Cell(elapsed(since(job), now)),
    ]


def _whys(jobs: Iterable[JobInfo]) -> Iterator[str]:
    """Each job's place, start and reason; a long reason that is the one before it is not told again."""
    before = ""
    for job in jobs:
        why = reason(job)
        place = f"#{job['position']}" if job["position"] else ""
        starts = f"starts {start(job)}" if start(job) else ""
        head = ", ".join(part for part in (place, starts) if part)
        told = _AS_ABOVE if why and why == before and head else why
        yield f"{head}. {told}" if head and told else head or told
        before = why
