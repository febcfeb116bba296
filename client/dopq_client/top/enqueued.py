"""What waits: each job's place, when it may start, and why it has not yet. Pure."""

from __future__ import annotations

from dataclasses import replace

from rich.text import Text

from dopq_client.shapes import JobInfo, is_told_in_full
from dopq_client.top.lists import GPUS, JOB, NAME, STATE, USER, one_line
from dopq_client.top.moment import Moment
from dopq_client.top.table import Column
from dopq_client.words import NOTHING, band, elapsed, outcome, reason, since, start


def columns(moment: Moment) -> tuple[Column[JobInfo], ...]:
    """The columns of what waits; WHY is told of one's own jobs."""
    return (
        Column("#", lambda job: NOTHING if job["position"] is None else str(job["position"]), right=True),
        JOB,
        replace(NAME, most=16),
        USER,
        STATE,
        GPUS,
        Column("STARTS IN", band, by=_middle),
        Column(
            "FOR", lambda job: elapsed(since(job), moment.now), by=lambda job: since(job) or "", right=True, wide=True
        ),
        Column("WHY", lambda job: one_line(reason(job)), least=14),
    )


def detail(job: JobInfo, moment: Moment) -> list[Text]:
    """The selected job: why it waits, and when it starts."""
    lines = [Text(outcome(job))]
    if job["position"]:
        waits = elapsed(since(job), moment.now)
        lines.append(Text(f"It is number {job['position']} in the queue, and has waited for {waits}."))
    if start(job):
        lines.append(Text(f"It starts {start(job)}."))
    if not is_told_in_full(job):
        lines.append(Text("Why is told to its user and to admins."))
    return lines


def _middle(job: JobInfo) -> float:
    return job["eta"]["p50"] if job["eta"] else float("inf")
