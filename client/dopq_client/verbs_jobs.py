"""The verb submit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dopq.clean import clean
from dopq_client.failures import each
from dopq_client.options import json_option
from dopq_client.session import Session
from dopq_client.shapes import JobInfo

if TYPE_CHECKING:
    from dopq_client.client import DopqClient


@click.command()
@click.argument("bundles", metavar="BUNDLE...", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@json_option
@click.pass_context
def submit(context: click.Context, bundles: tuple[Path, ...]) -> None:
    """Hand in bundles: zips, tars, or folders that hold a Dockerfile."""
    from dopq_client.words import next_steps, taken

    session: Session = context.obj
    client = session.client()

    def submitted(bundle: Path) -> JobInfo:
        job = hand_in(client, bundle)
        session.say(f"{taken(job)}\n{next_steps(job)}")
        return job

    jobs, errors, code = each(session, bundles, submitted)
    if session.as_json:
        session.json_out({"jobs": jobs, "errors": errors}, indent=2)
    context.exit(code)


def hand_in(client: DopqClient, bundle: Path) -> JobInfo:
    """Send a bundle, with a bar; the job that it is now."""
    from dopq_client.progress import bar

    with bar(f"Sending {clean(bundle.name)}") as progress:
        return client.submit(bundle, progress)
