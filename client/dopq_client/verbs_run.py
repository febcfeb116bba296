"""The verb run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dopq_client.exits import Exit, exit_of_job
from dopq_client.options import json_option
from dopq_client.session import Session

if TYPE_CHECKING:
    from dopq_client.client import DopqClient
    from dopq_client.shapes import FetchedFile, JobInfo


@click.command()
@click.argument("bundle", metavar="BUNDLE", type=click.Path(exists=True, path_type=Path))
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Default: ./<number>-<name>; for a project (code/, no Dockerfile) its own output/.",
)
@json_option
@click.pass_context
def run(context: click.Context, bundle: Path, output: Path | None) -> None:
    """Hand in a bundle, show what it prints, and bring its results.

    Exit code 0: the job succeeded, 1: it failed, 7: it was cancelled. Ctrl-C leaves the job as it is.
    """
    from dopq_client.failure import explain_failures
    from dopq_client.following import goes_on
    from dopq_client.verbs_jobs import hand_in
    from dopq_client.words import taken

    session: Session = context.obj
    client = session.client()
    job = hand_in(client, bundle)
    session.note(taken(job))
    try:
        job = _looked_on(session, client, job)
    except KeyboardInterrupt:
        session.note(goes_on(job))
        context.exit(Exit.INTERRUPTED)
    try:
        files, folder = _results(session, client, job, bundle, output)
    except KeyboardInterrupt:
        context.exit(Exit.INTERRUPTED)
    if session.as_json:
        where = str(folder.resolve()) if folder else None
        session.json_out({"job": job, "folder": where, "files": files}, indent=2)
    explain_failures(session, client, [job], seen_log=True)
    context.exit(exit_of_job(job))


def _looked_on(session: Session, client: DopqClient, job: JobInfo) -> JobInfo:
    """The job when it has ended; until then what it prints goes to stdout, with --json to stderr."""
    from dopq_client.following import follow
    from dopq_client.printing import print_pieces

    for _, pieces in follow(session, client, job):
        print_pieces(pieces, sys.stderr if session.as_json else sys.stdout)
    [ended] = client.wait([job["id"]])
    return ended


def _results(
    session: Session, client: DopqClient, job: JobInfo, bundle: Path, output: Path | None
) -> tuple[list[FetchedFile], Path | None]:
    """Bring what there is: nothing of a job that never started. The files, and where they are."""
    from dopq_client.bringing import bring, folder_name
    from dopq_client.pack import OUTPUT, is_project

    if not job["started_at"]:
        return [], None
    if output is None and is_project(bundle):
        folder = bundle / OUTPUT
        return bring(session.note, client.fetch_outputs, job, folder), folder
    folder = output or Path(folder_name(job))
    return bring(session.note, client.fetch, job, folder), folder
