"""Options and arguments that several verbs share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from dopq_client.session import Session

Verb = TypeVar("Verb", bound=Callable[..., Any])

JOB = "JOB"


def json_option(verb: Verb) -> Verb:
    """`--json`: known to the session before the verb runs."""

    def remember(context: click.Context, _option: click.Parameter, value: bool) -> None:
        context.ensure_object(Session).as_json = value

    return click.option(
        "--json",
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=remember,
        help="JSON on stdout, words on stderr.",
    )(verb)


job_argument = click.argument("job", metavar=JOB)
jobs_argument = click.argument("jobs", metavar=f"{JOB}...", nargs=-1, required=True)
