"""What is worth knowing of a job that ended badly."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from dopq.clean import clean
from dopq.errors import DopqError
from dopq.job import StateName
from dopq_client.exits import Exit, exit_of_job
from dopq_client.shapes import JobInfo, is_told_in_full
from dopq_client.words import whole_log

if TYPE_CHECKING:
    from dopq_client.client import DopqClient
    from dopq_client.session import Session


def explain_failures(session: Session, client: DopqClient, jobs: Iterable[JobInfo], *, seen_log: bool = False) -> None:
    """Of those jobs that ended badly say what was wrong with the bundle, or the log's last lines; and what to try.

    `seen_log`: it has just been shown. Of a job of which not all is told there is nothing to say.
    """
    for job in jobs:
        if exit_of_job(job) is Exit.JOB_FAILED and is_told_in_full(job):
            _explain(session, client, job, seen_log=seen_log)


def _explain(session: Session, client: DopqClient, job: JobInfo, *, seen_log: bool) -> None:
    from dopq_client.views import problems_table

    if problems := job.get("problems"):
        session.note(problems_table(problems))
    else:
        for line in [] if seen_log else _last_lines(client, job):
            session.note(f"  | {clean(line, keep=chr(9))}")
        if advice := _advice(client, job):
            session.note(clean(advice))
    session.note(whole_log(job))


def _last_lines(client: DopqClient, job: JobInfo) -> list[str]:
    try:
        return client.last_lines(job["id"], build=job["state"] == StateName.BUILD_FAILED)
    except DopqError:
        return []  # the advice is worth telling without them


def _advice(client: DopqClient, job: JobInfo) -> str | None:
    try:
        return client.advice(job["id"])
    except DopqError:
        return None
