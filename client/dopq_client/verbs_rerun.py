"""The verb rerun."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dopq.errors import BundleRejected
from dopq_client.options import json_option
from dopq_client.session import Session
from dopq_client.targets import ENDED, Targets, targets_options, yes_option
from dopq_client.verbs_queue import change

if TYPE_CHECKING:
    from dopq.wire import Plain
    from dopq_client.client import DopqClient
    from dopq_client.shapes import JobInfo


@click.command()
@targets_options
@click.option("-e", "--edit", is_flag=True, help="Change its settings in an editor first ($VISUAL, $EDITOR).")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="One setting, as in job.toml: gpus=2.")
@yes_option
@json_option
@click.pass_context
def rerun(context: click.Context, targets: Targets, edit: bool, settings: tuple[str, ...], yes: bool) -> None:
    """Run ended jobs again, as new jobs with the same image.

    Settings may be others, but for those that make an image (template, python) and `after`. `--set KEY=` goes back to
    the node's own.
    """
    from dopq_client.edited import changes_of

    session: Session = context.obj
    client = session.client()
    changes = changes_of(settings)
    references = targets.references(client, ENDED)

    def again(reference: str) -> JobInfo:
        if edit:
            return _edited(session, client, reference, changes)
        return client.rerun(reference, changes or None)

    context.exit(change(session, targets, references, again, "rerun", yes=yes))


def _edited(session: Session, client: DopqClient, reference: str, changes: Plain) -> JobInfo:
    """Run a job again once its settings are edited, and edited again for as long as the node finds them wrong."""
    from dopq_client.edited import differences, edited, read_back, written
    from dopq_client.failures import tell

    number = client.job(reference)["id"]
    before = client.job_settings(number)
    text = written(number, before | changes)
    while True:
        text = edited(text)
        try:
            return client.rerun(number, differences(before, read_back(text)) or None)
        except BundleRejected as refused:
            tell(session, refused)
            if not click.confirm("Edit again?", default=True, err=True):
                raise
