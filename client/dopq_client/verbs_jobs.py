"""The verb submit."""

from __future__ import annotations

from pathlib import Path

import click

from dopq.clean import clean
from dopq_client.failures import each
from dopq_client.options import json_option
from dopq_client.session import Session
from dopq_client.shapes import JobInfo


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
