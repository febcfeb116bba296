"""Verbs about the queue: why."""

from __future__ import annotations

import click

from dopq_client.failures import each
from dopq_client.options import jobs_argument, json_option
from dopq_client.session import Session


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
