"""Verbs about what jobs leave: logs and fetch."""

from __future__ import annotations

import codecs
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from dopq.clean import clean
from dopq_client.exits import Exit
from dopq_client.options import job_argument, json_option
from dopq_client.session import Session
from dopq_client.shapes import JobInfo

LONGEST_LINE = 1024 * 1024
"""A line longer than this comes as several, so that a log without line ends does not fill the memory."""


@click.command()
@job_argument
@click.option("-f", "--follow", is_flag=True, help="Go on as the log grows, until the job has ended.")
@click.option("--build", is_flag=True, help="The log of its build instead.")
@json_option
@click.pass_context
def logs(context: click.Context, job: str, follow: bool, build: bool) -> None:
    """Print a job's log. Piped, its bytes as they are; on a terminal without control characters."""
    from dopq_client.words import build_advice, outcome

    session: Session = context.obj
    client = session.client()
    meant = client.job(job)
    told = outcome(meant) + ("" if build else build_advice(meant))
    if follow:
        session.note(told)
    pieces = client.logs(meant["id"], build=build, follow=follow)
    try:
        if session.as_json:
            for line in _lines(pieces):
                session.json_out({"job": meant["id"], "log": "build" if build else "job", "line": line})
                sys.stdout.flush()
        elif not _print(pieces) and not follow:
            session.note(f"There is nothing in this log. {told}")
    except KeyboardInterrupt:
        number = meant["id"]
        session.note(
            f"\nNo longer following; job {number} goes on. "
            f"`dopq-client logs -f {number}` follows again, `dopq-client cancel {number}` ends it."
        )
        context.exit(Exit.INTERRUPTED)


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
@click.pass_obj
def fetch(session: Session, job: str, output: Path | None) -> None:
    """Copy a job's logs, outputs and report into a folder; what is there already is not read again."""
    from dopq_client.progress import fetch_bar
    from dopq_client.words import counted, size

    client = session.client()
    meant = client.job(job)
    folder = output or Path(folder_name(meant))
    with fetch_bar(f"Fetching job {meant['id']}") as progress:
        files = client.fetch(meant["id"], folder, progress)
    if session.as_json:
        session.json_out({"job": meant, "folder": str(folder.resolve()), "files": files}, indent=2)
    total = size(sum(file["size"] for file in files))
    session.say(f"{counted(len(files), 'file')} ({total}) of job {meant['id']} are in {clean(folder)}.")


def folder_name(job: JobInfo) -> str:
    """Where a job's results go by default. The job's name takes part only if it is what a name has to be."""
    return f"{job['id']}-{job['name']}" if re.fullmatch(r"[a-z0-9][a-z0-9_.-]{0,62}", job["name"]) else str(job["id"])


def _print(pieces: Iterable[bytes]) -> bool:
    """Bytes as they are into a pipe or file; on a terminal only what shows itself. Whether there were any."""
    stdout, printed = sys.stdout.buffer, False
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    for piece in pieces:
        if sys.stdout.isatty():
            # A carriage return stays: progress bars live by it, and it reaches no other line than the job's own.
            piece = clean(decode(piece), keep="\t\n\r").encode()  # noqa: PLW2901 - the same piece, made safe
        stdout.write(piece)
        stdout.flush()
        printed = True
    return printed


def _lines(pieces: Iterable[bytes]) -> Iterator[str]:
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield line.decode("utf-8", "replace")
        if len(rest) > LONGEST_LINE:
            yield rest.decode("utf-8", "replace")
            rest = b""
    if rest:
        yield rest.decode("utf-8", "replace")
