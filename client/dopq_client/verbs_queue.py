"""Verbs about the queue: why, cancel, hold, release, rerun."""

from __future__ import annotations

from collections.abc import Callable

import click

from dopq_client.failures import each
from dopq_client.options import jobs_argument, json_option
from dopq_client.session import Session
from dopq_client.shapes import JobInfo


@click.command()
@jobs_argument
@click.option("--explain", is_flag=True, help="Also what the order of the users is made of.")
@json_option
@click.pass_context
def why(context: click.Context, jobs: tuple[str, ...], explain: bool) -> None:
    """Say why jobs wait: for what, held by whom, and until when at the latest."""
    from dopq_client.views import explanations

    session: Session = context.obj
    told, errors, code = each(session, jobs, session.client().explain)
    if told or session.as_json:
        session.answer(
            {"explanations": told, "errors": errors},
            lambda now: explanations(told, now, with_terms=explain),
        )
    context.exit(code)


@click.command()
@jobs_argument
@json_option
@click.pass_context
def cancel(context: click.Context, jobs: tuple[str, ...]) -> None:
    """Cancel jobs. One that runs is stopped first; its logs and outputs so far are kept."""
    session: Session = context.obj
    context.exit(_change(session, jobs, session.client().cancel))


@click.command()
@jobs_argument
@json_option
@click.pass_context
def hold(context: click.Context, jobs: tuple[str, ...]) -> None:
    """Keep jobs out of the queue until they are released."""
    session: Session = context.obj
    context.exit(_change(session, jobs, session.client().hold))


@click.command()
@jobs_argument
@json_option
@click.pass_context
def release(context: click.Context, jobs: tuple[str, ...]) -> None:
    """Let held jobs go on. What an admin holds only an admin releases."""
    session: Session = context.obj
    context.exit(_change(session, jobs, session.client().release))


@click.command()
@jobs_argument
@json_option
@click.pass_context
def rerun(context: click.Context, jobs: tuple[str, ...]) -> None:
    """Run ended jobs again, as new jobs with the same settings and image."""
    session: Session = context.obj
    context.exit(_change(session, jobs, session.client().rerun))


def _change(session: Session, jobs: tuple[str, ...], change: Callable[[str], JobInfo]) -> int:
    """Change each job, tell how all are now; the exit code."""
    from dopq_client.words import outcome

    changed, errors, code = each(session, jobs, change)
    if session.as_json:
        session.json_out({"jobs": changed, "errors": errors}, indent=2)
    for job in changed:
        session.say(outcome(job))
    return code
