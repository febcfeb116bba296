"""Verbs about what jobs leave: logs and fetch."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dopq_client.exits import Exit
from dopq_client.options import job_argument, json_option, since_option
from dopq_client.session import Session

if TYPE_CHECKING:
    from datetime import datetime

    from dopq_client.shapes import JobInfo

MOST_LINES = 1_000_000


@click.command()
@job_argument
@click.option("-f", "--follow", is_flag=True, help="Go on as the log grows, until the job has ended.")
@click.option("--build", is_flag=True, help="The log of its build instead.")
@click.option("-n", "--tail", metavar="LINES", type=click.IntRange(0, MOST_LINES), help="Begin with the last so many.")
@since_option("Begin with what was printed since then: 10m ago, or a time.")
@json_option
@click.pass_context
def logs(context: click.Context, job: str, follow: bool, build: bool, tail: int | None, since: datetime | None) -> None:
    """Print a job's log. Piped, its bytes as they are; on a terminal without control characters.

    With -f of a job that is building: its build first, then the job.
    """
    from dopq_client.following import follow as followed
    from dopq_client.following import goes_on
    from dopq_client.words import build_advice, outcome

    if build and since:
        raise click.UsageError("The log of a build has no times: leave out --since, or --build.")
    session: Session = context.obj
    client = session.client()
    meant = client.job(job)
    try:
        if follow and not build:
            _show(session, meant, followed(session, client, meant, tail=tail, since=since))
            return
        pieces = client.logs(meant["id"], build=build, follow=follow, tail=tail, since=since)
        if not _show(session, meant, [("build" if build else "job", pieces)]):
            session.note(f"There is nothing to show. {outcome(meant)}{'' if build else build_advice(meant)}")
    except KeyboardInterrupt:
        session.note(goes_on(meant))
        context.exit(Exit.INTERRUPTED)


def _show(session: Session, job: JobInfo, logs: Iterable[tuple[str, Iterator[bytes]]]) -> bool:
    """Print logs one after the other; whether there was anything in them."""
    from dopq_client.printing import lines, print_pieces

    printed = False
    for which, pieces in logs:
        if session.as_json:
            for line in lines(pieces):
                session.json_out({"job": job["id"], "log": which, "line": line})
                session.flush()
        else:
            printed = print_pieces(pieces, sys.stdout) or printed
    return printed or session.as_json


@click.command()
@job_argument
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Default: ./<number>-<name>.",
)
@json_option
@click.pass_context
def fetch(context: click.Context, job: str, output: Path | None) -> None:
    """Copy a job's logs, outputs and report into a folder.

    What is there already is not sent again, so the same command goes on with a fetch that was cut off. Every file is
    verified by its checksum.
    """
    from dopq_client.bringing import bring, folder_name

    session: Session = context.obj
    client = session.client()
    meant = client.job(job)
    folder = output or Path(folder_name(meant))
    try:
        files = bring(session.say, client.fetch, meant, folder)
    except KeyboardInterrupt:
        context.exit(Exit.INTERRUPTED)
    if session.as_json:
        session.json_out({"job": meant, "folder": str(folder.resolve()), "files": files}, indent=2)
