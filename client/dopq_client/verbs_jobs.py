"""Verbs about jobs: submit, status, wait, history."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dopq.clean import clean
from dopq_client.exits import Exit, exit_of_job, exit_of_jobs
from dopq_client.failures import each
from dopq_client.options import JOB, jobs_argument, json_option
from dopq_client.session import Session
from dopq_client.shapes import JobInfo, is_told_in_full

if TYPE_CHECKING:
    from dopq_client.client import DopqClient


@click.command()
@click.argument("bundles", metavar="BUNDLE...", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@json_option
@click.pass_context
def submit(context: click.Context, bundles: tuple[Path, ...]) -> None:
    """Hand in bundles: zips, tars, or folders that hold a Dockerfile."""
    from dopq_client.progress import bar
    from dopq_client.words import next_steps

    session: Session = context.obj
    client = session.client()

    def hand_in(bundle: Path) -> JobInfo:
        with bar(f"Sending {clean(bundle.name)}") as progress:
            job = client.submit(bundle, progress)
        session.say(f"Job {job['id']} ({clean(job['name'])}) was taken.\n{next_steps(job)}")
        return job

    jobs, errors, code = each(session, bundles, hand_in)
    if session.as_json:
        session.json_out({"jobs": jobs, "errors": errors}, indent=2)
    context.exit(code)


@click.command()
@click.argument("jobs", metavar=f"[{JOB}...]", nargs=-1)
@json_option
@click.pass_context
def status(context: click.Context, jobs: tuple[str, ...]) -> None:
    """Show what runs and waits, or all about the given jobs."""
    from dopq_client.views import job_cards, jobs_table

    session: Session = context.obj
    client = session.client()
    if not jobs:
        everybodys = client.jobs()
        session.answer({"jobs": everybodys}, lambda now: jobs_table(everybodys, now))
        return
    asked, errors, code = each(session, jobs, client.job)
    if asked or session.as_json:
        data: dict[str, object] = {"jobs": asked, "errors": errors}
        session.answer(data, lambda now: job_cards(asked, now))
    context.exit(code)


@click.command()
@jobs_argument
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    help="Give up after so long (exit code 6; 8 if every job that goes on is held).",
)
@click.option("--any", "any_of", is_flag=True, help="Until one of them has ended, not all.")
@click.option("--propagate", is_flag=True, help="Exit with the failed job's own exit code.")
@json_option
@click.pass_context
def wait(context: click.Context, jobs: tuple[str, ...], timeout: float | None, any_of: bool, propagate: bool) -> None:
    """Wait until jobs have ended. Exit code 0: all succeeded, 1: one failed, 7: one was cancelled."""
    from dopq_client.words import outcome

    session: Session = context.obj
    client = session.client()
    try:
        ended = client.wait(jobs, timeout, any_of=any_of, on_change=lambda job: session.note(outcome(job)))
    except KeyboardInterrupt:
        session.note(
            f"\nNo longer waiting; the jobs go on. `dopq-client wait {' '.join(map(clean, jobs))}` waits again."
        )
        context.exit(Exit.INTERRUPTED)
    if session.as_json:
        session.json_out({"jobs": ended}, indent=2)
    for job in ended:
        if exit_of_job(job) is Exit.JOB_FAILED and is_told_in_full(job):
            _explain(session, client, job)
    context.exit(exit_of_jobs(ended, propagate=propagate))


@click.command()
@click.option("--mine", is_flag=True, help="Only my own jobs.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="At most so many.")
@json_option
@click.pass_obj
def history(session: Session, mine: bool, limit: int) -> None:
    """Show jobs that have ended, the last to end first."""
    from dopq_client.views import jobs_table

    jobs = session.client().history(mine=mine, limit=limit)
    session.answer({"jobs": jobs}, lambda now: jobs_table(jobs, now, nothing="No job has ended yet."))


def _explain(session: Session, client: DopqClient, job: JobInfo) -> None:
    """Why a job ended badly: what was wrong with its bundle, or the last lines of the log that tells; what to try."""
    from dopq.errors import DopqError
    from dopq.job import StateName
    from dopq_client.views import problems_table
    from dopq_client.words import advice

    if problems := job.get("problems"):
        session.note(problems_table(problems))
    else:
        try:
            lines = client.last_lines(job["id"], build=job["state"] == StateName.BUILD_FAILED)
        except DopqError:
            lines = []  # the advice is worth telling without them
        for line in lines:
            session.note(f"  | {clean(line, keep=chr(9))}")
    session.note(advice(job))
