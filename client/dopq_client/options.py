"""Options and arguments that several verbs share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from dopq_client.session import Session

Verb = TypeVar("Verb", bound=Callable[..., Any])

JOB = "JOB"


def json_option(verb: Verb) -> Verb:
    """`--json`: known before the verb runs."""

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


def profile_option(verb: Verb) -> Verb:
    """`--profile`: known before the verb runs."""

    def remember(context: click.Context, _option: click.Parameter, value: str | None) -> None:
        if value is not None:
            context.ensure_object(Session).profile = value

    return click.option(
        "--profile",
        metavar="NAME",
        expose_value=False,
        is_eager=True,
        callback=remember,
        help="The service that was logged in to under this name.",
    )(verb)


def certificate_options(verb: Verb) -> Verb:
    """`--ca` and `--fingerprint`: by what a service's certificate is known to be the right one."""
    ca = click.option(
        "--ca",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="The certificate of the lab's CA, which must have signed the service's.",
    )
    fingerprint = click.option(
        "--fingerprint", metavar="SHA256", help="The one that the service's certificate must have, from its admin."
    )
    return ca(fingerprint(verb))


job_argument = click.argument("job", metavar=JOB)
jobs_argument = click.argument("jobs", metavar=f"{JOB}...", nargs=-1, required=True)
