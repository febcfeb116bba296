"""What has ended: how, when, after how long, and why. Pure."""

from __future__ import annotations

from dataclasses import replace

from rich.text import Text

from dopq_client.shapes import JobInfo, is_told_in_full
from dopq_client.top.lists import GPUS, JOB, NAME, STATE, USER, one_line
from dopq_client.top.moment import Moment
from dopq_client.top.table import Column
from dopq_client.words import NOTHING, ago, local, outcome, parse_time, reason, span


def columns(moment: Moment) -> tuple[Column[JobInfo], ...]:
    """The columns of what has ended; WHY is told of one's own jobs."""
    return (
        JOB,
        replace(NAME, most=16),
        USER,
        STATE,
        GPUS,
        Column("RAN FOR", ran, by=lambda job: -(_ran_s(job) or 0.0), right=True),
        Column("ENDED", lambda job: ago(job["finished_at"], moment.now), right=True),
        Column(
            "EXIT", lambda job: NOTHING if job["exit_code"] is None else str(job["exit_code"]), right=True, wide=True
        ),
        Column("WHY", lambda job: one_line(reason(job)), least=14),
    )


def detail(job: JobInfo, moment: Moment) -> list[Text]:
    """The selected job: how it ended, and when."""
    ended = f"It ended {local(job['finished_at'], moment.now)}"
    after = "" if _ran_s(job) is None else f", {ran(job)} after its start"
    code = "" if job["exit_code"] is None else f", with exit code {job['exit_code']}"
    lines = [Text(outcome(job)), Text(f"{ended}{after}{code}.")]
    if not is_told_in_full(job):
        lines.append(Text("Why is told to its user and to admins."))
    return lines


def ran(job: JobInfo) -> str:
    """How long a job ran; one that was never started did not."""
    seconds = _ran_s(job)
    return NOTHING if seconds is None else span(max(0.0, seconds))


def _ran_s(job: JobInfo) -> float | None:
    began, ended = parse_time(job["started_at"]), parse_time(job["finished_at"])
    return (ended - began).total_seconds() if began and ended else None
