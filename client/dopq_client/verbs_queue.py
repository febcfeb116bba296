"""Verbs about the queue: why, cancel, hold, release."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import click

from dopq_client.exits import Exit
from dopq_client.failures import each
from dopq_client.options import json_option
from dopq_client.session import Session
from dopq_client.shapes import JobInfo
from dopq_client.targets import LIVE, Targets, agreed, targets_options, yes_option


@click.command()
@targets_options
@click.option("--explain", is_flag=True, help="Also what the order of the users is made of.")
@json_option
@click.pass_context
def why(context: click.Context, targets: Targets, explain: bool) -> None:
    """Say why jobs wait: for what, held by whom, and until when at the latest."""
    from dopq_client.views import explanations

    session: Session = context.obj
    client = session.client()
    told, errors, code = each(session, targets.references(client, ("building", "held", "queued")), client.explain)
    if told or session.as_json:
        session.answer(
            {"explanations": told, "errors": errors},
            lambda now: explanations(told, now, with_terms=explain),
        )
    context.exit(code)


@click.command()
@targets_options
@yes_option
@json_option
@click.pass_context
def cancel(context: click.Context, targets: Targets, yes: bool) -> None:
    """Cancel jobs. One that runs is stopped first; its logs and outputs so far are kept."""
    session: Session = context.obj
    client = session.client()
    context.exit(change(session, targets, targets.references(client, LIVE), client.cancel, "cancel", yes=yes))


@click.command()
@targets_options
@yes_option
@json_option
@click.pass_context
def hold(context: click.Context, targets: Targets, yes: bool) -> None:
    """Keep jobs out of the queue until they are released."""
    session: Session = context.obj
    client = session.client()
    references = targets.references(client, ("building", "queued"))
    context.exit(change(session, targets, references, client.hold, "hold", yes=yes))


@click.command()
@targets_options
@yes_option
@json_option
@click.pass_context
def release(context: click.Context, targets: Targets, yes: bool) -> None:
    """Let held jobs go on. What an admin holds only an admin releases."""
    session: Session = context.obj
    client = session.client()
    context.exit(change(session, targets, targets.references(client, ("held",)), client.release, "release", yes=yes))


def change(
    session: Session,
    targets: Targets,
    references: Sequence[str],
    act: Callable[[str], JobInfo],
    does: str,
    *,
    yes: bool,
) -> int:
    """Change each job, if that is agreed to, and tell how it is then; the exit code."""
    from dopq_client.words import outcome

    if not agreed(session, targets, references, does, yes=yes):
        return Exit.REFUSED

    def told(reference: str) -> JobInfo:
        job = act(reference)
        session.say(outcome(job))
        return job

    changed, errors, code = each(session, references, told)
    if session.as_json:
        session.json_out({"jobs": changed, "errors": errors}, indent=2)
    elif not references:
        session.say(f"There is no job to {does}.")
    return code
