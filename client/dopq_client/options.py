"""Options and arguments that several verbs share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dopq.durations import parse_duration
from dopq_client.session import Session

if TYPE_CHECKING:
    from datetime import datetime

    from click.shell_completion import CompletionItem

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


def duration_option(name: str, **more: Any) -> Callable[[Verb], Verb]:
    """An option that takes a duration, such as `2h`; the verb gets seconds, or None."""

    def read(_context: click.Context, _option: click.Parameter, value: str | None) -> int | None:
        seconds = parse_duration(value) if value is not None else None
        if value is not None and seconds is None:
            raise click.BadParameter(f"{value!r} is no duration: write 90s, 20m, 2h or 1d.")
        return seconds

    return click.option(name, metavar="DURATION", callback=read, **more)


def since_option(help_text: str) -> Callable[[Verb], Verb]:
    """`--since`: a duration back from now, or a date or time of the reader's clock; the verb gets a time, or None."""

    def read(_context: click.Context, _option: click.Parameter, value: str | None) -> datetime | None:
        from datetime import UTC, datetime, timedelta

        if value is None:
            return None
        seconds = parse_duration(value)
        try:
            if seconds is not None:
                return datetime.now(UTC) - timedelta(seconds=seconds)
            return datetime.fromisoformat(value).astimezone(UTC)
        except (ValueError, OverflowError, OSError):
            raise click.BadParameter(f"{value!r} is no time: write 2d, 2026-03-01 or 2026-03-01T12:00.") from None

    return click.option("--since", metavar="WHEN", callback=read, help=help_text)


def completed(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The jobs that begin so, for a shell."""
    from dopq_client.completion import jobs

    return jobs(ctx, incomplete)


job_argument = click.argument("job", metavar=JOB, shell_complete=completed)
